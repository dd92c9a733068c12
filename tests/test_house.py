"""The rooms of the house and who may import whom, read from the source of every module.

The rules hold for rooms that are not built yet, too: they begin to bite when the first module is
there.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "kubeflow_workshop"
NAME = PACKAGE.name
HEAVY = {"tensorflow", "keras", "kfp", "kserve", "evidently", "pandera"}
"""Imported where they are used: each takes seconds."""
STEPS = f"{NAME}.pipelines.components"
"""Written in kfp's own words, so it imports kfp, and is itself imported where it is used."""
PLATFORMS = {"kubernetes", "kubeflow", "kfp", "kserve", "optuna", "skopt"}

PLATFORM = {"errors", "files", "target", "objects", "kube", "process", "forks"}
SERVING = PLATFORM | {"repository"}
LOOP = PLATFORM | {"stock", "case_study", "pipelines", "serving", "katib"}
MAY_IMPORT = {
    "__init__": set(),
    "errors": set(),
    "files": set(),
    "stock": {"errors", "files", "repository"},
    "target": {"errors", "files"},
    "objects": {"errors"},
    "kube": {"errors", "objects", "target"},
    "process": {"errors"},
    "forks": set(),  # run by its path, so that no program meets the course in it
    "katib": PLATFORM,
    "repository": {"errors"},
    "serving": SERVING,
    "pipelines": PLATFORM | {"stock", "tuning", "repository"},
    "case_study": {"errors", "files", "stock", "repository"},
    "tuning": {"errors", "target", "katib", "case_study", "pipelines"},
    "learn": {"errors", "files"},
    "doctor": {"errors", "files"},
    "loop": LOOP,
    "tour": LOOP | {"loop"},
    "tune": {"errors", "objects", "katib"},
    "pipeline": {"errors", "files", "target", "objects", "pipelines", "case_study"},
    "serve": {"errors", "serving"},
    "cli": LOOP | {"loop", "tour", "tune", "pipeline", "serve", "doctor"},
}
"""Room → the rooms it may import, besides itself and the package's own constants. A room that is
not named here may import none.
"""
SPECS = {
    "case_study": {"katib.spec", "katib.rules", "pipelines.spec", "serving.spec"},
}
"""Room → the modules of other rooms that it may import, and nothing else of those rooms."""
UNNAMED = {"katib": "stock", "serving": "stock"}
"""Room → the room that it may not name even in a string: these serve any program."""
STOCK = {
    "prices": set(),
    "windows": {"prices"},
    "evaluate": {"windows"},
    "repository": set(),
    "model": {"windows", "repository"},
    "train": {"prices", "windows", "evaluate", "repository", "model"},
    "checks": {"prices"},
    "gate": {"evaluate"},
    "drift": {"prices", "windows", "evaluate"},
    "plots": set(),
    "report": {"windows", "evaluate", "gate", "plots"},
}
"""The floors of the case study, the ground floor first."""


def imports(source: str, top_only: bool = False) -> set[str]:
    """The modules that a module imports, as `a.b.c`; `top_only`: when it is itself imported. What
    only type checkers read does not count.
    """
    found = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                visit(child)
        elif not (
            top_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        ):
            for child in ast.iter_child_nodes(node):
                visit(child)

    visit(ast.parse(source))
    return found


