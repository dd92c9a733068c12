"""The Pythons that the heavy tests need."""

import os
import shutil
import subprocess

import pytest


def interpreter(version: str) -> str:
    """The command of a Python of this version: on the PATH, or kept by pyenv. Where there is none,
    the test skips; in CI it fails.
    """
    if (
        subprocess.run(
            ["sh", "-c", f"python{version} --version"], capture_output=True, check=False
        ).returncode
        == 0
    ):
        return f"python{version}"
    if shutil.which("pyenv"):
        newest = subprocess.run(
            ["pyenv", "latest", version], capture_output=True, text=True, check=False
        ).stdout.strip()
        found = subprocess.run(
            ["pyenv", "prefix", newest], capture_output=True, text=True, check=False
        )
        if newest and found.returncode == 0:
            return f"{found.stdout.strip()}/bin/python"
    if os.environ.get("CI"):
        pytest.fail(f"CI must have Python {version}")
    pytest.skip(f"Python {version} is not on this machine")
