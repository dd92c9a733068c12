"""A search loses nothing: stopped, killed, locked, out of space, and going on."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time

import psutil
import pytest

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.katib import laptop as laptop_module
from kubeflow_workshop.katib.laptop import Laptop, Tally, summary
from kubeflow_workshop.katib.store import Store
from kubeflow_workshop.objects import state, with_condition
from tests.katib.experiments import choice, experiment, number

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the programs are shell scripts")

KILLS = int(os.environ.get("WORKSHOP_KILLS", "3"))
"""How often the runner is killed; more in the weekly run."""
RUNNERS = """
import json, os, signal, sys
from kubeflow_workshop import cli
from kubeflow_workshop.katib import laptop, spec, table
spec.check(json.loads(sys.argv[1]))
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    if (pid := os.fork()) == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        arguments, said = json.loads(line)
        os.dup2(os.open(said, os.O_CREAT | os.O_TRUNC | os.O_WRONLY), 2)
        code = cli.main(arguments)
        os.write(2, f"exit code {code}".encode())
        os._exit(0)
    print(pid, flush=True)
"""
"""Starts runners as forks of a process that has imported what they need, which takes seconds."""


def points(count: int, script: str = "echo loss=$x", **content: object) -> dict:
    """A grid of so many points, in another order each time."""
    return experiment(
        "sh",
        "-c",
        f"x=${{trialParameters.x}}\n{script}",
        algorithm="grid",
        parameters=[choice("discrete", *map(str, range(count)))],
        **{"maxTrialCount": count, "parallelTrialCount": 2} | content,
    )


def tpe(count: int, script: str = "echo loss=$x", **content: object) -> dict:
    """A search that learns; with one trial at a time and a seed, always the same."""
    return experiment(
        "sh",
        "-c",
        f"x=${{trialParameters.x}}\n{script}",
        algorithm="tpe",
        settings={"random_state": 1},
        parameters=[number(min="0", max="1"), choice("categorical", "a", "b", name="y")],
        **{"maxTrialCount": count} | content,
    )


def assignments(trials: list[dict]) -> list[list[str]]:
    return [[one["value"] for one in trial["spec"]["parameterAssignments"]] for trial in trials]


def reasons(thing: dict) -> list[tuple[str, str, str]]:
    return [(one["type"], one["status"], one["reason"]) for one in thing["status"]["conditions"]]


def run(door: Laptop, document: dict) -> dict:
    return door.wait(door.create(document), timeout=60)


def interrupted(door: Laptop, document: dict, done: int) -> dict:
    """The Experiment, broken off with Ctrl-C when so many trials have succeeded."""

    def interrupt(now: dict, _: list) -> None:
        if now["status"].get("trialsSucceeded", 0) >= done:
            raise KeyboardInterrupt

    name = door.create(document)
    with pytest.raises(KeyboardInterrupt):
        door.wait(name, interrupt, timeout=60)
    return door.get(name)


@pytest.fixture
def door(tmp_path):
    return Laptop(tmp_path / "state")


@pytest.fixture(scope="module")
def runners():
    with subprocess.Popen(
        [sys.executable, "-c", RUNNERS, json.dumps(points(1, parallelTrialCount=1))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        yield server
        server.stdin.close()


@pytest.fixture
def said(tmp_path):
    """`said()`: what the last runner has said on stderr, its exit code last."""
    return (tmp_path / "said").read_text


@pytest.fixture
def elsewhere(tmp_path, runners):
    """`elsewhere(document)`: another process that does `workshop tune`."""
    started = []
    file = tmp_path / "experiment.yaml"

    def start(document: dict, *arguments: str) -> psutil.Process:
        file.write_text(json.dumps(document))
        command = ["tune", str(file), "--state", str(tmp_path / "state"), *arguments]
        runners.stdin.write(json.dumps([command, str(tmp_path / "said")]) + "\n")
        runners.stdin.flush()
        started.append(psutil.Process(int(runners.stdout.readline())))
        return started[-1]

    yield start
    for process in started:
        if process.is_running():
            kill(process)


def kill(process: psutil.Process) -> None:
    """With SIGKILL, which a program cannot catch."""
    process.kill()
    process.wait(60)


def until(holds, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def running(uid: str) -> list[psutil.Process]:
    """The processes of a search."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("KATIB_EXPERIMENT_UID") == uid:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.mark.slow
