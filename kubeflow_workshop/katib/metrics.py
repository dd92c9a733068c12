"""From what a trial printed to what Katib makes of it: reports, an observation, and a verdict of
the median stopping rule.

Taught in notebook 05. The semantics are those of Katib 0.19: its file metrics collector, its trial
controller and its medianstop service.
"""

import contextlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from kubeflow_workshop.katib.rules import as_number

DEFAULT_FILTER = r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"
"""How Katib finds `name=value` in a line."""
_WORD = re.compile(r"\((\[[^]\[]+\]|\\w)\+\)(?![?*+{])[^|]*")
"""A filter that begins with a group of letters of one kind, as many as there are."""
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
        self._filters = [_Filter(pattern) for pattern in patterns]
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
        found = (match for one in self._filters for match in one.matches(line))
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
        try:
            document = json.loads(line)
        except RecursionError:
            raise ValueError("it has too many brackets in each other") from None
        if not isinstance(document, dict):
            raise ValueError("a line of a JSON metrics file is one JSON object")
        time = _time(document.get("timestamp"))
        # Katib takes texts only: "0.5", not 0.5
        return [
            Report(name, document[name], time)
            for name in self.names
            if isinstance(document.get(name), str)
        ]


class _Filter:
    """A regular expression that finds all its matches in a line, as `finditer` does. If it begins
    with a word, as Katib's own does, the time is in proportion to the line's length.

    Python tries such an expression at every letter of a long word, and reads the rest of the word
    each time; Go does not. But where it matches from a letter inside a word, it matches from the
    letter before as well. So it is tried only where a word begins, or the match before has ended.
    """

    def __init__(self, pattern: str):
        # \w is ASCII in Go
        self._anywhere = re.compile(pattern, re.ASCII)
        word = _WORD.fullmatch(pattern)
        self._at_word = re.compile(f"(?<!{word[1]}){pattern}", re.ASCII) if word else None

    def matches(self, line: str) -> Iterator[re.Match]:
        if not self._at_word:
            yield from self._anywhere.finditer(line)
            return
        end = 0
        while match := self._anywhere.match(line, end) or self._at_word.search(line, end):
            yield match
            end = match.end()


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


class Observation:
    """What Katib keeps of a trial's reports: of each metric the smallest, the largest and the
    latest value, as text. It counts as it goes, so a trial may report without end.

    Taught in notebook 05.

    Attributes:
        first: the first numbers of the objective, as many as `keep`; for the stopping rule.
        count: how many numbers of the objective were reported in all.
    """

    def __init__(self, names: Sequence[str], keep: int = 0):
        """`names` are those of the metrics, the objective first."""
        self._values = {name: _Values() for name in names}
        self._objective, self._keep = names[0], keep
        self.first: list[float] = []
        self.count = 0

    def add(self, report: Report) -> None:
        """Count in the next report; one of another metric is passed over."""
        if values := self._values.get(report.name):
            number = as_number(report.value)
            values.add(report, number)
            if number is not None and report.name == self._objective:
                self.count += 1
                if len(self.first) < self._keep:
                    self.first.append(number)

    @property
    def latest(self) -> str | None:
        """The objective's latest value as it was printed; None if there was none."""
        return self._values[self._objective].latest

    def metrics(self) -> list[dict]:
        """As in `status.observation.metrics`; what was never reported is `unavailable`."""
        return [{"name": name, **values.texts()} for name, values in self._values.items()]


@dataclass
class _Values:
    """One metric's smallest, largest and latest value so far."""

    smallest: tuple[float, str] | None = None
    largest: tuple[float, str] | None = None
    latest: str | None = None
    newest: datetime = _NO_TIME

    def add(self, report: Report, number: float | None) -> None:
        if number is not None:
            if self.smallest is None or number < self.smallest[0]:
                self.smallest = number, report.value
            if self.largest is None or number > self.largest[0]:
                self.largest = number, report.value
        if report.time >= self.newest:
            self.newest, self.latest = report.time, report.value

    def texts(self) -> dict[str, str]:
        return {
            "min": self.smallest[1] if self.smallest else UNAVAILABLE,
            "max": self.largest[1] if self.largest else UNAVAILABLE,
            "latest": UNAVAILABLE if self.latest is None else self.latest,
        }


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
    """Katib's medianstop: a new trial is compared with what the trials before it had reached after
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

    def succeeded(self, seen: Observation) -> None:
        """Count in a trial that succeeded. `seen` has kept `start_step` numbers."""
        if first := seen.first[: self.start_step]:
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

    def stops(self, rule: Mapping, seen: Observation) -> bool:
        """Whether a trial with this rule ends now: at its report number `startStep`, and only
        there, its best so far is worse than the threshold.

        To be asked after each report of the objective. `seen` has kept `start_step` numbers.
        """
        if seen.count != rule["startStep"]:
            return False
        threshold = float(rule["value"])
        return min(seen.first) > threshold if self._smaller else max(seen.first) < threshold
