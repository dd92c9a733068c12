"""Experiments run here from end to end, with programs of a line in the place of training."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import yaml

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.katib.laptop import Laptop
from kubeflow_workshop.objects import state
from kubeflow_workshop.target import NAMESPACE
from tests.katib.experiments import choice, experiment, number

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the programs are shell scripts")

GRID = {
    "algorithm": "grid",
    "parameters": [choice("discrete", "1", "2", "3")],
    "settings": {"random_state": 0},
}
FILE = {
    "collector": {"kind": "File"},
    "source": {"fileSystemPath": {"kind": "File", "path": "/katib/m.log"}},
}


def shell(script: str, **how: object) -> dict:
    return experiment(
        "sh",
        "-c",
        f"x=${{trialParameters.x}}\n{script}",
        **({} if "parameters" in how else GRID) | how,
    )


@pytest.fixture
def laptop(tmp_path):
    return Laptop(tmp_path / "state")


def run(laptop: Laptop, document: dict) -> dict:
    return laptop.wait(laptop.create(document), timeout=60)


def conditions(thing: dict) -> list[tuple[str, str, str]]:
    return [(one["type"], one["status"], one["reason"]) for one in thing["status"]["conditions"]]


def only(laptop: Laptop, name: str = "try") -> dict:
    (trial,) = laptop.trials(name)
    return trial


def message(thing: dict) -> str:
    return thing["status"]["conditions"][-1]["message"]


def test_an_experiment_ends_as_it_would_on_a_cluster(laptop):
    document = shell("echo loss=$x; echo acc=0.$x", objective={"additionalMetricNames": ["acc"]})
    finished = run(laptop, document)
    status, trials = finished["status"], laptop.trials("try")
    assert finished["spec"] == document["spec"]
    assert finished["metadata"]["namespace"] == NAMESPACE
    assert conditions(finished) == [
        ("Created", "True", "ExperimentCreated"), ("Running", "False", "ExperimentRunning"), ("Succeeded", "True", "ExperimentMaxTrialsReached"),
    ]  # fmt: skip
    assert (status["trials"], status["trialsSucceeded"], status["succeededTrialList"]) == (
        3,
        3,
        [trial["metadata"]["name"] for trial in trials],
    )
    assert "trialsRunning" not in status
    assert status["startTime"] <= status["completionTime"]
    best = laptop.best("try")
    assert best == status["currentOptimalTrial"]
    assert best["parameterAssignments"] == [{"name": "x", "value": "1"}]
    assert best["observation"]["metrics"] == [
        {"name": "loss", "min": "1", "max": "1", "latest": "1"}, {"name": "acc", "min": "0.1", "max": "0.1", "latest": "0.1"},
    ]  # fmt: skip
    for trial in trials:
        assert conditions(trial) == [
            ("Created", "True", "TrialCreated"),
            ("Running", "False", "TrialRunning"),
            ("Succeeded", "True", "TrialSucceeded"),
        ]
        assert trial["kind"] == "Trial"
        assert trial["metadata"]["labels"] == {"katib.kubeflow.org/experiment": "try"}
        value = trial["spec"]["parameterAssignments"][0]["value"]
        assert (
            f"x={value}\n"
            in trial["spec"]["runSpec"]["spec"]["template"]["spec"]["containers"][0]["command"][2]
        )
        assert trial["spec"]["runSpec"]["metadata"] == {
            "name": trial["metadata"]["name"],
            "namespace": NAMESPACE,
        }
        assert laptop.logs(trial["metadata"]["name"]) == f"loss={value}\nacc=0.{value}\n"
    assert {trial["spec"]["parameterAssignments"][0]["value"] for trial in trials} == {
        "1",
        "2",
        "3",
    }


def test_what_is_kept_is_read_by_others_and_deleted(laptop):
    finished = run(laptop, shell("echo loss=$x"))
    other = Laptop(laptop.state)
    assert other.get("try") == finished
    assert other.wait("try") == finished
    assert other.trials("try") == laptop.trials("try")
    assert other.best("try") == laptop.best("try")
    name = other.trials("try")[0]["metadata"]["name"]
    assert other.logs(name) == laptop.logs(name)
    there = (
        "import sys, json\nfrom kubeflow_workshop.katib.laptop import"
        f" Laptop\nprint(len(Laptop({str(laptop.state)!r}).trials('try')))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", there], capture_output=True, text=True, check=True
        ).stdout
        == "3\n"
    )
    other.delete("try")
    assert not (laptop.state / "try").exists()
    for ask in (other.get, other.trials, other.best, other.delete, other.wait):
        with pytest.raises(CourseError, match="keeps no Experiment try; create it first"):
            ask("try")
    with pytest.raises(CourseError):
        other.logs(name)


def test_the_same_name_twice_is_refused_and_the_first_is_left_alone(laptop):
    finished = run(laptop, shell("echo loss=$x"))
    with pytest.raises(
        CourseError, match=r"an Experiment try is kept in .* already; delete it first"
    ):
        laptop.create(shell("echo loss=9"))
    assert laptop.get("try") == finished


def test_a_name_can_be_made(laptop):
    document = shell("echo loss=$x")
    document["metadata"] = {"generateName": "try-", "namespace": "mine"}
    first, second = laptop.create(document), laptop.create(document)
    assert first != second
    assert first.startswith("try-")
    assert len(first) == 9
    assert laptop.wait(first, timeout=60)["metadata"] | {"uid": "", "creationTimestamp": ""} == {
        "generateName": "try-", "namespace": "mine", "name": first, "uid": "", "creationTimestamp": "",
    }  # fmt: skip
    assert state(laptop.wait(second, timeout=60)) == "Succeeded"


def test_no_more_trials_run_at_once_than_said(laptop, tmp_path):
    """Each trial holds a place while it runs, and notes how many are held."""
    script = (
        f"mkdir {tmp_path}/running-$x; ls -d {tmp_path}/running-* | wc -l >> {tmp_path}/seen; sleep"
        f" 0.1; rmdir {tmp_path}/running-$x; echo loss=$x"
    )
    values = choice("discrete", *map(str, range(1, 13)))
    run(
        laptop,
        shell(
            script, algorithm="grid", parameters=[values], maxTrialCount=12, parallelTrialCount=4
        ),
    )
    seen = [int(line) for line in (tmp_path / "seen").read_text().split()]
    assert len(seen) == 12
    assert 1 < max(seen) <= 4


def test_three_trials_run_at_once_if_nothing_is_said(laptop, tmp_path):
    """Each waits for two others: fewer than three would never end, and the fourth begins when there
    is a place.
    """
    script = (
        f"touch {tmp_path}/at-$x; while [ $(ls {tmp_path}/at-* | wc -l) -lt 3 ]; do sleep 0.02;"
        f" done; ls {tmp_path}/at-* | wc -l; echo loss=$x"
    )
    document = shell(
        script,
        algorithm="grid",
        parameters=[choice("discrete", "1", "2", "3", "4")],
        maxTrialCount=4,
        parallelTrialCount=None,
    )
    assert run(laptop, document)["status"]["trialsSucceeded"] == 4


def test_a_reached_goal_starts_no_more_and_lets_the_others_end(laptop, tmp_path):
    """One trial reaches the goal at once; the other waits until it has been told so."""
    script = (
        f"if [ $x = 1 ]; then echo loss=0; else while [ ! -e {tmp_path}/reached ]; do sleep 0.02;"
        " done; echo loss=5; fi"
    )
    document = shell(script, objective={"goal": 0}, parameters=[choice("discrete", "1", "2", "3", "4", "5", "6")], algorithm="grid",
                     settings={"random_state": 0}, maxTrialCount=6, parallelTrialCount=6)  # fmt: skip
    name = laptop.create(document)

    def watch(now: dict, _: list) -> None:
        if state(now) == "Succeeded":
            (tmp_path / "reached").touch()

    finished = laptop.wait(name, watch, timeout=60)
    assert conditions(finished)[-1] == ("Succeeded", "True", "ExperimentGoalReached")
    assert finished["status"]["trialsSucceeded"] == 6
    document["spec"] |= {"parallelTrialCount": 1}
    document["metadata"]["name"] = "alone"
    assert conditions(run(laptop, document))[-1] == ("Succeeded", "True", "ExperimentGoalReached")
    tried = [trial["spec"]["parameterAssignments"][0]["value"] for trial in laptop.trials("alone")]
    assert tried.index("1") == len(tried) - 1 < 5


def test_a_grid_that_is_through_ends_the_search(laptop):
    finished = run(laptop, shell("echo loss=$x", maxTrialCount=None, objective={"goal": 0}))
    assert conditions(finished)[-1] == ("Succeeded", "True", "ExperimentSuggestionEndReached")
    assert finished["status"]["trialsSucceeded"] == 3


def test_a_failed_trial_shows_the_end_of_its_log(laptop):
    finished = run(laptop, shell("seq 1 20; echo broken >&2; exit 7", maxTrialCount=1))
    trial = only(laptop)
    assert conditions(trial)[-1] == ("Failed", "True", "TrialFailed")
    assert message(trial).splitlines() == [
        "Trial has failed: exit code 7; the end of its log:",
        *(f"  {n}" for n in range(14, 21)),
        "  broken",
    ]
    assert "observation" not in trial["status"]
    assert conditions(finished)[-1] == ("Succeeded", "True", "ExperimentMaxTrialsReached")
    assert finished["status"]["trialsFailed"] == 1
    assert "currentOptimalTrial" not in finished["status"]
    with pytest.raises(CourseError, match="no trial of try has a metric yet"):
        laptop.best("try")


@pytest.mark.parametrize("script", ["exit 1", "echo nothing"])
def test_enough_failures_fail_the_experiment(laptop, script):
    finished = run(laptop, shell(script, maxFailedTrialCount=2))
    assert conditions(finished)[-1] == ("Failed", "True", "ExperimentFailed")
    assert finished["status"]["trials"] == 2


@pytest.mark.parametrize(("script", "says"), [
    ("echo loss: 0.1", "Metrics are not available: the log has no line loss=NUMBER"),
    ("echo loss=nan", "Metrics are not available: the last loss is '', which is no number"),
])  # fmt: skip
def test_a_trial_without_a_number_is_metrics_unavailable_and_says_why(laptop, script, says):
    finished = run(laptop, shell(script, maxTrialCount=1))
    trial = only(laptop)
    assert conditions(trial)[-1] == ("MetricsUnavailable", "True", "MetricsUnavailable")
    assert message(trial) == says
    assert finished["status"]["trialMetricsUnavailable"] == 1


def test_a_bad_trial_is_stopped_early_with_all_that_it_started(laptop, tmp_path):
    """The first trial sets the threshold, 1; the second is worse at its second report and would
    never end by itself.
    """
    script = (
        f"if [ -e {tmp_path}/first ]; then echo loss=5; echo loss=4; sleep 300 & wait; fi; touch"
        f" {tmp_path}/first; echo loss=1; echo loss=1"
    )
    early = {
        "algorithmName": "medianstop",
        "algorithmSettings": [
            {"name": "min_trials_required", "value": "1"},
            {"name": "start_step", "value": "2"},
        ],
    }
    finished = run(laptop, shell(script, maxTrialCount=2, earlyStopping=early))
    good, bad = laptop.trials("try")
    assert (state(good), state(bad)) == ("Succeeded", "EarlyStopped")
    assert "earlyStoppingRules" not in good["spec"]
    assert bad["spec"]["earlyStoppingRules"] == [
        {"name": "loss", "value": "1.0", "comparison": "greater", "startStep": 2}
    ]
    assert bad["status"]["observation"]["metrics"] == [
        {"name": "loss", "min": "4", "max": "5", "latest": "4"}
    ]
    assert finished["status"]["trialsEarlyStopped"] == 1
    assert conditions(finished)[-1] == ("Succeeded", "True", "ExperimentMaxTrialsReached")


def test_a_trial_may_run_no_longer_than_its_deadline(laptop):
    """The deadline is the Job's, for all attempts together: none follows it."""
    run(
        laptop,
        shell(
            "echo begun; sleep 300 & wait",
            maxTrialCount=1,
            job={"activeDeadlineSeconds": 1, "backoffLimit": 3},
        ),
    )
    trial = only(laptop)
    assert state(trial) == "Failed"
    assert message(trial).splitlines() == [
        "Trial has failed: it ran longer than activeDeadlineSeconds, 1; the end of its log:",
        "  begun",
    ]
    assert laptop.logs(trial["metadata"]["name"]) == "begun\n"


