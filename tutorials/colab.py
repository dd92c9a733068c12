"""Write the badges of every notebook, and the cell that installs the course on Colab.

    python tutorials/colab.py      (make notebooks does it first)

Both name the release, `v` and the version of pyproject.toml: a notebook cannot hold the hash of the
commit that it is part of, and a branch moves on while a copy in somebody's Drive does not. So Colab
opens the notebook of the release, and installs the package of the same commit.
"""

import tomllib
from pathlib import Path

import nbformat

from kubeflow_workshop import REPOSITORY

TUTORIALS = Path(__file__).parent
TAG = f"v{tomllib.loads((TUTORIALS.parent / 'pyproject.toml').read_text())['project']['version']}"

PROSE = """\
On Colab, the next cell installs the course, in less than a minute; Colab's own TensorFlow, NumPy
and pandas stay as they are. Anywhere else it does nothing."""

# Folded away, in JupyterLab by the first key and on Colab by the second: it is not what the learner
# came for.
FOLDED = {"jupyter": {"source_hidden": True}, "cellView": "form"}

CODE = f"""\
# @title Install the course (on Colab only)
import sys

if "google.colab" in sys.modules:
    import subprocess
    from importlib.metadata import requires, version

    def pip_install(*what):
        command = [sys.executable, "-m", "pip", "install", "--quiet", *what]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"open Binder instead: nothing is installed. {{done.stderr}}"

    pip_install("--no-deps", "git+{REPOSITORY}@{TAG}")
    needs = [need for need in requires("kubeflow-workshop") if "extra ==" not in need]
    needs = [need for need in needs if not need.startswith("tensorflow")]
    kept = [f"{{name}}=={{version(name)}}" for name in ("tensorflow", "numpy", "pandas")]
    pip_install(*needs, *kept)"""


def badges(name: str, on_colab: bool) -> str:
    """The badges of the notebook with this file name."""
    repository = REPOSITORY.removeprefix("https://github.com/")
    colab = (
        "[![Open in"
        f" Colab](https://img.shields.io/badge/open-Colab-F9AB00)](https://colab.research.google.com/github/{repository}/blob/{TAG}/tutorials/{name})"
    )
    binder = (
        "[![Launch"
        f" Binder](https://img.shields.io/badge/launch-Binder-579ACA)](https://mybinder.org/v2/gh/{repository}/main?urlpath=lab/tree/tutorials/{name})"
    )
    return f"{colab} {binder}" if on_colab else binder


def write(path: Path) -> None:
    """Bring one notebook up to date; its outputs stay."""
    document = nbformat.read(path, as_version=4)
    on_colab = document.metadata.workshop.extras == ["core"]
    paragraphs = document.cells[0].source.split("\n\n")
    paragraphs[1] = badges(path.name, on_colab)
    document.cells[0].source = "\n\n".join(paragraphs)
    ran = {cell.id: cell.get("execution_count") for cell in document.cells}
    document.cells = [
        cell for cell in document.cells if cell.id not in ("colab-prose", "colab-code")
    ]
    if on_colab:
        code = nbformat.v4.new_code_cell(
            CODE, id="colab-code", metadata=FOLDED, execution_count=ran.get("colab-code")
        )
        document.cells[1:1] = [nbformat.v4.new_markdown_cell(PROSE, id="colab-prose"), code]
    nbformat.write(document, path)


if __name__ == "__main__":
    for notebook in sorted(TUTORIALS.glob("[0-9]*.ipynb")):
        write(notebook)
