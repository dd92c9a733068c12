"""The case study's Experiment on a real Katib: unchanged, and with the same end as on a laptop."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
import yaml

from kubeflow_workshop.files import course_file
from kubeflow_workshop.katib import metrics, spec
from kubeflow_workshop.katib.cluster import Cluster
from kubeflow_workshop.katib.laptop import Laptop, summary
from kubeflow_workshop.objects import state
from tests.cluster.conftest import tiny, until, workshop

DOCUMENT = course_file("tutorials/artifacts/stock-lstm.yaml")
ENDED = {"Succeeded", "Failed"}
WORDS = ("reason", "message")
SECONDS = 240
"""What an Experiment of a few tiny trials may take on a busy machine."""


@dataclass(frozen=True)
class End:
    """How the Experiment ended in one of the two places."""

    experiment: dict
    trials: list[dict]
    said: str
    """What `workshop tune` told on stderr."""


def end(ran: subprocess.CompletedProcess, door: Laptop | Cluster) -> End:
    assert ran.returncode == 0, ran.stderr
    experiment = json.loads(ran.stdout)
    return End(experiment, door.trials(experiment["metadata"]["name"]), ran.stderr)


@pytest.fixture(scope="session")
def there(account) -> End:
    """On the cluster: what a learner types."""
    ran = workshop("tune", DOCUMENT, "-o", "json", kubeconfig=account)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(account))
        return end(ran, Cluster())


@pytest.fixture(scope="session")
def here(tmp_path_factory, there) -> End:
    """The same on this laptop, after the cluster's: they would take each other's cores."""
    kept = tmp_path_factory.mktemp("katib")
    return end(workshop("tune", DOCUMENT, "-o", "json", "--state", kept), Laptop(kept))


def succeeded(one: End) -> list[dict]:
    return [trial for trial in one.trials if state(trial) == "Succeeded"]


def story(thing: Mapping) -> list[tuple[str, str, str, str]]:
    """What an object's conditions tell, in their order, without the times and without what the Job
    of a trial adds.
    """
    return [
        (one["type"], one["status"], *(one[name].partition(". Job ")[0] for name in WORDS))
        for one in thing["status"]["conditions"]
    ]


def test_the_experiment_ends_as_on_the_laptop(there, here):
    assert story(there.experiment) == story(here.experiment)
    for one in (there, here):
        assert one.experiment["metadata"]["name"] == "stock-lstm"
        assert len(one.trials) == 12
        assert {state(trial) for trial in one.trials} <= {"Succeeded", "EarlyStopped"}
        for trial in one.trials:
            assert re.fullmatch("stock-lstm-[a-z0-9]{8}", trial["metadata"]["name"])
        assert "Experiment has succeeded because max trial count has reached." in one.said
        assert (
            f"Best: {one.experiment['status']['currentOptimalTrial']['bestTrialName']}" in one.said
        )


def test_a_trial_tells_the_same_story_as_on_the_laptop(there, here):
    """One that ran to its end; those that are stopped early are told of below."""
    stories = [{tuple(story(trial)) for trial in succeeded(one)} for one in (there, here)]
    assert stories[0] == stories[1]
    assert len(stories[0]) == 1


def test_the_laptop_counts_and_chooses_as_katib_does(there):
    """The status that the laptop would make of the cluster's trials is the one that Katib made."""
    status = there.experiment["status"]
    ours = summary(there.trials, spec.view(there.experiment).objective)
    for name, value in ours.items():
        if isinstance(value, list):
            assert sorted(status[name]) == sorted(value), name
        elif name != "currentOptimalTrial":
            assert status[name] == value, name
    best = ours["currentOptimalTrial"]
    assert status["currentOptimalTrial"]["bestTrialName"] == best["bestTrialName"]


@pytest.fixture
def logs(cluster, there) -> dict[str, str]:
    """What each trial has printed there."""
    return {
        trial["metadata"]["name"]: cluster.logs(trial["metadata"]["name"]) for trial in there.trials
    }


def numbers(text: str) -> list[str]:
    """The metrics that the training program printed, to the last digit, without the times."""
    return re.findall(r"^\S+ (\w+-MAE=\S+)$", text, re.MULTILINE)


def test_the_laptop_reads_a_trials_output_as_katib_does(there, logs):
    """Its collector and its observation, over the log of each Pod, give what Katib's database has.
    In the log of a trial that was stopped early the very last lines are missing.
    """
    content = there.experiment["spec"]
    for trial in succeeded(there):
        collector = metrics.Collector(content)
        seen = metrics.Observation(collector.names)
        for line in numbers(logs[trial["metadata"]["name"]]):
            for report in collector.read(line):
                seen.add(report)
        theirs = trial["status"]["observation"]["metrics"]
        for mine, katibs in zip(
            seen.metrics(), sorted(theirs, key=_in(collector.names)), strict=True
        ):
            assert {key: float(value) for key, value in mine.items() if key != "name"} == {
                key: float(value) for key, value in katibs.items() if key != "name"
            }