def test_a_failed_program_is_tried_again_as_often_as_backoff_limit_says(laptop, tmp_path):
    script = (
        f"echo once >> {tmp_path}/tries; if [ $(wc -l < {tmp_path}/tries) -lt 3 ]; then echo"
        " loss=100; exit 1; fi; echo loss=1"
    )
    run(laptop, shell(script, maxTrialCount=1, job={"backoffLimit": 2}))
    assert state(only(laptop)) == "Succeeded"
    assert only(laptop)["status"]["observation"]["metrics"] == [
        {"name": "loss", "min": "1", "max": "1", "latest": "1"}
    ]
    (tmp_path / "tries").unlink()
    document = shell(script, maxTrialCount=1, job={"backoffLimit": 1}, name="again")
    run(laptop, document)
    assert state(only(laptop, "again")) == "Failed"


def test_metadata_of_the_trial_and_variables_reach_the_program(laptop):
    variables = [
        {"name": "A", "value": "a-${trialParameters.label}"},
        {"name": "B", "value": "$(A)-b"},
        {"name": "OMP_NUM_THREADS", "value": "2"},
    ]
    document = shell(
        "echo loss=$x $A $B $OMP_NUM_THREADS $0 $1",
        maxTrialCount=1,
        container={"args": ["$(B)", "$$(B)"], "env": variables},
    )
    template = document["spec"]["trialTemplate"]
    template["trialSpec"]["metadata"] = {
        "labels": {"a.b/c": "label"},
        "annotations": {"note": "${trialParameters.label}"},
    }
    for name, reference in (
        ("label", "Labels[a.b/c]"),
        ("note", "Annotations[note]"),
        ("name", "Name"),
        ("space", "Namespace"),
        ("kind", "Kind"),
        ("version", "APIVersion"),
    ):
        template["trialParameters"].append(
            {"name": name, "reference": f"${{trialSpec.{reference}}}"}
        )
        template["trialSpec"]["spec"]["template"]["spec"]["containers"][0]["args"].append(
            f"${{trialParameters.{name}}}"
        )
    template["trialSpec"]["spec"]["template"]["spec"]["containers"][0]["command"][2] += (
        "; shift; echo $@"
    )
    run(laptop, document)
    trial = only(laptop)
    name, value = trial["metadata"]["name"], trial["spec"]["parameterAssignments"][0]["value"]
    first, second = laptop.logs(name).splitlines()
    assert first == f"loss={value} a-label a-label-b 2 a-label-b $(B)"
    assert second.split()[0] == "label"
    assert second.split()[2:] == [name, NAMESPACE, "Job", "batch/v1"]
    assert trial["spec"]["runSpec"]["metadata"]["labels"] == {"a.b/c": "label"}


