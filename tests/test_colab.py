"""The cell that installs the course on Colab, run where `google.colab` and pip are not the real
ones.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tutorials import colab

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
# A kernel with Colab's own packages, and a pip that writes down its words; when it is given the
# course, it leaves the course's metadata, as pip does.
KERNEL = """
import sys, types
sys.path.insert(0, sys.argv[1])
sys.executable = sys.argv[1] + "/python"
if sys.argv[2] == "colab":
    sys.modules["google.colab"] = types.ModuleType("google.colab")
before = set(globals())
exec(sys.stdin.read())
print(sorted(set(globals()) - before - {"before"}))
"""
PIP = """#!{python}
import json, pathlib, sys
here = pathlib.Path({here!r})
with (here / "said").open("a") as said:
    said.write(json.dumps(sys.argv[1:]) + chr(10))
if {fails!r}:
    sys.exit("ERROR: no network")
if "--no-deps" in sys.argv:
    info = here / "kubeflow_workshop-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text({metadata!r})
"""


@pytest.fixture
def run(tmp_path):
    """Run the cell somewhere; returns what ran and what pip was asked."""

    def ran(where: str, fails: bool = False) -> tuple[subprocess.CompletedProcess, list[list[str]]]:
        for name, version in (("tensorflow", "2.19.0"), ("numpy", "2.0.2"), ("pandas", "2.2.2")):
            info = tmp_path / f"{name}-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(
                f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n"
            )
        extras = [
            f"{need}; extra == '{extra}'"
            for extra, needs in PROJECT["optional-dependencies"].items()
            for need in needs
        ]
        needs = "".join(f"Requires-Dist: {need}\n" for need in PROJECT["dependencies"] + extras)
        metadata = (
            "Metadata-Version: 2.4\nName: kubeflow-workshop\nVersion:"
            f" {PROJECT['version']}\n{needs}"
        )
        words = {
            "python": sys.executable,
            "here": str(tmp_path),
            "fails": fails,
            "version": PROJECT["version"],
            "metadata": metadata,
        }
        (tmp_path / "python").write_text(PIP.format(**words))
        (tmp_path / "python").chmod(0o755)
        command = [sys.executable, "-c", KERNEL, str(tmp_path), where]
        cell = subprocess.run(
            command, input=colab.CODE, capture_output=True, text=True, check=False
        )
        said = tmp_path / "said"
        return cell, (
            [json.loads(line) for line in said.read_text().splitlines()] if said.exists() else []
        )

    return ran


def test_on_colab_it_installs_the_release_and_then_the_core_beside_what_is_there(run):
    cell, (course, needs) = run("colab")
    assert cell.returncode == 0, cell.stderr
    begin = ["-m", "pip", "install", "--quiet"]
    assert course == [
        *begin,
        "--no-deps",
        f"git+https://github.com/FootprintAI/kubeflow-workshop@v{PROJECT['version']}",
    ]
    core = [need for need in PROJECT["dependencies"] if not need.startswith("tensorflow")]
    assert needs == [*begin, *core, "tensorflow==2.19.0", "numpy==2.0.2", "pandas==2.2.2"]


def test_on_colab_a_pip_that_fails_is_quoted_beside_the_way_out(run):
    cell, asked = run("colab", fails=True)
    assert cell.returncode
    assert "open Binder instead: nothing is installed. ERROR: no network" in cell.stderr
    assert len(asked) == 1


def test_elsewhere_it_does_nothing(run):
    cell, asked = run("laptop")
    assert cell.returncode == 0
    assert cell.stderr == ""
    assert cell.stdout == "[]\n"  # it leaves no name behind but sys
    assert not asked


@pytest.mark.parametrize("extras", [["core"], ["core", "pipelines"]])
def test_a_notebook_is_brought_up_to_date_once_and_for_all(tmp_path, extras):
    import nbformat

    path = tmp_path / "42-answer.ipynb"
    cells = [
        nbformat.v4.new_markdown_cell("# Ask\n\nold badges\n\nYou'll ask."),
        nbformat.v4.new_code_cell("6 * 7", execution_count=1),
    ]
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata={"workshop": {"extras": extras}}), path
    )
    colab.write(path)
    once = path.read_bytes()
    colab.write(path)
    assert path.read_bytes() == once
    written = nbformat.read(path, as_version=4)
    nbformat.validate(written)
    assert (
        written.cells[0].source
        == f"# Ask\n\n{colab.badges(path.name, extras == ['core'])}\n\nYou'll ask."
    )
    assert [cell.source for cell in written.cells[1:]] == (
        [colab.PROSE, colab.CODE] if extras == ["core"] else []
    ) + ["6 * 7"]
    assert written.cells[-1].execution_count == 1
