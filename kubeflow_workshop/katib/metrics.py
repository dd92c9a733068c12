"""From what a trial printed to what Katib makes of it: reports, an observation, and a verdict of
the median stopping rule.

Taught in notebook 05. The semantics are those of Katib 0.19: its file metrics collector, its trial
controller and its medianstop service.
"""

import contextlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from kubeflow_workshop.katib.rules import as_number

DEFAULT_FILTER = r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"
"""How Katib finds `name=value` in a line."""
UNAVAILABLE = "unavailable"
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_NO_TIME = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Report:
    """One value of one metric, as a trial reported it.

    Attributes:
        name: of the metric.
        value: as it was printed.
        time: when, if the trial said so; else the year 1, as in Katib.
    """

    name: str
    value: str
    time: datetime = _NO_TIME


class Collector:
    """Reads the metrics of one Experiment from the lines of a trial."""

    def __init__(self, content: Mapping):
        """`content` is the Experiment's `spec`."""
        objective = content["objective"]
        self.objective: str = objective["objectiveMetricName"]
        self.names: list[str] = [self.objective, *objective.get("additionalMetricNames", [])]
        self._source = (content.get("metricsCollectorSpec") or {}).get("source") or {}
        patterns = (self._source.get("filter") or {}).get("metricsFormat") or [DEFAULT_FILTER]
        # \w is ASCII in Go
        self._patterns = [re.compile(pattern, re.ASCII) for pattern in patterns]
        self._json = (self._source.get("fileSystemPath") or {}).get("format") == "JSON"

    def read(self, line: str) -> list[Report]:
        """The reports in a line; an empty list if there is none.

        Raises:
            ValueError: if the format is JSON and the line is no JSON object.
        """
        return self._from_json(line) if self._json else self._from_text(line)

    def _from_text(self, line: str) -> list[Report]:
        if not any(name in line for name in self.names):
            return []
        found = (match for pattern in self._patterns for match in pattern.finditer(line))
        first = line.split(" ", 1)
        time = _time(first[0]) if len(first) == 2 else _NO_TIME
        return [
            Report(match[1].strip(), (match[2] or "").strip(), time)
            for match in found
            if (match[1] or "").strip() in self.names
        ]

    def _from_json(self, line: str) -> list[Report]:
        if not line.strip():
            return []
        document = json.loads(line)
        if not isinstance(document, dict):
            raise ValueError("a line of a JSON metrics file is one JSON object")
        time = _time(document.get("timestamp"))
        # Katib takes texts only: "0.5", not 0.5
        return [
            Report(name, document[name], time)
            for name in self.names
            if isinstance(document.get(name), str)
        ]


def _time(value: object) -> datetime:
    # it looks like a time, and there is no such
    with contextlib.suppress(ValueError, OverflowError, OSError):
        if isinstance(value, str) and _RFC3339.fullmatch(value):
            return datetime.fromisoformat(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    return _NO_TIME


def strategies(objective: Mapping) -> dict[str, str]:
    """Which value of each metric counts: `min`, `max` or `latest`. What is not said follows the
    objective's type, as in Katib.

    Args:
        objective: the Experiment's `spec.objective`.
    """
    names = [objective["objectiveMetricName"], *objective.get("additionalMetricNames", [])]
    default = "min" if objective["type"] == "minimize" else "max"
    return dict.fromkeys(names, default) | {
        one["name"]: one["value"] for one in objective.get("metricStrategies", [])
    }


def observation(reports: Iterable[Report], names: Sequence[str]) -> list[dict]:
    """What Katib keeps of a trial's reports: the smallest, the largest and the latest value of each
    metric, as text.

    Taught in notebook 05.

    Args:
        reports: in the order in which they came.
        names: of the metrics, the objective first.

    Returns:
        A list as in `status.observation.metrics`; what was never reported is `unavailable`.
    """
    metrics, reports = [], list(reports)
    for name in names:
        own = [report for report in reports if report.name == name]
        numbers = [report.value for report in own if as_number(report.value) is not None]
        latest = UNAVAILABLE
        newest = _NO_TIME
        for report in own:
            if report.time >= newest:
                newest, latest = report.time, report.value
        metrics.append({
            "name": name,
            "min": min(numbers, key=float, default=UNAVAILABLE),
            "max": max(numbers, key=float, default=UNAVAILABLE),
            "latest": latest,
        })  # fmt: skip
    return metrics


def objective_value(metrics: Sequence[Mapping] | None, objective: Mapping) -> float | None:
    """The number by which a trial is judged, or None if it has none.

    Args:
        metrics: of the trial's observation.
        objective: the Experiment's `spec.objective`.
    """
    name = objective["objectiveMetricName"]
    for metric in metrics or []:
        if metric["name"] == name:
            return as_number(metric[strategies(objective)[name]])
    return None


class MedianStop:
    """Katib's medianstop: a new trial is held against what the trials before it had reached after
    as many reports.

    Taught in notebook 05. After Golovin et al., "Google Vizier" (2017), as Katib's service has it:
    over the trials that succeeded, the mean of each one's first `start_step` values of the
    objective; the threshold is the mean of those means. (The name says median; the code takes the
    mean.)
    """

    def __init__(self, content: Mapping):
        """`content` is the Experiment's `spec`, with `earlyStopping`."""
        settings = {
            setting["name"]: int(setting["value"])
            for setting in content["earlyStopping"].get("algorithmSettings", [])
        }
        self._required, self.start_step = (
            settings.get("min_trials_required", 3),
            settings.get("start_step", 4),
        )
        self._objective = content["objective"]["objectiveMetricName"]
        self._smaller = content["objective"]["type"] == "minimize"
        self._means: list[float] = []

    def succeeded(self, reports: Iterable[Report]) -> None:
        """Count in a trial that succeeded, with all that it reported."""
        first = self._values(reports)[: self.start_step]
        if first:
            self._means.append(math.fsum(first) / len(first))

    def rule(self) -> dict | None:
        """The rule for a trial that starts now, as in `spec.earlyStoppingRules` of a Trial; None
        while too few have succeeded.
        """
        if len(self._means) < max(self._required, 1):
            return None
        threshold = math.fsum(self._means) / len(self._means)
        comparison = "greater" if self._smaller else "less"
        return {
            "name": self._objective,
            "value": repr(threshold),
            "comparison": comparison,
            "startStep": self.start_step,
        }

    def stops(self, rule: Mapping, reports: Iterable[Report]) -> bool:
        """Whether a trial with this rule ends now: at its report number `startStep`, and only
        there, its best so far is worse than the threshold.
        """
        values = self._values(reports)
        if len(values) != rule["startStep"]:
            return False
        threshold = float(rule["value"])
        return min(values) > threshold if self._smaller else max(values) < threshold

    def _values(self, reports: Iterable[Report]) -> list[float]:
        return [
            number
            for report in reports
            if report.name == self._objective and (number := as_number(report.value)) is not None
        ]