@pytest.mark.parametrize("where", ["args", "env"])
def test_each_trial_has_a_metrics_file_of_its_own(laptop, where):
    """The path in the Experiment is one for all trials; here each has another, wherever the path
    stands.
    """
    script = 'echo noise loss=77; echo "loss=$x" >> ${1:-$LOG}; echo "loss=1$x" >> ${1:-$LOG}'
    container = (
        {"args": ["trial", "/katib/m.log"]}
        if where == "args"
        else {"env": [{"name": "LOG", "value": "/katib/m.log"}]}
    )
    run(laptop, shell(script, parallelTrialCount=3, container=container, metricsCollectorSpec=FILE))
    for trial in laptop.trials("try"):
        value = trial["spec"]["parameterAssignments"][0]["value"]
        assert trial["status"]["observation"]["metrics"] == [
            {"name": "loss", "min": value, "max": f"1{value}", "latest": f"1{value}"}
        ]
        # the object is as on a cluster
        assert "/katib/m.log" in yaml.safe_dump(trial["spec"]["runSpec"])
    assert not Path("/katib").exists()


def test_a_second_attempt_begins_with_an_empty_metrics_file(laptop, tmp_path):
    script = (
        f"if [ -e {tmp_path}/tried ]; then echo loss=5 >> $1; else touch {tmp_path}/tried; echo"
        " loss=1 >> $1; exit 1; fi"
    )
    run(
        laptop,
        shell(
            script,
            maxTrialCount=1,
            job={"backoffLimit": 1},
            container={"args": ["trial", "/katib/m.log"]},
            metricsCollectorSpec=FILE,
        ),
    )
    assert only(laptop)["status"]["observation"]["metrics"][0]["min"] == "5"


