"""Counts, the best trial and the verdict, in the order in which Katib asks."""

import pytest

from kubeflow_workshop.katib import spec
from kubeflow_workshop.katib.laptop import summary, verdict
from kubeflow_workshop.objects import with_condition

MINIMIZE = {"type": "minimize", "objectiveMetricName": "loss"}


def trial(name: str, kind: str, loss: float | None = None, latest: float | None = None) -> dict:
    made = {
        "metadata": {"name": name},
        "spec": {"parameterAssignments": [{"name": "x", "value": name}]},
        "status": {"conditions": []},
    }
    for step in ("Created", "Running", kind):
        made = with_condition(made, step, f"Trial{step}", step)
    if loss is not None:
        made["status"]["observation"] = {
            "metrics": [
                {
                    "name": "loss",
                    "min": str(loss),
                    "max": str(loss),
                    "latest": str(loss if latest is None else latest),
                }
            ]
        }
    return made


def test_trials_are_counted_and_listed_under_katibs_names():
    kinds = ["Succeeded", "Failed", "Killed", "EarlyStopped", "MetricsUnavailable", "Running"]
    created = with_condition(
        {"metadata": {"name": "new"}, "spec": {}, "status": {"conditions": []}},
        "Created",
        "TrialCreated",
        "",
    )
    made = summary([*(trial(kind.lower(), kind) for kind in kinds), created], MINIMIZE)
    assert made == {
        "trials": 7,
        "pendingTrialList": ["new"], "trialsPending": 1,
        "runningTrialList": ["running"], "trialsRunning": 1,
        "succeededTrialList": ["succeeded"], "trialsSucceeded": 1,
        "failedTrialList": ["failed"], "trialsFailed": 1,
        "killedTrialList": ["killed"], "trialsKilled": 1,
        "earlyStoppedTrialList": ["earlystopped"], "trialsEarlyStopped": 1,
        "metricsUnavailableTrialList": ["metricsunavailable"], "trialMetricsUnavailable": 1,
    }  # fmt: skip
    assert summary([], MINIMIZE) == {"trials": 0}


def test_the_best_trial_may_have_been_stopped_early_but_not_have_failed():
    trials = [
        trial("a", "Succeeded", 3),
        trial("b", "EarlyStopped", 2),
        trial("c", "Failed", 1),
        trial("d", "Running", 0),
        trial("e", "Succeeded", 2),
    ]
    best = summary(trials, MINIMIZE)["currentOptimalTrial"]
    assert best["bestTrialName"] == "b"  # of two as good, the first
    assert best["parameterAssignments"] == [{"name": "x", "value": "b"}]
    assert best["observation"] == {
        "metrics": [{"name": "loss", "min": "2", "max": "2", "latest": "2"}]
    }
    assert (
        summary(trials, MINIMIZE | {"type": "maximize"})["currentOptimalTrial"]["bestTrialName"]
        == "a"
    )


def test_the_best_trial_is_chosen_by_the_strategy():
    trials = [trial("a", "Succeeded", 1, latest=9), trial("b", "Succeeded", 2, latest=2)]
    assert summary(trials, MINIMIZE)["currentOptimalTrial"]["bestTrialName"] == "a"
    latest = MINIMIZE | {"metricStrategies": [{"name": "loss", "value": "latest"}]}
    assert summary(trials, latest)["currentOptimalTrial"]["bestTrialName"] == "b"


def reason(content: dict, exhausted: bool = False, **status) -> tuple[str, str]:
    best = status.pop("best", None)
    if best is not None:
        metric = {"name": "loss", "min": str(best), "max": str(best), "latest": str(best)}
        status["currentOptimalTrial"] = {"observation": {"metrics": [metric]}}
    least = {"objective": MINIMIZE, "algorithm": {"algorithmName": "random"}, "trialTemplate": {}}
    view = spec.view({"spec": least | content})
    kind, why, message = verdict(view, status, exhausted)
    assert message
    return kind, why


@pytest.mark.parametrize(("kind", "goal", "best", "reached"), [
    ("minimize", 0.5, 0.5, True), ("minimize", 0.5, 0.4, True), ("minimize", 0.5, 0.6, False),
    ("maximize", 0.5, 0.5, True), ("maximize", 0.5, 0.6, True), ("maximize", 0.5, 0.4, False),
    ("minimize", 0, 0, True), ("minimize", 0, 0.1, False), ("minimize", 0.5, None, False),
])  # fmt: skip
def test_a_goal_is_reached_by_what_is_as_good(kind, goal, best, reached):
    said = reason(
        {"objective": MINIMIZE | {"type": kind, "goal": goal}, "maxTrialCount": 9},
        best=best,
        trialsSucceeded=1,
    )
    assert said == (
        ("Succeeded", "ExperimentGoalReached") if reached else ("Running", "ExperimentRunning")
    )


def test_every_kind_of_end_counts_as_completed_and_what_runs_does_not():
    ended = {
        name: 1
        for name in (
            "trialsSucceeded",
            "trialsFailed",
            "trialsKilled",
            "trialsEarlyStopped",
            "trialMetricsUnavailable",
        )
    }
    assert reason({"maxTrialCount": 5}, **ended) == ("Succeeded", "ExperimentMaxTrialsReached")
    assert reason({"maxTrialCount": 6}, **ended, trialsRunning=3, trialsPending=3) == (
        "Running",
        "ExperimentRunning",
    )


@pytest.mark.parametrize(
    ("most", "failed", "unavailable", "ends"),
    [
        (2, 1, 1, True),
        (2, 2, 0, True),
        (2, 1, 0, False),
        (0, 0, 0, False),
        (0, 1, 0, True),
        (None, 9, 0, False),
    ],
)
def test_failures_end_a_search_when_there_are_enough_and_any(most, failed, unavailable, ends):
    said = reason(
        {"maxFailedTrialCount": most}, trialsFailed=failed, trialMetricsUnavailable=unavailable
    )
    assert said == (("Failed", "ExperimentFailed") if ends else ("Running", "ExperimentRunning"))


def test_the_goal_is_asked_before_the_failures_and_these_before_the_count():
    both = {"maxTrialCount": 2, "maxFailedTrialCount": 1}
    status = {"trialsSucceeded": 1, "trialsFailed": 1, "best": 0.1}
    assert reason(both | {"objective": MINIMIZE | {"goal": 0.2}}, **status) == (
        "Succeeded",
        "ExperimentGoalReached",
    )
    assert reason(both, **status) == ("Failed", "ExperimentFailed")
    assert reason({"maxTrialCount": 2}, True, **status) == (
        "Succeeded",
        "ExperimentMaxTrialsReached",
    )
    assert reason({"maxTrialCount": 3}, True, **status) == (
        "Succeeded",
        "ExperimentSuggestionEndReached",
    )
