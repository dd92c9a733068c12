"""The core on Colab's Python and TensorFlow, installed as the notebooks' first cell does it, and at
both ends of its ranges.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lab
import pytest

from tests.heavy.pythons import interpreter
from tutorials import colab

ROOT = Path(__file__).parents[2]
# What Colab brings (2026): its release of each thing that the core asks for, and TensorFlow under
# the name that tensorflow-cpu would overwrite.
BRINGS = [
    "tensorflow==2.19.0",
    "numpy==2.0.2",
    "pandas==2.2.2",
    "protobuf==5.29.5",
    "matplotlib==3.10.0",
    "scipy==1.16.3",
    "ipython==7.34.0",
    "psutil==5.9.5",
]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
CELL = """
import sys, types
sys.modules["google.colab"] = types.ModuleType("google.colab")
exec(sys.argv[1])
"""


def environment(room: Path, python: str, *packages: str) -> Path:
    """A fresh environment with these packages; returns its directory of programs."""
    uv = [sys.executable, "-m", "uv"]
    # Asked for its path, because uv does not look behind pyenv's shims and would download a Python.
    python = subprocess.run(
        [python, "-c", "import sys; print(sys.executable)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    subprocess.run(
        [*uv, "venv", "--quiet", "--clear", "--seed", "--python", python, str(room)], check=True
    )
    subprocess.run(
        [*uv, "pip", "install", "--quiet", "--python", str(room / "bin/python"), *packages],
        cwd=ROOT,
        env=lab.as_uv_says(lab.pip_settings(sys.executable)) | os.environ,
        check=True,
    )
    return room / "bin"


def installed(programs: Path) -> set[str]:
    listed = subprocess.run(
        [programs / "pip", "list", "--format", "freeze"],
        capture_output=True,
        text=True,
        check=True,
        env=ENVIRONMENT,
    )
    return set(listed.stdout.splitlines())


@pytest.fixture(scope="module")
def colab_like() -> Iterator[tuple[Path, set[str]]]:
    """The programs of an environment like Colab's after the cell has run in it, and what was
    installed before.
    """
    programs = environment(
        ROOT / "build/colab", interpreter("3.12"), *BRINGS, "ipykernel", "nbclient"
    )
    before = installed(programs)
    address = f"git+{colab.REPOSITORY}@{colab.TAG}"
    assert address in colab.CODE
    subprocess.run(
        [programs / "python", "-c", CELL, colab.CODE.replace(address, str(ROOT))],
        check=True,
        env=ENVIRONMENT,
    )
    yield programs, before
    shutil.rmtree(programs.parent)


def test_nothing_that_colab_brings_is_moved(colab_like):
    programs, before = colab_like
    after = installed(programs)
    assert "tensorflow==2.19.0" in before
    assert before < after
    assert not any(
        line.startswith("tensorflow-cpu") or line.startswith("tensorflow_cpu") for line in after
    )


def test_all_that_the_core_asks_for_is_there_and_fits(colab_like):
    programs, _ = colab_like
    checked = subprocess.run(
        [programs / "pip", "check"], capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert [line.partition(", which")[0] for line in checked.stdout.splitlines()] == [
        f"kubeflow-workshop {colab.TAG[1:]} requires tensorflow-cpu"
    ]


OPENED = [
    path
    for path in sorted(ROOT.glob("tutorials/[0-9]*.ipynb"))
    if "colab.research.google.com" in path.read_text(encoding="utf-8")
]
"""The notebooks with a badge that opens them on Colab."""


def test_the_notebooks_that_the_readme_names_have_the_badge():
    assert {f"{number:02}" for number in range(6)} <= {path.name[:2] for path in OPENED}


@pytest.mark.parametrize("path", OPENED, ids=lambda path: path.name[:2])
def test_the_notebook_runs_there(colab_like, path, tmp_path):
    programs, _ = colab_like
    shutil.copy(path, tmp_path)
    ran = subprocess.run(
        [programs / "jupyter", "execute", "--timeout=1200", path.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]


@pytest.mark.parametrize("end", ["lowest-direct", "highest"])
def test_the_unit_tests_pass_at_both_ends_of_the_ranges(end):
    programs = environment(
        ROOT / "build/ranges",
        sys.executable,
        "--resolution",
        end,
        ".",
        "pytest>=8",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.6",
        "nbformat>=5.10",
        "cryptography>=42",
    )
    # Only data for the tests; what it asks for would lift pandas off the floor.
    subprocess.run(
        [
            sys.executable,
            "-m",
            "uv",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--python",
            programs / "python",
            "bokeh-sampledata",
        ],
        env=lab.as_uv_says(lab.pip_settings(sys.executable)) | os.environ,
        check=True,
    )
    if end == "lowest-direct":
        assert {"numpy==1.26.0", "pandas==2.2.2", "optuna==4.2.0"} <= installed(programs)
    ran = subprocess.run(
        [programs / "python", ROOT / "tests/run.py", "unit"], cwd=ROOT, check=False, env=ENVIRONMENT
    )
    assert ran.returncode == 0
    shutil.rmtree(programs.parent)