def test_json_files_are_read_and_a_broken_line_makes_the_metrics_unavailable(laptop):
    json_file = {
        "collector": {"kind": "File"},
        "source": {"fileSystemPath": {"kind": "File", "path": "/katib/m.log", "format": "JSON"}},
    }
    # no newline at the end
    script = 'if [ $x = 3 ]; then echo oops > $1; fi; printf \'{"loss": "%s"}\' $x >> $1'
    finished = run(
        laptop,
        shell(
            script, container={"args": ["trial", "/katib/m.log"]}, metricsCollectorSpec=json_file
        ),
    )
    assert finished["status"]["trialsSucceeded"] == 2
    assert laptop.best("try")["parameterAssignments"] == [{"name": "x", "value": "1"}]
    (broken,) = [trial for trial in laptop.trials("try") if state(trial) == "MetricsUnavailable"]
    assert "a line of its metrics file is no JSON object" in message(broken)


def test_a_collector_whose_kind_is_not_said_is_stdout_everywhere(laptop):
    pattern = {"source": {"filter": {"metricsFormat": [r"(\w+): (\d+)"]}}}
    finished = run(laptop, shell("echo loss: $x", maxTrialCount=1, metricsCollectorSpec=pattern))
    assert finished["status"]["trialsSucceeded"] == 1
    assert only(laptop)["spec"]["metricsCollector"] == pattern | {"collector": {"kind": "StdOut"}}