def strings(source: str) -> list[str]:
    """Every text in a module, docstrings and the fixed parts of formatted texts among them."""
    return [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def modules() -> dict[str, str]:
    """Path in the package → source."""
    return {
        path.relative_to(PACKAGE).as_posix(): path.read_text()
        for path in sorted(PACKAGE.rglob("*.py"))
        if "course" not in path.parts
    }


def room(path: str) -> str:
    return path.split("/")[0].removesuffix(".py")


def broken_rules(sources: dict[str, str]) -> list[str]:
    """Every import that the house forbids, as `who → what`."""
    rooms = {room(path) for path in sources} | set(MAY_IMPORT)
    broken = []
    for path, source in sources.items():
        here = room(path)
        outside = PLATFORMS if here == "stock" else set()
        for name in imports(source):
            first, *rest = name.split(".")
            there = rest[0] if rest else ""
            if first in outside or (
                first == NAME
                and there in rooms
                and there != here
                and there not in MAY_IMPORT.get(here, set())
                and ".".join(rest[:2]) not in SPECS.get(here, set())
            ):
                broken.append(f"{path} → {name}")
            if here == "stock" and first == NAME and there == "stock" and len(rest) > 1:
                floor = path.split("/")[-1].removesuffix(".py")
                if rest[1] in STOCK and rest[1] != floor and rest[1] not in STOCK.get(floor, set()):
                    broken.append(f"{path} → {name}")
        if unnamed := UNNAMED.get(here):
            broken += [
                f"{path} → {text!r}"
                for text in strings(source)
                if re.search(rf"\b{unnamed}\b", text)
            ]
        broken += [
            f"{path} → {name} when it is imported"
            for name in imports(source, top_only=True)
            if (
                name.split(".")[0]
                in HEAVY - ({"kfp"} if path == "pipelines/components.py" else set())
            )
            or f"{name}.".startswith(f"{STEPS}.")
        ]
    return broken


def test_the_house_keeps_its_rules():
    assert broken_rules(modules()) == []


def test_the_rules_look_at_the_real_rooms():
    assert {room(path) for path in modules()} >= {
        "stock",
        "cli",
        "errors",
        "files",
        "learn",
        "doctor",
        "tour",
        "case_study",
        "objects",
        "kube",
        "process",
        "forks",
    }
    assert {
        path.split("/")[1].removesuffix(".py") for path in modules() if path.startswith("stock/")
    } - {"__init__"} <= set(STOCK)
    assert any("kubeflow_workshop.stock.model" in imports(source) for source in modules().values())


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("stock/drift.py", "from kubeflow_workshop import katib"),
        ("stock/drift.py", "from kubeflow_workshop.serving import spec"),
        ("stock/drift.py", "import kubeflow_workshop.pipelines.spec"),
        ("stock/drift.py", "def f():\n    import kfp"),
        ("stock/drift.py", "from kubeflow_workshop.stock import train"),
        ("stock/windows.py", "from kubeflow_workshop.stock.model import fit"),
        ("stock/evaluate.py", "import tensorflow as tf"),
        ("katib/laptop.py", "from kubeflow_workshop.stock import train"),
        ("katib/laptop.py", "def f():\n    from kubeflow_workshop.stock.train import main"),
        ("katib/spec.py", "from kubeflow_workshop import pipelines"),
        ("serving/server.py", "import kubeflow_workshop.stock.model"),
        ("serving/server.py", "class Model:\n    from kserve import Model"),
        ("serving/server.py", "try:\n    import kserve\nexcept ImportError:\n    pass"),
        ("pipelines/spec.py", "from kubeflow_workshop.serving import spec"),
        ("pipelines/spec.py", "from kfp import dsl"),
        ("pipelines/components.py", "import tensorflow"),
        ("pipelines/components.py", "from kubeflow_workshop import case_study"),
        ("pipelines/spec.py", "from kubeflow_workshop.pipelines import components"),
        ("pipelines/spec.py", "from kubeflow_workshop.pipelines.components import train"),
        ("case_study.py", "from kubeflow_workshop.pipelines import laptop"),
        ("errors.py", "from kubeflow_workshop.files import course_file"),
        ("target.py", "from kubeflow_workshop import stock"),
        ("doctor.py", "from kubeflow_workshop import cli"),
        ("loop.py", "from kubeflow_workshop import cli"),
        ("attic.py", "from kubeflow_workshop import stock"),
        ("katib/spec.py", "COMMAND = ['python', '-m', 'kubeflow_workshop.stock.train']"),
        ("katib/spec.py", "def f(name):\n    return f'kubeflow_workshop.stock.{name}'"),
        ("serving/server.py", "'Serves what kubeflow_workshop.stock.train has written.'"),
        ("case_study.py", "from kubeflow_workshop.katib import laptop"),
        ("case_study.py", "from kubeflow_workshop.katib.cluster import Cluster"),
        ("case_study.py", "from kubeflow_workshop import katib"),
        ("katib/spec.py", "from kubeflow_workshop import case_study"),
        ("kube.py", "from kubeflow_workshop.katib import spec"),
        ("objects.py", "from kubeflow_workshop.kube import Kube"),
        ("process.py", "from kubeflow_workshop.katib import workers"),
        ("tune.py", "from kubeflow_workshop.stock import train"),
    ],
)
def test_the_rules_bite(path, line):
    assert broken_rules({path: line})


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("pipelines/spec.py", "from kubeflow_workshop.stock import train"),
        ("pipelines/spec.py", "def f():\n    from kfp import dsl"),
        ("pipelines/components.py", "from kfp import dsl"),
        ("pipelines/spec.py", "def f():\n    from kubeflow_workshop.pipelines import components"),
        ("pipelines/components.py", "def f():\n    from kubeflow_workshop import tuning"),
        ("tuning.py", "from kubeflow_workshop import case_study"),
        ("loop.py", "from kubeflow_workshop.pipelines import laptop"),
        ("cli.py", "def f():\n    from kubeflow_workshop import loop"),
        ("serving/server.py", "from kubeflow_workshop.serving import spec"),
        ("stock/train.py", "if TYPE_CHECKING:\n    import keras"),
        ("katib/cluster.py", "from kubeflow_workshop import REPOSITORY"),
        ("katib/cluster.py", "from kubeflow_workshop.kube import Kube"),
        ("katib/table.py", "'The livestock of another room.'"),
        ("case_study.py", "from kubeflow_workshop.katib import rules, spec"),
        ("case_study.py", "from kubeflow_workshop.stock import train"),
        ("pipelines/spec.py", "TRAIN = 'kubeflow_workshop.stock.train'"),
        ("tune.py", "def f():\n    from kubeflow_workshop.katib.laptop import Laptop"),
    ],
)
def test_the_rules_let_pass_what_is_meant(path, line):
    assert broken_rules({path: line}) == []


