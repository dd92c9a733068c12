"""The lock installs on the other Pythons that the README promises, and the unit tests pass there."""

import subprocess
from pathlib import Path

import pytest

from tests.heavy.pythons import interpreter

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_the_lock_installs_and_the_unit_tests_pass_on(version):
    python = interpreter(version)
    room = f"build/python{version}"
    subprocess.run(
        ["make", f"PYTHON={python}", f"VENV={room}", f"{room}/installed"], cwd=ROOT, check=True
    )
    assert (
        subprocess.run(
            [f"{room}/bin/python", "tests/run.py", "unit", "slow"], cwd=ROOT, check=False
        ).returncode
        == 0
    )