def test_a_file_that_is_never_written_is_named(laptop):
    script = "echo loss=1 # not into /katib/m.log"
    run(laptop, shell(script, maxTrialCount=1, metricsCollectorSpec=FILE))
    assert message(only(laptop)).startswith(
        "Metrics are not available: loss is not in the file /katib/m.log"
    )


@pytest.mark.parametrize(("script", "args"), [
    ("echo loss=1 > /katib/m.log", []),
    ("echo loss=1 > \"/katib/m.log\"", []),
    ("echo loss=1 > '/katib/m.log'", []),
    ("log=/katib/m.log; echo loss=1 > \"$log\"", []),
    # what only begins or ends like the path is another file
    ("echo loss=2 > /tmp/katib/m.log 2>/dev/null; echo loss=1 > /katib/m.log", []),
    ("echo loss=2 > /katib/m.log.old 2>/dev/null; echo loss=1 > /katib/m.log", []),
    ('echo loss=1 > "${1#--log=}"', ["trial", "--log=/katib/m.log"]),
])  # fmt: skip
def test_the_metrics_file_is_named_by_its_whole_path_in_a_folder_with_spaces(
    tmp_path, script, args
):
    laptop = Laptop(tmp_path / "a state's $folder")
    how = {"container": {"args": args}} if args else {}
    run(laptop, shell(script, maxTrialCount=1, metricsCollectorSpec=FILE, **how))
    assert state(only(laptop)) == "Succeeded", message(only(laptop))
    assert laptop.best("try")["observation"]["metrics"][0]["latest"] == "1"
    assert not Path("/tmp/katib").exists()


def test_a_metrics_file_that_the_command_does_not_name_is_refused(laptop):
    with pytest.raises(CourseError, match=r"path: /katib/m\.log is not named in the command or"):
        laptop.create(shell("echo loss=1 > /katib/m.log2", metricsCollectorSpec=FILE))


# --- the trial's own folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder in which a search is started, with a file, a folder and a neighbour."""
    made = tmp_path / "my project"
    (made / "data").mkdir(parents=True)
    (made / "data" / "prices.csv").write_text("7")
    (made / "model.txt").write_text("old")
    (tmp_path / "above.txt").write_text("8")
    monkeypatch.chdir(made)
    return made


def test_trials_write_into_folders_of_their_own(laptop, here):
    """Also where a file of that name is there already. Two once read each other's."""
    script = (
        "cat model.txt; echo $x > model.txt; echo $x > new.txt; sleep 0.3;"
        " echo loss=$(cat model.txt)$(cat new.txt)"
    )
    run(laptop, shell(script, parallelTrialCount=3))
    for trial in laptop.trials("try"):
        value = trial["spec"]["parameterAssignments"][0]["value"]
        name = trial["metadata"]["name"]
        assert laptop.logs(name) == f"oldloss={value}{value}\n"
        kept = laptop.state / "try" / "work" / name
        assert sorted(path.name for path in kept.iterdir()) == ["model.txt", "new.txt"]
    assert sorted(path.name for path in here.iterdir()) == ["data", "model.txt"]
    assert (here / "model.txt").read_text() == "old"


