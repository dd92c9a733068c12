"""The case study's Experiment on a real Katib: unchanged, and with the same end as on a laptop."""

import json
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from kubeflow_workshop.files import course_file
from kubeflow_workshop.katib import metrics, spec
from kubeflow_workshop.katib.cluster import COMPLETED, Cluster
from kubeflow_workshop.katib.laptop import Laptop, summary
from kubeflow_workshop.objects import state
from tests.cluster.conftest import tiny, workshop

DOCUMENT = course_file("tutorials/artifacts/stock-lstm.yaml")
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


def story(thing: Mapping) -> list[tuple[str, str, str, str]]:
    """What an object's conditions tell, in their order, without the times."""
    return [
        (one["type"], one["status"], one["reason"], one["message"])
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
        assert f"Best: {one.experiment['status']['currentOptimalTrial']['bestTrialName']}" in one.said


def test_a_trial_tells_the_same_story_as_on_the_laptop(there, here):
    told = [
        {(state(trial), *(kind for kind, *_ in story(trial))) for trial in one.trials}
        for one in (there, here)
    ]
    both = {kinds[0] for kinds in told[0]} & {kinds[0] for kinds in told[1]}
    assert "Succeeded" in both
    for kind in both:
        stories = [
            {tuple(story(trial)) for trial in one.trials if state(trial) == kind}
            for one in (there, here)
        ]
        assert stories[0] == stories[1], kind


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
    """The metrics that the training program printed, to the last digit."""
    return re.findall(r"^(?:\w+-MAE)=\S+$", text, re.MULTILINE)


def test_the_laptop_reads_a_trials_output_as_katib_does(there, logs):
    """Its collector and its observation, over the log of each Pod, give what Katib's database has."""
    content = there.experiment["spec"]
    for trial in there.trials:
        collector = metrics.Collector(content)
        printed = "\n".join(numbers(logs[trial["metadata"]["name"]]))
        reports = [report for line in printed.splitlines() for report in collector.read(line)]
        ours = metrics.observation(reports, collector.names)
        theirs = trial["status"]["observation"]["metrics"]
        for mine, katibs in zip(ours, sorted(theirs, key=_in(collector.names)), strict=True):
            assert {key: float(value) for key, value in mine.items() if key != "name"} == {
                key: float(value) for key, value in katibs.items() if key != "name"
            }


def _in(names: list[str]):
    return lambda metric: names.index(metric["name"])


def test_a_trial_prints_the_same_numbers_in_a_pod_as_in_a_process(there, logs):
    """To the last digit, for the first trial that ran to its end."""
    trial = next(trial for trial in there.trials if state(trial) == "Succeeded")
    job = trial["spec"]["runSpec"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    python, *words = container["command"]
    assert python == "python"
    ran = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    printed = numbers(logs[trial["metadata"]["name"]])
    assert len(printed) == 22, shlex.join(words)
    assert printed == numbers(ran.stdout)


def test_best_and_delete(there, cluster):
    best = cluster.best("stock-lstm")
    values = {
        trial["metadata"]["name"]: metrics.objective_value(
            trial["status"]["observation"]["metrics"], there.experiment["spec"]["objective"]
        )
        for trial in there.trials
    }
    assert values[best["bestTrialName"]] == min(values.values())
