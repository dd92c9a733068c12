"""The launchers of Linux: short, clean, and they pass on what they were given."""

import os
import shutil
import subprocess

import pytest

from tests.install.conftest import ROOT

LAUNCHERS = sorted(ROOT.glob("install/linux/*.sh"))


@pytest.fixture
def programs(tmp_path):
    """A PATH whose python3 and make write down how they are called."""
    (tmp_path / "bin").mkdir()
    for name in ("python3", "make"):
        (tmp_path / "bin" / name).write_text(
            f'#!/bin/sh\nfor word in {name} "$@"; do echo "$word"; done >> "{tmp_path}/calls"\n'
        )
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "bin/dirname").symlink_to(shutil.which("dirname"))
    return tmp_path


def launch(programs, name, *words):
    return subprocess.run(
        ["/bin/sh", ROOT / "install/linux" / name, *words],
        env={"PATH": str(programs / "bin")},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


def test_cluster_passes_its_words_on(programs):
    assert launch(programs, "cluster.sh", "up", "demo", "--ports", "80:80,443:443").returncode == 0
    python, script, *words = (programs / "calls").read_text().splitlines()
    assert (python, os.path.realpath(script)) == ("python3", str(ROOT / "install/cluster.py"))
    assert words == ["up", "demo", "--ports", "80:80,443:443"]


def test_lab_makes_the_course_with_a_python_that_fits(programs):
    assert launch(programs, "lab.sh", "LAB_ARGS=--no-browser").returncode == 0
    assert (programs / "calls").read_text().splitlines()[-4:] == [
        "make",
        "lab",
        "PYTHON=python3",
        "LAB_ARGS=--no-browser",
    ]


@pytest.mark.parametrize(
    ("missing", "name"), [("python3", "cluster.sh"), ("make", "lab.sh"), ("python3", "lab.sh")]
)
def test_what_is_missing_is_named_with_what_to_type(programs, missing, name):
    (programs / "bin" / missing).unlink()
    done = launch(programs, name)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"sudo apt-get install {missing}" in done.stderr


@pytest.mark.parametrize("launcher", LAUNCHERS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(launcher):
    if not shutil.which("shellcheck"):
        if os.environ.get("CI"):
            pytest.fail("CI must have shellcheck")
        pytest.skip("shellcheck is not on this machine: sudo apt-get install shellcheck")
    done = subprocess.run(["shellcheck", launcher], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert os.access(launcher, os.X_OK)


def test_nothing_is_piped_into_a_shell_and_no_password_stands_in_a_file():
    for path in (
        path
        for path in (ROOT / "install").rglob("*")
        if path.is_file() and path.suffix in (".py", ".sh", ".yaml", ".json", ".bat", ".md")
    ):
        text = path.read_text(encoding="utf-8")
        assert "| sh" not in text, path
        assert "| bash" not in text, path
        assert "12341234" not in text, path