def _in(names: list[str]):
    return lambda metric: names.index(metric["name"])


def test_a_trial_prints_the_same_numbers_in_a_pod_as_in_a_process(there, logs):
    """To the last digit, for the first trial that ran to its end."""
    trial = succeeded(there)[0]
    job = trial["spec"]["runSpec"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    python, *words = container["command"]
    assert python == "python"
    ran = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    printed = numbers(logs[trial["metadata"]["name"]])
    assert len(printed) == 22, shlex.join(words)
    assert printed == numbers(ran.stdout)


def test_the_best_trial_is_the_one_with_the_smallest_error(there, cluster):
    """Katib may end the Experiment before it has read what a trial reported that it stopped."""
    objective = there.experiment["spec"]["objective"]
    judged = [trial for trial in there.trials if "observation" in trial["status"]]
    assert {state(trial) for trial in there.trials if trial not in judged} <= {"EarlyStopped"}
    values = {
        trial["metadata"]["name"]: metrics.objective_value(
            trial["status"]["observation"]["metrics"], objective
        )
        for trial in judged
    }
    assert values[cluster.best("stock-lstm")["bestTrialName"]] == min(values.values())


# What differs all the same

SERVERS = "the API server's own"
FILLED = "Katib fills in what it does where nothing is said; the laptop does the same"
DIFFERS = {
    ("Experiment", "metadata.finalizers"): SERVERS,
    ("Experiment", "metadata.generation"): SERVERS,
    ("Experiment", "metadata.managedFields"): SERVERS,
    ("Experiment", "metadata.namespace"): "the laptop has one only",
    ("Experiment", "metadata.resourceVersion"): SERVERS,
    ("Experiment", "spec.metricsCollectorSpec.collector.kind"): FILLED,
    ("Experiment", "spec.parameters[].feasibleSpace.distribution"): FILLED,
    ("Experiment", "spec.resumePolicy"): FILLED,
    ("Experiment", "spec.trialTemplate.failureCondition"): FILLED,
    ("Experiment", "spec.trialTemplate.successCondition"): FILLED,
    ("Trial", "metadata.finalizers"): SERVERS,
    ("Trial", "metadata.generation"): SERVERS,
    ("Trial", "metadata.managedFields"): SERVERS,
    ("Trial", "metadata.namespace"): "the laptop has one only",
    ("Trial", "metadata.ownerReferences"): "who is deleted with whom; the laptop keeps one folder",
    ("Trial", "metadata.resourceVersion"): SERVERS,
    ("Trial", "metadata.uid"): SERVERS,
    ("Trial", "spec.retainRun"): "whether the Job is kept; the laptop keeps every log",
    ("Trial", "spec.runSpec.metadata.namespace"): "the laptop has one only",
    ("Trial", "status.conditions[].message"): "Katib adds what the Job says",
    ("Trial", "status.conditions[].reason"): "Katib adds what the Job says",
}
"""Object and field → why the two places differ there. Whatever else differs is news."""
WHOLE = ("metadata.finalizers", "metadata.managedFields", "metadata.ownerReferences")
LUCK = re.compile(
    r"(observation|parameterAssignments|earlyStoppingRules)\b.*\.(latest|max|min|value)$"
    r"|\.command\[\]$|^status\.(trials\w*|\w+TrialList\[\])$"
)
"""Fields whose numbers are drawn or measured, or follow from those."""
DRAWN = {
    r"\d{4}-\d\d-\d\dT[\d:.]+Z": "a time",
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "a uid",
    r"stock-lstm-[a-z0-9]{8}\b": "a trial",
}


def leaves(thing: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Every value in an object with its path, where a list has no numbers."""
    if isinstance(thing, dict) and thing and path not in WHOLE:
        for key, value in thing.items():
            yield from leaves(value, f"{path}.{key}" if path else key)
    elif isinstance(thing, list) and thing and path not in WHOLE:
        for value in thing:
            yield from leaves(value, f"{path}[]")
    else:
        said = "…" if path in WHOLE else str(thing)
        for pattern, instead in DRAWN.items():
            said = re.sub(pattern, instead, said)
        yield path, "(drawn)" if LUCK.search(path) else said


def differences(there: End, here: End) -> dict[tuple[str, str], tuple[str, str]]:
    """Object and field → what stands there on the laptop, and on the cluster."""

    def fields(one: End) -> dict[tuple[str, str], set[str]]:
        found: dict[tuple[str, str], set[str]] = {}
        for thing in (one.experiment, *succeeded(one)):
            for path, value in leaves(thing):
                found.setdefault((thing["kind"], path), set()).add(value)
        return found

    on_laptop, on_cluster = fields(here), fields(there)
    return {
        key: (
            ", ".join(sorted(on_laptop.get(key, "–"))),
            ", ".join(sorted(on_cluster.get(key, "–"))),
        )
        for key in sorted(on_laptop.keys() | on_cluster.keys())
        if on_laptop.get(key) != on_cluster.get(key)
        and key[1] not in ("status.earlyStoppedTrialList[]", "status.trialsEarlyStopped")
    }


def test_nothing_else_differs_and_the_table_says_what_does(there, here, capsys):
    found = differences(there, here)
    rows = ["| object | field | on the laptop | on the cluster | why |", "|---|---|---|---|---|"]
    for (kind, path), values in found.items():
        why = DIFFERS.get((kind, path), "**not known**")
        rows.append(f"| {kind} | `{path}` | {values[0]} | {values[1]} | {why} |")
    with capsys.disabled():
        print("", *rows, sep="\n")
    assert found.keys() == DIFFERS.keys()


# Trials that are stopped early, and that end too early

STEADY = "for step in 1 2 3 4 5 6 7 8; do echo loss=$(date +%s); sleep 2; done"
"""Each report is worse than the one before, and each trial is worse than the one before: the loss
is the time.
"""


def stopped() -> dict:
    """An Experiment whose first trial succeeds, and whose others are stopped at their second
    report.
    """
    rule = {"min_trials_required": "1", "start_step": "2"}
    settings = [{"name": name, "value": value} for name, value in rule.items()]
    return tiny(
        "stopped",
        f"echo x=${{trialParameters.x}}; {STEADY}",
        maxTrialCount=3,
        maxFailedTrialCount=1,
        earlyStopping={"algorithmName": "medianstop", "algorithmSettings": settings},
    )


def test_trials_that_are_stopped_early_end_and_make_room_as_on_the_laptop(
    cluster, administrator, namespace, tmp_path
):
    told = []
    for door in (cluster, Laptop(tmp_path)):
        name = door.create(stopped())
        experiment = door.wait(name, timeout=SECONDS)
        # Katib may end the Experiment before it has read the last trial's metrics
        until(
            lambda door=door, name=name: all(
                "observation" in trial["status"] for trial in door.trials(name)
            ),
            60,
            "every trial has an observation",
        )
        trials = door.trials(name)
        assert [state(trial) for trial in trials] == ["Succeeded", "EarlyStopped", "EarlyStopped"]
        for trial in trials[1:]:
            (loss,) = trial["status"]["observation"]["metrics"]
            assert len(numbers_of(door.logs(trial["metadata"]["name"]), "loss")) < 8
            assert loss["latest"] == loss["max"] > loss["min"]
        told.append((story(experiment), [story(trial) for trial in trials[1:]]))
    (ended_there, trials_there), (ended_here, trials_here) = told
    assert ended_there == ended_here
    assert trials_here == [[_no_longer(one) for one in trial] for trial in trials_there]
    until(
        lambda: {pod.status.phase for pod in administrator.pods(namespace, name)} <= ENDED,
        120,
        "no Pod of the Experiment runs",
    )


def _no_longer(condition: tuple[str, ...]) -> tuple[str, ...]:
    """The one difference: in Katib a trial that was stopped early is Running all the same, because
    its rule adds a condition and changes none.
    """
    kind, status, *said = condition
    assert status == "True"
    return (kind, "False" if kind == "Running" else status, *said)


def numbers_of(text: str, name: str) -> list[str]:
    return re.findall(rf"^{name}=(\S+)$", text, re.MULTILINE)


def test_a_trial_that_ends_before_the_collector_starts_is_explained(account, tmp_path):
    document = tmp_path / "quick.yaml"
    document.write_text(
        yaml.safe_dump(tiny("quick", "echo loss=${trialParameters.x}", maxFailedTrialCount=1))
    )
    ran = workshop("tune", document, kubeconfig=account)
    (trial,) = re.findall(r"see workshop tune logs (quick-\w+)", ran.stderr) or [""]
    if ran.returncode == 0:
        pytest.skip("here the collector was quicker than a program that only prints a line")
    assert ran.returncode == 1
    logs = workshop("tune", "logs", trial, kubeconfig=account)
    assert "had ended before Katib's collector" in logs.stdout


def test_what_the_laptop_warns_of_fails_there(cluster, tmp_path):
    """Katib joins the words of a command without quotation marks."""
    document = tiny("unquoted", "", maxFailedTrialCount=1)
    template = document["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
    program = "import time; print('loss=0.5', flush=True); time.sleep(5)"
    template["containers"][0]["command"] = ["python", "-c", program, "${trialParameters.x}"]
    here = Laptop(tmp_path)
    assert "containers[0].command[2] would mean something else" in " ".join(
        here.differences(document)
    )
    ended = []
    for door in (here, cluster):
        name = door.create(document)
        ended.append(state(door.wait(name, timeout=SECONDS)))
    assert ended == ["Succeeded", "Failed"]