@pytest.mark.timeout(60 + 30 * KILLS)
def test_killed_at_any_moment_it_goes_on_and_nothing_is_lost_or_repeated(
    door, elsewhere, said, tmp_path
):
    count, lot = 4 * KILLS + 4, random.Random()
    script = f"echo $x >> {tmp_path}/begun; sleep 0.2; echo loss=$x; echo $x >> {tmp_path}/ended"
    document = points(count, script)
    store = Store(door.state, "try")
    ended: dict[str, dict] = {}
    begun = 0
    for _ in range(KILLS):
        process = elsewhere(document)
        # it is killed between its first sign of life and four trials later
        until(store.runs)
        time.sleep(lot.uniform(0, 0.5))
        kill(process)
        if not store.kept:
            continue
        now = {trial["metadata"]["name"]: trial for trial in door.trials("try")}
        assert ended.items() <= now.items()
        ended = {name: trial for name, trial in now.items() if state(trial) == "Succeeded"}
        assert {state(trial) for trial in now.values()} <= {"Created", "Running", "Succeeded"}
        assert door.get("try")["status"].get("trialsSucceeded", 0) == len(ended)
        assert state(door.get("try")) in ("Created", "Restarting")
        begun = len(now)
    assert begun  # it was killed while it ran
    elsewhere(document).wait(60)
    assert "because max trial count has reached.\n" in said()
    assert said().endswith("exit code 0")
    finished, trials = door.get("try"), door.trials("try")
    assert finished["status"] == door.get("try")["status"]
    assert finished["status"]["trialsSucceeded"] == finished["status"]["trials"] == count
    assert sorted(int(x) for (x,) in assignments(trials)) == list(range(count))
    assert ended.items() <= {trial["metadata"]["name"]: trial for trial in trials}.items()
    for trial in trials:
        (value,) = (one["value"] for one in trial["spec"]["parameterAssignments"])
        assert door.logs(trial["metadata"]["name"]) == f"loss={value}\n"
    # a trial that was killed began again, and no other did
    once = (tmp_path / "begun").read_text().split()
    assert len(once) <= count + 2 * KILLS
    for trial in ended.values():
        assert once.count(trial["spec"]["parameterAssignments"][0]["value"]) >= 1
    assert not running(finished["metadata"]["uid"])


def test_a_trial_that_was_running_runs_again_as_the_same_trial(door, elsewhere, tmp_path):
    """And what the dead runner's trial has left running, in a session of its own, is ended."""
    script = (
        f"if [ ! -e {tmp_path}/first ]; then touch {tmp_path}/first; echo half;"
        f" setsid sh -c 'touch {tmp_path}/stray; sleep 300' & wait; fi; echo loss=$x"
    )
    process = elsewhere(points(3, script, parallelTrialCount=1))
    until((tmp_path / "stray").exists)
    (before,) = door.trials("try")
    kill(process)
    assert state(before) == "Running"
    uid = door.get("try")["metadata"]["uid"]
    assert state(run(door, points(3, script, parallelTrialCount=1))) == "Succeeded"
    assert door.get("try")["metadata"]["uid"] == uid
    after = door.trials("try")
    assert len(after) == 3
    assert after[0]["metadata"] == before["metadata"]
    assert after[0]["spec"] == before["spec"]
    assert door.logs(after[0]["metadata"]["name"]).startswith("loss=")
    assert not running(uid)


