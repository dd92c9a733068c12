"""`.ci/run` brings a Docker engine where there is none, and takes it down again, whatever happens."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parents[1] / ".ci/run"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="CI runs on Linux")


@pytest.fixture
def checkout(tmp_path):
    """A checkout with shared tools beside it, on a machine whose docker, make and docker-up only
    write down what they are asked, and nothing is missing.
    """
    (tmp_path / "checkout/.ci").mkdir(parents=True)
    shutil.copy(RUN, tmp_path / "checkout/.ci/run")
    programs = {
        "programs/docker": "exit ${ENGINE:-1}",
        "programs/make": (
            'echo "make $* with ${DOCKER_HOST:-no engine}" >> "$SAID"; [ -z "$HANGS" ] || { echo'
            " hangs; exec sleep 60; }; exit ${MAKE:-0}"
        ),
        "shared/tools/docker-up": (
            'echo "engine ${1:-up}" >> "$SAID"; echo "export DOCKER_HOST=unix:///engine"; exit'
            " ${UP:-0}"
        ),
    }
    programs |= dict.fromkeys(("programs/wine", "programs/mvn", "programs/shellcheck"), "exit 0")
    for name, script in programs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def start(checkout, **settings):
    (checkout / "said").unlink(missing_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "DOCKER_HOST"}
    environment |= {
        "PATH": f"{checkout}/programs{os.pathsep}{os.environ['PATH']}",
        "SAID": f"{checkout}/said",
    } | settings
    return subprocess.Popen(
        ["bash", checkout / "checkout/.ci/run"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def said(checkout):
    return (checkout / "said").read_text().splitlines()


@pytest.mark.parametrize("code", [0, 1])
def test_the_engine_is_there_for_make_and_down_at_the_end(checkout, code):
    run = start(checkout, MAKE=str(code))
    assert bool(run.wait(30)) == bool(code)
    assert said(checkout) == ["engine up", "make test test-all with unix:///engine", "engine down"]


def test_an_engine_that_does_not_start_fails_the_run_and_is_taken_down(checkout):
    assert start(checkout, UP="1").wait(30) == 1
    assert said(checkout) == ["engine up", "engine down"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_engine_is_down_after_a_run_that_was_broken_off(checkout, number):
    run = start(checkout, HANGS="yes")
    assert run.stdout.readline().startswith("hangs")
    os.killpg(run.pid, number)
    assert run.wait(30) != 0
    assert said(checkout)[-1] == "engine down"


def test_an_engine_that_answers_already_is_used_and_left_alone(checkout):
    assert start(checkout, ENGINE="0").wait(30) == 0
    assert said(checkout) == ["make test test-all with no engine"]


def test_without_the_tool_the_tests_run_all_the_same(checkout):
    shutil.rmtree(checkout / "shared")
    assert start(checkout).wait(30) == 0
    assert said(checkout) == ["make test test-all with no engine"]


def test_what_the_launchers_tests_need_is_installed_where_it_is_missing(checkout):
    (checkout / "programs/shellcheck").unlink()
    for name in ("apt-get", "sudo", "env"):
        script = 'exec "$@"' if name == "sudo" else f'echo "{name} $*" >> "$SAID"'
        (checkout / "programs" / name).write_text(f"#!/bin/sh\n{script}\n")
        (checkout / "programs" / name).chmod(0o755)
    for name in ("bash", "dirname", "id", "tail", "sh"):
        (checkout / "programs" / name).symlink_to(shutil.which(name))
    assert start(checkout, PATH=f"{checkout}/programs").wait(30) == 0
    assert said(checkout)[:2] == [
        "apt-get -qq update",
        "env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends shellcheck",
    ]
