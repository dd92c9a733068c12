"""What a server may import before a program runs is read from the program's source; that a program
does not notice the server is in `tests/katib/test_workers.py`.
"""

import sys
import textwrap
from pathlib import Path

import pytest

from kubeflow_workshop import forks


@pytest.fixture(autouse=True)
def _fresh_python(monkeypatch):
    """Pytest has imported a lot before; a server has not."""
    monkeypatch.setattr(forks, "_AT_START", frozenset({"sys", "os"}))


@pytest.fixture
def program(tmp_path):
    """Writes a program `run`, and modules beside it; returns what can be done before it."""

    def steps(source: str, **modules: str) -> list[tuple[str, ...]]:
        for name, text in {"run": source, **modules}.items():
            path = tmp_path / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return forks.steps("run", tmp_path)

    return steps


def names(made: list[tuple[str, ...]]) -> list[str]:
    return [step[1] for step in made if step[0] in ("import", "from")]


def test_the_libraries_are_found_through_the_programs_own_modules(program):
    made = program(
        "import own\nfrom scipy import stats",
        own="import pandas as pd\nfrom part import model",
        part__model="import numpy.random\nfrom . import deep\nfrom .deep import x",
        part__deep="import tqdm\nx = 1",
    )
    assert made == [
        ("import", "pandas"),
        ("import", "numpy.random"),
        ("import", "tqdm"),
        ("from", "scipy", "stats"),
    ]
    assert not {"own", "part.model", "part.deep"} & set(sys.modules)


def test_an_own_module_is_never_a_step_even_under_the_name_of_a_library(program):
    assert program("import tqdm\nimport wave", tqdm="import pandas", wave="") == [
        ("import", "pandas")
    ]


def test_only_imports_that_are_certain_to_happen_are_followed(program):
    made = program(
        """
        import pandas
        def late():
            import colorsys
        if pandas.__version__ > "9":
            import wave
        else:
            import sched
        try:
            import tqdm
        except ImportError:
            import cmd
        class Thing:
            import netrc
        if __name__ == "__main__":
            import plistlib
        import own
        """,
        own="if __name__ == '__main__':\n    import nntplib\nelse:\n    import shelve",
    )
    assert names(made) == ["pandas", "tqdm", "netrc", "plistlib", "shelve"]


def test_libraries_named_for_the_types_come_last(program):
    """They are imported late, inside functions."""
    made = program(
        """
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            import keras
            from tqdm import tqdm
            from own import Thing
        import pandas
        """,
        own="",
    )
    assert names(made) == ["typing", "pandas", "keras", "tqdm"]


def test_variables_are_set_where_the_program_sets_them(program):
    assert program(
        """
        import os
        from os import environ
        os.environ["A"] = "1"
        import pandas
        environ.setdefault("B", "2")
        print(os.environ["A"], os.environ.get("B"), "C" in os.environ, dict(environ))
        import numpy
        """
    ) == [
        ("import", "os"),
        ("from", "os", "environ"),
        ("set", "A", "1"),
        ("import", "pandas"),
        ("default", "B", "2"),
        ("import", "numpy"),
    ]


@pytest.mark.parametrize("line", [
    "os.environ['A'] = str(1)",
    "os.environ.update(A='1')",
    "os.environ |= {'A': '1'}",
    "del os.environ['A']",
    "os.environ.pop('A', None)",
    "variables = os.environ",
    "os.putenv('A', '1')",
    "load_dotenv()",
    "def late():\n    os.environ['A'] = '1'",
    "if os.name == 'posix':\n    os.environ['A'] = '1'",
    "def late():\n    import own",
])  # fmt: skip
def test_where_a_variable_is_set_in_another_way_nothing_is_imported_before(program, line):
    own = "import os\nos.environ['A'] = '1'"
    assert program(f"import os\nimport pandas\n{line}\nimport numpy", own=own) == []


def test_from_where_modules_are_looked_for_elsewhere_nothing_more_is_imported(program):
    made = program("import pandas\nimport sys\nsys.path.insert(0, 'libs')\nimport numpy")
    assert names(made) == ["pandas", "sys"]


@pytest.mark.parametrize("end", ["import no_such_module", "import broken", "from . import pandas"])
def test_what_cannot_be_imported_ends_the_reading(program, end):
    made = program(f"import pandas\n{end}\nimport numpy", broken="this is no Python")
    assert "numpy" not in names(made)


def test_what_may_be_missing_ends_nothing(program):
    source = (
        "try:\n    import cupy as np\nexcept ImportError:\n    import numpy as np\nimport pandas"
    )
    assert names(program(source)) == ["pandas"]


def test_a_program_that_is_not_there_has_no_steps(tmp_path):
    assert forks.steps("no_such_module", tmp_path) == []


def test_a_package_is_run_by_its_main(tmp_path):
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("import pandas")
    (package / "__main__.py").write_text("if __name__ == '__main__':\n    import tqdm")
    assert names(forks.steps("pack", tmp_path)) == ["pandas", "tqdm"]


def test_the_training_program_has_tensorflow_ready_and_its_variables_before():
    made = forks.steps("kubeflow_workshop.stock.train", Path.cwd())
    quiet = made.index(("default", "TF_ENABLE_ONEDNN_OPTS", "0"))
    assert quiet < made.index(("import", "pandas")) < made.index(("import", "keras"))
    assert not any(name.startswith("kubeflow_workshop") for name in names(made))
