"""`.ci/run` brings a Docker engine where there is none, and takes it down again, whatever happens;
the public workflow runs the same, and the levels of the areas fit into their time.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests import run

ROOT = Path(__file__).parents[1]
RUN = ROOT / ".ci/run"
AREAS = tomllib.loads((ROOT / "tests/areas.toml").read_text())
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="CI runs on Linux")


@pytest.fixture(params=["without"])
def checkout(tmp_path, request):
    """A checkout with shared tools beside it, on a machine whose docker, make and docker-up only
    write down what they are asked, and nothing is missing.
    """
    (tmp_path / "checkout/.ci").mkdir(parents=True)
    shutil.copy(RUN, tmp_path / "checkout/.ci/run")
    programs = {
        "programs/docker": "case $1 in image) echo sha256:new ;; *) exit ${ENGINE:-1} ;; esac",
        "programs/make": (
            'echo "make $* with ${DOCKER_HOST:-no engine}" >> "$SAID"; [ -z "$HANGS" ] || { echo'
            " hangs; exec sleep 60; }; exit ${MAKE:-0}"
        ),
        "shared/tools/docker-up": (
            'echo "engine ${1:-up}" >> "$SAID"; echo "export DOCKER_HOST=unix:///engine"; exit'
            " ${UP:-0}"
        ),
    }
    built = {
        "shared/tools/cluster-up": (
            'echo "cluster $*" >> "$SAID"; echo "export KUBECONFIG=/cluster"; exit ${NODE:-0}'
        ),
        "node/bin/katib-controller": "exit 0",
        "node/bin/kubectl": "exit ${ANSWERS:-1}",
        "programs/ctr": 'case $* in *" ls "*) echo REF; echo one two digest ;; *) echo "$HELD" ;; esac',
    }
    programs |= built if request.param == "with a node" else {}
    programs |= dict.fromkeys(("programs/wine", "programs/mvn", "programs/shellcheck"), "exit 0")
    (tmp_path / "checkout/pyproject.toml").write_text('version = "0.1.0"\n')
    for name, script in programs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def start(checkout, *words, **settings):
    (checkout / "said").unlink(missing_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "DOCKER_HOST"}
    environment |= {
        "PATH": f"{checkout}/programs{os.pathsep}{os.environ['PATH']}",
        "SAID": f"{checkout}/said",
        "CLUSTER_UP_DIR": f"{checkout}/node",
        "WORKSHOP_TEST_CLUSTER": "",
    } | settings
    return subprocess.Popen(
        ["bash", checkout / "checkout/.ci/run", *words],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def said(checkout):
    return (checkout / "said").read_text().splitlines()


def test_what_takes_long_runs_when_it_is_asked_for(checkout):
    assert start(checkout, "test-weekly").wait(30) == 0
    assert said(checkout)[1] == "make test-weekly with unix:///engine"


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


IMAGE = "kubeflow-workshop:0.1.0"
UP = ["engine up", "cluster katib", "make image with unix:///engine"]
MADE = "make test-weekly with unix:///engine"


@pytest.mark.parametrize("checkout", ["with a node"], indirect=True)
@pytest.mark.parametrize("code", [0, 1])
def test_a_node_is_there_for_the_weekly_run_and_down_at_the_end(checkout, code):
    assert bool(start(checkout, "test-weekly", MAKE=str(code)).wait(30)) == bool(code)
    loaded = [*UP, f"cluster load {IMAGE}", MADE] if not code else UP
    assert said(checkout) == [*loaded, "cluster down", "engine down"]


@pytest.mark.parametrize("checkout", ["with a node"], indirect=True)
def test_a_node_that_runs_already_and_has_the_image_is_used_and_left_alone(checkout):
    assert start(checkout, "test-weekly", ANSWERS="0", HELD="sha256:new").wait(30) == 0
    assert said(checkout) == [*UP, MADE, "engine down"]


@pytest.mark.parametrize("checkout", ["with a node"], indirect=True)
def test_a_node_that_does_not_start_fails_the_run_and_is_taken_down(checkout):
    assert start(checkout, "test-weekly", NODE="1").wait(30) == 1
    assert said(checkout) == ["engine up", "cluster katib", "cluster down", "engine down"]


@pytest.mark.parametrize("checkout", ["with a node"], indirect=True)
def test_a_node_whose_programs_are_built_is_there_on_every_change(checkout):
    assert start(checkout).wait(30) == 0
    made = MADE.replace("test-weekly", "test test-all")
    assert said(checkout) == [*UP, f"cluster load {IMAGE}", made, "cluster down", "engine down"]


@pytest.mark.parametrize("checkout", ["with a node"], indirect=True)
def test_no_node_is_built_for_a_change(checkout):
    (checkout / "node/bin/katib-controller").unlink()
    assert start(checkout).wait(30) == 0
    assert "cluster katib" not in said(checkout)


@pytest.mark.parametrize("checkout", ["with a node"], indirect=True)
def test_a_cluster_that_a_person_has_named_goes_before_the_node(checkout):
    assert start(checkout, "test-weekly", WORKSHOP_TEST_CLUSTER="1").wait(30) == 0
    assert said(checkout) == ["engine up", MADE, "engine down"]


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


def minutes(*levels):
    return sum(area["minutes"] for area in AREAS.values() if area["level"] in levels)


def test_each_level_fits_into_its_time():
    assert {area["level"] for area in AREAS.values()} == set(run.LEVELS)
    assert minutes("test") <= 10
    assert minutes("test", "ci") <= 60


def test_every_pytest_of_an_area_ends_a_test_that_hangs():
    for name, area in AREAS.items():
        if area["command"][0] == "pytest":
            assert [word for word in area["command"] if word.startswith("--timeout=")], name


@pytest.fixture
def ran(monkeypatch):
    """`ran(WORD …)` runs tests/run.py with these words and returns the commands of the areas."""
    commands = []

    def note(command, **_):
        commands.append(" ".join(map(str, command)).rpartition("offline.py ")[2])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(run.subprocess, "run", note)

    def start_it(*words):
        commands.clear()
        assert run.main([*words]) == 0
        return commands

    return start_it


@pytest.mark.parametrize("level", run.LEVELS)
def test_a_level_runs_its_areas_and_no_other(ran, level, capsys):
    wanted = [" ".join(area["command"]) for area in AREAS.values() if area["level"] == level]
    assert ran("--level", level) == wanted
    assert "failed" not in capsys.readouterr().out


def test_without_a_word_it_is_what_a_learner_runs(ran):
    assert ran() == ran("--level", "test")


def test_areas_run_by_name_in_the_order_asked_for(ran):
    assert ran("types", "style") == ["mypy", "ruff check ."]


def test_an_area_that_does_not_exist_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        run.main(["stile"])
    assert ended.value.code == 2
    assert "stile" in capsys.readouterr().err


def test_make_runs_the_levels():
    rules = (ROOT / "Makefile").read_text()
    for target, level in {"test-all": "ci", "test-weekly": "weekly"}.items():
        assert re.search(rf"(?m)^{target}: .+\n\t.+tests/run.py --level {level}$", rules)
    named = re.search(r"(?m)^test-lock: .+\n\t.+tests/run.py (.+)$", rules).group(1).split()
    assert named == ["pythons", "colab"]
    assert {AREAS[name]["level"] for name in named} == {"weekly"}


JOBS = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())


def commands(job):
    return [step.get("run", "") for step in JOBS["jobs"][job]["steps"]]


def test_the_public_workflow_runs_the_same_ci_and_more_on_mondays():
    assert "bash .ci/run" in commands("run")
    assert 'bash .ci/run "$TARGET"' in commands("weekly")
    assert [when["cron"].split()[4] for when in JOBS[True]["schedule"]] == ["1"]  # `on`, in YAML
    for target in re.findall(r"test-\w+", JOBS["jobs"]["weekly"]["env"]["TARGET"]):
        assert re.search(rf"(?m)^{target}:", (ROOT / "Makefile").read_text())


@pytest.mark.parametrize(
    ("before", "changed"), [("HEAD~1", "no"), ("HEAD~2", "yes"), ("", "yes"), ("0" * 40, "yes")]
)
def test_the_public_workflow_sees_a_changed_lock(tmp_path, before, changed):
    git = ["git", "-C", tmp_path, "-c", "user.name=A", "-c", "user.email=a@example.com"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    for number, name in enumerate(["README.md", "requirements.txt", "README.md"]):
        (tmp_path / name).write_text(f"{number}\n")
        subprocess.run([*git, "add", "."], check=True)
        words = ["-c", "commit.gpgsign=false", "commit", "--quiet", "--message", "One"]
        subprocess.run([*git, *words], check=True)
    look = commands("lock")[1]
    environment = os.environ | {"BEFORE": before, "GITHUB_OUTPUT": str(tmp_path / "output")}
    subprocess.run(["bash", "-e", "-c", look], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "output").read_text() == f"changed={changed}\n"


def test_the_public_workflow_tries_what_the_readme_promises_on_macos():
    assert JOBS["jobs"]["macos"]["runs-on"].startswith("macos")
    assert any(command.startswith("make test tour") for command in commands("macos"))


def test_the_public_workflow_makes_two_kubeflows_side_by_side_once_a_week():
    """And tries the course's objects on one of them, and removes both, whatever happened."""
    job = JOBS["jobs"]["cluster"]
    assert {word for word in re.findall(r"'(\w+)'", job["if"])} == {"schedule", "workflow_dispatch"}
    done = commands("cluster")
    for name in ("one", "two"):
        assert any(f"cluster.sh up {name} --yes" in command for command in done)
        assert f"cluster.sh down {name}" in done[-1]
    assert job["steps"][-1]["if"] == "always()"
    (tests,) = [step for step in job["steps"] if "tests/run.py" in step.get("run", "")]
    assert set(tests["run"].partition("run.py ")[2].split()) <= set(AREAS)
    assert tests["env"] == {"WORKSHOP_TEST_CLUSTER": "1"}
