"""The status of Experiments and Trials: conditions, counts, the best trial, and whether the search
goes on. Katib 0.19's own order of asking.

Taught in notebook 05. Objects are never changed in place: each function returns a new one, so that
others may read the old.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from kubeflow_workshop.katib import metrics

_LISTS = {
    "Pending": ("pendingTrialList", "trialsPending"),
    "Running": ("runningTrialList", "trialsRunning"),
    "Succeeded": ("succeededTrialList", "trialsSucceeded"),
    "Failed": ("failedTrialList", "trialsFailed"),
    "Killed": ("killedTrialList", "trialsKilled"),
    "EarlyStopped": ("earlyStoppedTrialList", "trialsEarlyStopped"),
    "MetricsUnavailable": ("metricsUnavailableTrialList", "trialMetricsUnavailable"),
}
"""What a trial may be, and where the Experiment's status lists and counts it."""
COMPLETED = tuple(
    count for kind, (_, count) in _LISTS.items() if kind not in ("Pending", "Running")
)


def summary(trials: Sequence[Mapping], objective: Mapping) -> dict:
    """The part of an Experiment's status that follows from its trials: counts, lists of names, and
    the best trial so far.

    Taught in notebook 05.

    Args:
        trials: Trial objects.
        objective: the Experiment's `spec.objective`.
    """
    made: dict = {"trials": len(trials)}
    for kind, (names, count) in _LISTS.items():
        of_kind = [
            trial["metadata"]["name"]
            for trial in trials
            if state(trial) == kind or (kind == "Pending" and state(trial) in ("Created", ""))
        ]
        # as on a cluster: what is empty is left out
        made |= {names: of_kind, count: len(of_kind)} if of_kind else {}
    judged = {}
    for number, trial in enumerate(trials):
        value = metrics.objective_value(
            trial["status"].get("observation", {}).get("metrics"), objective
        )
        if value is not None and state(trial) in ("Succeeded", "EarlyStopped"):
            judged[number] = value
    if judged:
        best = trials[(min if objective["type"] == "minimize" else max)(judged, key=judged.get)]
        made["currentOptimalTrial"] = {
            "bestTrialName": best["metadata"]["name"],
            "parameterAssignments": best["spec"]["parameterAssignments"],
            "observation": best["status"]["observation"],
        }
    return made


def verdict(content: Mapping, status: Mapping, exhausted: bool = False) -> tuple[str, str, str]:
    """Whether an Experiment goes on: type, reason and message of its condition, in the order in
    which Katib asks.

    Taught in notebook 05.

    Args:
        content: the Experiment's `spec`.
        status: with the counts and the best trial of `summary`.
        exhausted: whether the algorithm has nothing more to suggest and no trial runs.
    """
    objective = content["objective"]
    best = metrics.objective_value(
        status.get("currentOptimalTrial", {}).get("observation", {}).get("metrics"), objective
    )
    goal, most, failures = (
        objective.get("goal"),
        content.get("maxTrialCount"),
        content.get("maxFailedTrialCount"),
    )
    if (
        goal is not None
        and best is not None
        and (best <= goal if objective["type"] == "minimize" else best >= goal)
    ):
        return (
            "Succeeded",
            "ExperimentGoalReached",
            "Experiment has succeeded because Objective goal has reached",
        )
    failed = status.get("trialsFailed", 0) + status.get("trialMetricsUnavailable", 0)
    if failures is not None and failed and failed >= failures:
        return (
            "Failed",
            "ExperimentMaxFailedTrialsReached",
            "Experiment has failed because max failed count has reached",
        )
    if most is not None and sum(status.get(name, 0) for name in COMPLETED) >= most:
        return (
            "Succeeded",
            "ExperimentMaxTrialsReached",
            "Experiment has succeeded because max trial count has reached",
        )
    if exhausted:
        return (
            "Succeeded",
            "ExperimentSuggestionEndReached",
            "Experiment has succeeded because suggestion service has reached the end",
        )
    return "Running", "ExperimentRunning", "Experiment is running"


def state(thing: Mapping) -> str:
    """What an Experiment or a Trial is now: the type of its last condition that holds; empty before
    it has one.
    """
    return next(
        (
            one["type"]
            for one in reversed(thing.get("status", {}).get("conditions") or [])
            if one["status"] == "True"
        ),
        "",
    )


def with_condition(thing: Mapping, kind: str, reason: str, message: str) -> dict:
    """The thing with one more condition; that it is running no longer holds."""
    time = now()
    before = [
        one | {"status": "False", "lastTransitionTime": time} if one["type"] == "Running" else one
        for one in thing["status"]["conditions"]
    ]
    condition = {
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastUpdateTime": time,
        "lastTransitionTime": time,
    }
    return {**thing, "status": {**thing["status"], "conditions": [*before, condition]}}


def now(precise: bool = False) -> str:
    """The time as Kubernetes writes it; precise, so that trials of one second keep their order."""
    return (
        datetime.now(UTC)
        .isoformat(timespec="microseconds" if precise else "seconds")
        .replace("+00:00", "Z")
    )