@pytest.mark.parametrize("module", ["kube.py", "objects.py", "process.py", "forks.py"])
def test_what_is_shared_names_no_platform(module):
    """What they must say of one is handed to them."""
    assert not re.search(r"katib|kfp|kserve|pipelines\b", modules()[module], re.IGNORECASE)


def test_katibs_room_is_no_larger_than_it_was():
    assert len([path for path in modules() if path.startswith("katib/")]) <= 12


# What is loaded in truth


def loaded(code: str) -> set[str]:
    """The packages that a fresh process has loaded after this code."""
    code = (
        f"import sys\nsys.path[:0] = {[str(PACKAGE.parent)]!r}\n{code}\nprint(*{{name.split('.')[0]"
        " for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_help_answers_without_loading_what_takes_long():
    code = (
        "from kubeflow_workshop import cli\ntry:\n    cli.main(['--help'])\nexcept SystemExit as"
        " end:\n    assert end.code == 0"
    )
    found = loaded(code)
    assert NAME in found
    assert found.isdisjoint(
        {*HEAVY, "pandas", "numpy", "matplotlib", "scipy", "psutil", "yfinance", "IPython"}
    )


@pytest.mark.slow
def test_the_case_study_is_imported_without_tensorflow():
    rooms = [
        path.removesuffix(".py").replace("/", ".")
        for path in modules()
        if path.startswith("stock/") and "__init__" not in path
    ]
    assert len(rooms) >= 6
    found = loaded("\n".join(f"import {NAME}.{name}" for name in rooms))
    assert "pandas" in found
    assert found.isdisjoint({*HEAVY, "yfinance", "arch"})