def test_a_trial_that_writes_nothing_leaves_no_folder(laptop, here):
    run(laptop, shell("echo loss=$x"))
    assert not list((laptop.state / "try" / "work").iterdir())


def test_relative_paths_of_the_command_resolve(laptop, here):
    (here / "tool").write_text('#!/bin/sh\necho loss=$(cat $1)$(cat "${2#--above=}")\n')
    (here / "tool").chmod(0o755)
    words = ["./tool", "data/prices.csv", "--above=../above.txt"]
    run(laptop, experiment(*words, maxTrialCount=1))
    assert laptop.best("try")["observation"]["metrics"][0]["latest"] == "78"
    laptop.delete("try")
    script = 'echo loss=$(cat data/prices.csv)$(cat ../above.txt)$(cat "../above.txt")'
    run(laptop, shell(script, maxTrialCount=1))
    assert laptop.best("try")["observation"]["metrics"][0]["latest"] == "788"


def test_a_second_attempt_begins_with_a_new_folder(laptop, here):
    script = (
        "cat model.txt; [ -e new.txt ] && echo again; touch new.txt; echo 1 > model.txt; exit 1"
    )
    run(laptop, shell(script, maxTrialCount=1, job={"backoffLimit": 1}))
    assert laptop.logs(only(laptop)["metadata"]["name"]) == "oldold"


def test_a_trial_knows_its_name(laptop):
    container = {"args": ["trial", "$(KATIB_TRIAL_NAME)"]}
    run(laptop, shell("echo $KATIB_TRIAL_NAME $1; echo loss=1", container=container))
    for trial in laptop.trials("try"):
        name = trial["metadata"]["name"]
        assert laptop.logs(name) == f"{name} {name}\nloss=1\n"


# --- what does not end


def test_a_daemon_does_not_hold_a_trial_beyond_its_deadline(laptop):
    script = "setsid sh -c 'trap \"\" TERM; while true; do sleep 0.1; done' & sleep 60"
    began = time.monotonic()
    run(laptop, shell(script, maxTrialCount=1, job={"activeDeadlineSeconds": 1}))
    assert "activeDeadlineSeconds, 1" in message(only(laptop))
    assert time.monotonic() - began < 20


@pytest.mark.slow
@pytest.mark.parametrize(("script", "file"), [
    ("yes loss=1", False),
    ("head -c 200000000 /dev/zero; echo; echo loss=1", False),
    ("yes loss=1 | head -c 5000000 >> /katib/m.log", True),
    ("head -c 200000000 /dev/zero >> /katib/m.log", True),
])  # fmt: skip
def test_a_flood_is_bounded_in_memory(tmp_path, script, file):
    """In a process of its own, whose greatest size is measured."""
    how = {"metricsCollectorSpec": FILE} if file else {"job": {"activeDeadlineSeconds": 2}}
    document = shell(script, maxTrialCount=1, **how)
    asking = f"""
import resource
from kubeflow_workshop.katib.laptop import Laptop
laptop = Laptop({str(tmp_path / "state")!r})
def size():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
small = {shell("echo loss=1", maxTrialCount=1, name="small")!r}
laptop.wait(laptop.create(small))
before = size()
laptop.wait(laptop.create({document!r}))
print(size() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", asking], capture_output=True, text=True, check=True, timeout=120
    )
    assert int(done.stdout) < 60_000  # kilobytes


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="this system has no Ctrl-C for a process")
def test_ctrl_c_ends_a_search_the_first_time(tmp_path):
    script = "trap '' TERM INT; setsid sleep 300 & while true; do echo loss=1; sleep 0.1; done"
    asking = f"""
from kubeflow_workshop.katib.laptop import Laptop
laptop = Laptop({str(tmp_path / "state")!r})
name = laptop.create({shell(script, parallelTrialCount=2)!r})
try:
    laptop.wait(name, lambda experiment, trials: print(len(trials), flush=True))
except KeyboardInterrupt:
    print("ended", flush=True)