def test_the_end_by_ctrl_c_is_written_and_running_it_again_goes_on(door, tmp_path):
    slow = (
        f"[ $x -lt 2 ] || [ -e {tmp_path}/go ] || {{ echo slow; sleep 300 & wait; }}; echo loss=$x"
    )
    parameters = {"settings": {"random_state": 4}}
    stopped = interrupted(door, points(6, slow, **parameters), 1)
    kinds = [state(trial) for trial in door.trials("try")]
    assert kinds.count("Succeeded") >= 1
    assert set(kinds) == {"Succeeded", "Killed"}
    created, last = reasons(stopped)
    assert created == ("Created", "True", "ExperimentCreated")
    assert last == ("Running", "False", "ExperimentRunning")
    assert "run it again, and it goes on" in stopped["status"]["conditions"][-1]["message"]
    assert "completionTime" not in stopped["status"]
    other = Laptop(door.state)
    assert other.get("try") == stopped
    with pytest.raises(CourseError, match="was stopped before its end; run it again"):
        other.wait("try")
    before = {trial["metadata"]["name"]: trial for trial in other.trials("try")}
    (tmp_path / "go").touch()
    finished = run(other, points(6, slow, **parameters))
    assert reasons(finished) == [
        ("Created", "True", "ExperimentCreated"),
        ("Restarting", "True", "ExperimentRestarting"),
        ("Running", "False", "ExperimentRunning"),
        ("Succeeded", "True", "ExperimentMaxTrialsReached"),
    ]
    assert finished["status"]["startTime"] == stopped["status"]["startTime"]
    assert finished["status"]["trialsSucceeded"] == finished["status"]["trials"] == 6
    after = {trial["metadata"]["name"]: trial for trial in other.trials("try")}
    for name, trial in before.items():
        assert after[name] == trial or state(trial) == "Killed"
    assert sorted(assignments(list(after.values()))) == [[str(x)] for x in range(6)]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_command_says_how_to_go_on_when_it_is_stopped(
    door, elsewhere, said, tmp_path, number, code
):
    script = f"[ $x = 0 ] || [ -e {tmp_path}/go ] || {{ sleep 300 & wait; }}; echo loss=$x"
    document = points(4, script, settings={"random_state": 0})
    process = elsewhere(document)
    until(lambda: Store(door.state, "try").kept and len(door.trials("try")) >= 2)
    process.send_signal(number)
    process.wait(60)
    assert said().splitlines()[-1] == f"exit code {code}"
    assert f"run the same command again (workshop tune {tmp_path}/experiment.yaml)" in said()
    assert "Experiment is stopped before its end; run it again, and it goes on." in said()
    assert "Traceback" not in said()
    assert reasons(door.get("try"))[-1] == ("Running", "False", "ExperimentRunning")
    assert "Killed" in {state(trial) for trial in door.trials("try")}
    assert not running(door.get("try")["metadata"]["uid"])
    (tmp_path / "go").touch()
    elsewhere(document).wait(60)
    assert said().endswith("exit code 0")
    assert door.get("try")["status"]["trialsSucceeded"] == 4


def test_a_file_that_may_grow_no_more_is_a_sentence_and_exit_code_2(
    elsewhere, said, door, tmp_path
):
    """A limit in place of a disk that is full."""
    document = points(
        3, f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; yes loss=1 | head -c 2000000"
    )
    process = elsewhere(document)
    until(lambda: Store(door.state, "try").kept and len(door.trials("try")) == 2)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
    (tmp_path / "go").touch()
    process.wait(60)
    assert said().splitlines()[-1] == "exit code 2"
    (told,) = [line for line in said().splitlines() if line.startswith("error: ")]
    assert "cannot be written any more (File too large), so the trials of try were ended" in told
    assert "Traceback" not in said()
    assert not running(door.get("try")["metadata"]["uid"])


def test_trials_that_ctrl_c_ended_do_not_use_up_the_budget(door, tmp_path):
    """On a cluster, Killed trials count; here all of them would, and the search would be over."""
    document = points(2, f"[ -e {tmp_path}/go ] || {{ sleep 300 & wait; }}; echo loss=$x")

    def interrupt(now: dict, _: list) -> None:
        if now["status"].get("trialsRunning") == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        door.wait(door.create(document), interrupt, timeout=60)
    assert reasons(door.get("try"))[-1] == ("Running", "False", "ExperimentRunning")
    assert door.get("try")["status"]["trialsKilled"] == 2
    (tmp_path / "go").touch()
    assert run(door, document)["status"]["trialsSucceeded"] == 2


