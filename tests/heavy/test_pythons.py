"""The lock installs on the other Pythons that the README promises, and the unit tests pass there."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def interpreter(version: str) -> str | None:
    """A Python of this version that runs: on the PATH, or kept by pyenv."""
    if subprocess.run(["sh", "-c", f"python{version} --version"], capture_output=True, check=False).returncode == 0:
        return f"python{version}"
    if shutil.which("pyenv"):
        newest = subprocess.run(["pyenv", "latest", version], capture_output=True, text=True, check=False).stdout.strip()
        found = subprocess.run(["pyenv", "prefix", newest], capture_output=True, text=True, check=False)
        if newest and found.returncode == 0:
            return f"{found.stdout.strip()}/bin/python"
    return None


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_the_lock_installs_and_the_unit_tests_pass_on(version):
    python = interpreter(version)
    if not python:
        if os.environ.get("CI"):
            pytest.fail(f"CI must have Python {version}")
        pytest.skip(f"Python {version} is not on this machine")
    room = f"build/python{version}"
    subprocess.run(["make", f"PYTHON={python}", f"VENV={room}", f"{room}/installed"], cwd=ROOT, check=True)
    assert subprocess.run([f"{room}/bin/python", "tests/run.py", "unit"], cwd=ROOT, check=False).returncode == 0