"""
    asked = subprocess.Popen(
        [sys.executable, "-c", asking], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    while asked.stdout.readline() != "2\n":
        pass
    family = psutil.Process(asked.pid).children(recursive=True)
    began = time.monotonic()
    os.killpg(asked.pid, signal.SIGINT)
    said, _ = asked.communicate(timeout=60)
    assert said.endswith("ended\n")
    assert asked.returncode == 0
    assert time.monotonic() - began < 20  # five seconds for those that do not listen
    assert not [child for child in family if child.is_running() and child.status() != "zombie"]
    kept = Laptop(tmp_path / "state").trials("try")
    assert [state(trial) for trial in kept] == ["Killed", "Killed"]


def test_a_python_module_runs_in_forks_in_its_own_folder(laptop, tmp_path):
    """Two modules of one name: the one in workingDir is meant."""
    (tmp_path / "trainer.py").write_text(
        "import sys\nimport tables\nprint('x is', sys.argv[1])\nprint(f'loss={tables.LOSS}')\n"
    )
    (tmp_path / "tables.py").write_text("LOSS = 7\n")
    document = experiment(
        "python",
        "-m",
        "trainer",
        "${trialParameters.x}",
        maxTrialCount=2,
        container={"workingDir": str(tmp_path)},
    )
    assert run(laptop, document)["status"]["trialsSucceeded"] == 2
    trial = laptop.trials("try")[0]
    assert (
        laptop.logs(trial["metadata"]["name"])
        == f"x is {trial['spec']['parameterAssignments'][0]['value']}\nloss=7\n"
    )


def test_a_broken_wait_ends_the_trials_and_counts_them_as_killed(laptop):
    name = laptop.create(shell("echo begun; sleep 300 & wait", parallelTrialCount=2))

    def interrupt(now: dict, trials: list) -> None:
        if now["status"].get("trialsRunning") == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        laptop.wait(name, interrupt, timeout=60)
    kept = Laptop(laptop.state)
    assert [state(trial) for trial in kept.trials(name)] == ["Killed", "Killed"]
    assert kept.get(name)["status"]["trialsKilled"] == 2


def test_a_wait_that_is_over_leaves_the_experiment_running(laptop, tmp_path):
    name = laptop.create(shell(f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; echo loss=$x"))
    with pytest.raises(CourseError, match=r"try still runs after 0\.3 seconds; it goes on"):
        laptop.wait(name, timeout=0.3)
    (tmp_path / "go").touch()
    assert state(laptop.wait(name, timeout=60)) == "Succeeded"


def test_deleting_ends_what_runs(laptop):
    name = laptop.create(shell("echo begun; sleep 300 & wait"))
    laptop.delete(name)
    assert not (laptop.state / name).exists()
    assert not [thread for thread in threading.enumerate() if thread.name == name]


def test_where_nothing_can_be_written_nothing_starts(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        CourseError, match=r"cannot be written .*give a directory where you may write"
    ):
        Laptop(tmp_path / "file").create(shell("echo loss=$x"))


def test_what_is_refused_leaves_nothing_behind(laptop):
    with pytest.raises(CourseError):
        laptop.create(experiment("no-such-program"))
    assert not laptop.state.exists()


def test_the_rest_of_a_creation_that_failed_is_no_hindrance(laptop, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("engine")

    with monkeypatch.context() as broken:
        broken.setattr("kubeflow_workshop.katib.laptop.Suggestion", fail)
        with pytest.raises(RuntimeError, match="engine"):
            laptop.create(shell("echo loss=$x"))
    assert state(run(laptop, shell("echo loss=$x"))) == "Succeeded"


def test_when_the_server_of_the_trials_is_ended_trials_fail_and_say_so(laptop, tmp_path):
    """A machine without memory ends processes as it likes. The trial ends its own parent, the
    server.
    """
    (tmp_path / "trainer.py").write_text(
        "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n"
    )
    document = experiment(
        "python",
        "-m",
        "trainer",
        "${trialParameters.x}",
        maxTrialCount=3,
        container={"workingDir": str(tmp_path)},
    )
    finished = run(laptop, document)
    assert finished["status"]["trialsFailed"] == 3
    assert "has been ended; was there memory enough?" in message(laptop.trials("try")[-1])


def test_the_same_state_gives_the_same_search(tmp_path):
    chosen = []
    for turn in range(2):
        laptop = Laptop(tmp_path / str(turn))
        run(
            laptop,
            experiment(
                "sh",
                "-c",
                "echo loss=${trialParameters.x}",
                algorithm="tpe",
                settings={"random_state": 5},
                parameters=[number(min="0", max="1")],
                maxTrialCount=4,
            ),
        )
        chosen.append([trial["spec"]["parameterAssignments"] for trial in laptop.trials("try")])
    assert chosen[0] == chosen[1]