@pytest.mark.parametrize("done", [1, 4])
def test_a_seeded_search_goes_on_as_if_it_had_not_been_stopped(tmp_path, done):
    whole, parts = Laptop(tmp_path / "whole"), Laptop(tmp_path / "parts")
    run(whole, tpe(8))
    interrupted(parts, tpe(8), done)
    run(parts, tpe(8))
    assert assignments(parts.trials("try")) == assignments(whole.trials("try"))


def test_a_search_without_a_seed_learns_from_the_trials_before_it(door, monkeypatch):
    document = tpe(6)
    document["spec"]["algorithm"]["algorithmSettings"].pop(0)
    interrupted(door, document, 3)
    learnt = []
    learn = laptop_module.Suggestion.learn
    monkeypatch.setattr(
        laptop_module.Suggestion,
        "learn",
        lambda self, assignment, value: (
            learnt.append((assignment["x"], value)) or learn(self, assignment, value)
        ),
    )
    before = [trial for trial in door.trials("try") if state(trial) == "Succeeded"]
    assert run(door, document)["status"]["trialsSucceeded"] == 6
    for trial in before:
        x = trial["spec"]["parameterAssignments"][0]["value"]
        assert (x, float(x)) in learnt
    assert len({x for x, _ in assignments(door.trials("try"))}) == 6


def test_early_stopping_goes_on_with_what_it_knew(door, tmp_path):
    """The threshold of a search in two parts is the threshold of one in one."""
    early = {
        "algorithmName": "medianstop",
        "algorithmSettings": [
            {"name": "min_trials_required", "value": "2"},
            {"name": "start_step", "value": "2"},
        ],
    }
    script = "echo loss=$x; echo loss=$x; echo loss=0"
    settings = {"settings": {"random_state": 0}, "parallelTrialCount": 1, "earlyStopping": early}
    rules = []
    for name, stop in (("whole", False), ("parts", True)):
        own = Laptop(tmp_path / name)
        if stop:
            interrupted(own, points(6, script, **settings), 3)
        run(own, points(6, script, **settings))
        rules.append(
            {
                str(assignments([trial])): trial["spec"].get("earlyStoppingRules")
                for trial in own.trials("try")
            }
        )
    assert rules[0] == rules[1]
    assert any(rules[0].values())


@pytest.mark.parametrize("policy", ["LongRunning", "FromVolume"])
def test_raising_max_trial_count_goes_on(door, policy):
    first = run(door, points(6, maxTrialCount=2, resumePolicy=policy))
    before = door.trials("try")
    finished = run(door, points(6, maxTrialCount=5, resumePolicy=policy, parallelTrialCount=1))
    assert reasons(first)[-1] == ("Succeeded", "True", "ExperimentMaxTrialsReached")
    # as Katib 0.19 leaves them on a cluster
    assert reasons(finished) == [
        ("Created", "True", "ExperimentCreated"),
        ("Restarting", "True", "ExperimentRestarting"),
        ("Running", "False", "ExperimentRunning"),
        ("Succeeded", "True", "ExperimentMaxTrialsReached"),
    ]
    assert finished["spec"]["maxTrialCount"] == 5
    assert finished["metadata"]["uid"] == first["metadata"]["uid"]
    assert finished["status"]["trialsSucceeded"] == 5
    assert door.trials("try")[:2] == before
    assert len({x for (x,) in assignments(door.trials("try"))}) == 5


@pytest.mark.parametrize(("before", "after", "says"), [
    ({}, {"maxTrialCount": 3}, "spec.resumePolicy is LongRunning or FromVolume (it is Never)"),
    ({"resumePolicy": "LongRunning"}, {}, "it has ended (Succeeded)"),
    ({"resumePolicy": "LongRunning"}, {"parallelTrialCount": 1},
     "spec.maxTrialCount: is 2, and Experiment try has 2 trials already"),
    ({"resumePolicy": "LongRunning"}, {"maxTrialCount": 3, "objective": {"type": "maximize"}},
     "of its spec, only parallelTrialCount, maxTrialCount, maxFailedTrialCount may be changed"),
    ({"resumePolicy": "LongRunning", "objective": {"goal": 9}}, {"maxTrialCount": 3},
     "it ended by ExperimentGoalReached"),
])  # fmt: skip
def test_what_may_not_go_on_is_refused_and_left_alone(door, before, after, says):
    document = {"maxTrialCount": 2, "parallelTrialCount": 2} | before
    finished = run(door, points(6, **document))
    trials = door.trials("try")
    with pytest.raises(CourseError) as refused:
        door.create(points(6, **document | after))
    assert says in str(refused.value)
    assert Laptop(door.state).get("try") == finished == door.get("try")
    assert Laptop(door.state).trials("try") == trials
    assert not Store(door.state, "try").runs()


def test_one_process_at_a_time_runs_an_experiment(door, elsewhere, said, tmp_path):
    document = points(2, f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo loss=$x")
    process = elsewhere(document)
    until(lambda: Store(door.state, "try").kept and len(door.trials("try")) == 2)
    runs = rf"Experiment try in .* is being run by another process \(process {process.pid}\)"
    for ask in (
        lambda: door.create(document),
        lambda: door.create(document, replace=True),
        lambda: door.delete("try"),
    ):
        with pytest.raises(CourseError, match=runs):
            ask()
    assert state(door.get("try")) == "Running"
    with pytest.raises(CourseError, match=r"still runs after 0\.1 seconds"):
        door.wait("try", timeout=0.1)
    seen = []
    (tmp_path / "go").touch()
    assert state(door.wait("try", lambda now, _: seen.append(now), timeout=60)) == "Succeeded"
    process.wait(60)
    assert "because max trial count has reached.\n" in said()
    assert said().endswith("exit code 0")
    assert seen
    door.delete("try")
    assert not (door.state / "try").exists()


@pytest.mark.parametrize("left", [[], ["logs"], ["logs", "trials"]])
def test_a_folder_that_is_half_made_is_no_dead_end(door, left):
    for folder in ("", *left):
        (door.state / "try" / folder).mkdir(parents=True)
    with pytest.raises(CourseError, match="keeps no Experiment try"):
        door.get("try")
    assert door.experiments() == []
    door.delete("try")
    assert not (door.state / "try").exists()
    (door.state / "try").mkdir()
    assert state(run(door, points(2))) == "Succeeded"


def test_a_history_that_was_cut_in_the_middle_of_a_line_is_no_dead_end(door):
    interrupted(door, points(4, "echo loss=$x"), 2)
    history = door.state / "try" / "history.jsonl"
    history.write_text(history.read_text() + '{"asked": "try-')
    assert run(door, points(4, "echo loss=$x"))["status"]["trialsSucceeded"] == 4
    noted = [json.loads(line) for line in history.read_text().splitlines()]
    assert len([one for one in noted if "asked" in one]) == 4


def test_what_was_asked_for_and_never_begun_is_not_lost(door):
    """The runner was killed between the note and the trial's file."""
    interrupted(door, tpe(5), 3)
    before = door.trials("try")
    (door.state / "try" / "trials" / f"{before[2]['metadata']['name']}.yaml").unlink()
    assert run(door, tpe(5))["status"]["trialsSucceeded"] == 5
    after = {trial["metadata"]["name"]: trial for trial in door.trials("try")}
    assert after[before[2]["metadata"]["name"]]["spec"] == before[2]["spec"]
    assert len(after) == 5


def test_every_experiment_that_is_kept_is_listed(door):
    assert door.experiments() == []
    run(door, points(1, name="two", parallelTrialCount=1))
    run(door, points(1, name="one", parallelTrialCount=1))
    kept = Laptop(door.state).experiments()
    assert [one["metadata"]["name"] for one in kept] == ["one", "two"]
    assert kept == [door.get("one"), door.get("two")]


# What can go wrong with a disk


def test_a_state_folder_that_vanishes_ends_the_trials_with_a_sentence(door, tmp_path):
    script = f"mv {door.state} {tmp_path}/gone; echo loss=$x"
    name = door.create(points(3, script, parallelTrialCount=1))
    with pytest.raises(CourseError, match="cannot be written any more") as told:
        door.wait(name, timeout=60)
    assert "\n" not in str(told.value)
    (tmp_path / "gone").rename(door.state)
    document = points(3, script, parallelTrialCount=1)
    document["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["containers"][0][
        "command"
    ][2] = "x=${trialParameters.x}\necho loss=$x"
    with pytest.raises(CourseError, match="may be changed"):
        Laptop(door.state).create(document)


@pytest.mark.parametrize("what", ["keep_trial", "keep_experiment", "note"])
def test_a_full_disk_ends_the_trials_with_a_sentence_and_it_goes_on_later(
    door, monkeypatch, tmp_path, what
):
    script = f"[ -e {tmp_path}/go ] || [ $x = 0 ] || {{ sleep 300 & wait; }}; echo loss=$x"
    name = door.create(points(4, script, settings={"random_state": 0}))
    until(lambda: door.get(name)["status"].get("trialsRunning"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("kubeflow_workshop.katib.store._write", full)
        broken.setattr("kubeflow_workshop.katib.store.json.dumps", full)
        door._searches[name]._runner.end() if what == "keep_experiment" else None
        if what == "keep_trial":
            with pytest.raises(CourseError):
                door._searches[name]._keep(door.trials(name)[0])
            door._searches[name]._runner.end()
        if what == "note":
            with pytest.raises(CourseError):
                door._searches[name]._store.note({})
            door._searches[name]._runner.end()
        with pytest.raises(CourseError, match="No space left on device"):
            door.wait(name, timeout=60)
    (tmp_path / "go").touch()
    assert (
        run(Laptop(door.state), points(4, script, settings={"random_state": 0}))["status"][
            "trialsSucceeded"
        ]
        == 4
    )


# The status, a trial at a time


@pytest.mark.parametrize("kind", ["minimize", "maximize"])
@pytest.mark.parametrize("seed", range(20))
def test_a_status_counted_trial_by_trial_is_the_one_counted_anew(kind, seed):
    lot = random.Random(seed)
    objective = {
        "type": kind,
        "objectiveMetricName": "loss",
        "metricStrategies": [{"name": "loss", "value": lot.choice(["min", "max", "latest"])}],
    }
    tally, trials = Tally(objective), {}
    waiting = [f"try-{n}" for n in range(lot.randrange(1, 30))]
    under_way: list[str] = []
    assert tally.status() == summary([], objective)
    while waiting or under_way:
        if waiting and (lot.random() < 0.5 or not under_way):
            name = waiting.pop(0)
            trial = {
                "metadata": {"name": name},
                "spec": {"parameterAssignments": [{"name": "x", "value": name}]},
                "status": {"conditions": []},
            }
            under_way.append(name)
            if lot.random() < 0.7:
                trial = with_condition(trial, "Created", "TrialCreated", "")
        else:
            name = lot.choice(under_way)
            trial = trials[name]
            if state(trial) == "Running":
                under_way.remove(name)
                value = lot.choice(["1", "2", "3", "-1", "unavailable"])
                metrics = [{"name": "loss", "min": value, "max": value, "latest": value}]
                if lot.random() < 0.8:
                    trial = trial | {
                        "status": trial["status"] | {"observation": {"metrics": metrics}}
                    }
                ended = ["Succeeded", "EarlyStopped", "Failed", "Killed", "MetricsUnavailable"]
                trial = with_condition(trial, lot.choice(ended), "", "")
            else:
                trial = with_condition(trial, "Running", "TrialRunning", "")
        trials[name] = trial
        tally.take(trial)
        assert tally.status() == summary(list(trials.values()), objective)


def test_the_experiment_is_written_seldom_and_in_the_end(door, monkeypatch):
    monkeypatch.setattr(laptop_module, "_REST", 1e9)
    written = []
    keep = Store.keep_experiment
    monkeypatch.setattr(
        Store,
        "keep_experiment",
        lambda self, thing: written.append(state(thing)) or keep(self, thing),
    )
    finished = run(door, points(20))
    assert written == ["Created", "Running", "Succeeded", "Succeeded"]
    assert Laptop(door.state).get("try") == finished
    assert finished["status"]["trialsSucceeded"] == 20
