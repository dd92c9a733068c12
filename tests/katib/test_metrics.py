"""Katib's collector, observation, strategies and medianstop, against hand-made streams."""

import itertools
import json
import random
import re
import time
from datetime import UTC, datetime, timedelta

import pytest

from kubeflow_workshop.katib import metrics
from kubeflow_workshop.katib.metrics import Collector, MedianStop, Observation, Report
from tests.katib.experiments import experiment

YEAR_ONE = datetime.min.replace(tzinfo=UTC)


def collector(*names: str, source: dict | None = None, kind: str = "StdOut") -> Collector:
    objective, *additional = names or ("loss",)
    spec = {"collector": {"kind": kind}, "source": source or {}}
    return Collector(
        experiment(
            objective={"objectiveMetricName": objective, "additionalMetricNames": additional},
            metricsCollectorSpec=spec,
        )["spec"]
    )


def read(line: str, *names: str, **how) -> list[tuple[str, str]]:
    return [(report.name, report.value) for report in collector(*names, **how).read(line)]


def json_collector(*names: str) -> Collector:
    return collector(
        *names,
        source={"fileSystemPath": {"kind": "File", "path": "/m", "format": "JSON"}},
        kind="File",
    )


@pytest.mark.parametrize(("line", "found"), [
    ("loss=0.1", [("loss", "0.1")]),
    ("loss = -1.5e-3 and more", [("loss", "-1.5e-3")]),
    ("epoch 3: loss=+2E5, acc=.5", [("loss", "+2E5"), ("acc", ".5")]),
    ("loss=1 loss=2", [("loss", "1"), ("loss", "2")]),
    ("loss: 0.1", []),  # Keras
    ("loss 0.1", []),
    ("my-loss=1", []),  # another name
    ("loss|x=1", []),
    ("val.loss=3", [("loss", "3")]),  # a point is no part of a name
    ("loss=nan", [("loss", "")]),  # matched, with nothing in it
    ("loss=inf", [("loss", "")]),
    ("loss=1.", [("loss", "1")]),
    ("loss=1,5", [("loss", "1")]),
    ("äloss=7", [("loss", "7")]),  # letters are ASCII's, as in Go
    ("nothing here", []),
    ("", []),
])  # fmt: skip
def test_a_line_is_read_as_katib_reads_it(line, found):
    assert read(line, "loss", "acc") == found


def test_names_may_hold_a_hyphen_and_a_bar():
    assert read("Validation-MAE=0.3 a|b=2", "Validation-MAE", "a|b") == [
        ("Validation-MAE", "0.3"),
        ("a|b", "2"),
    ]


@pytest.mark.parametrize(("line", "time"), [
    ("2026-03-01T12:00:00Z loss=1", datetime(2026, 3, 1, 12, tzinfo=UTC)),
    ("2026-03-01T12:00:00.123456789Z loss=1", datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)),
    ("2026-03-01T14:00:00+02:00 loss=1", datetime(2026, 3, 1, 12, tzinfo=UTC)),
    ("2026-03-01 12:00:00 loss=1", YEAR_ONE),
    ("2026-13-01T12:00:00Z loss=1", YEAR_ONE),  # no such month
    ("INFO 2026-03-01T12:00:00Z loss=1", YEAR_ONE),
    ("loss=1", YEAR_ONE),
])  # fmt: skip
def test_a_time_is_the_first_word_in_rfc_3339(line, time):
    assert [(report.value, report.time) for report in collector().read(line)] == [("1", time)]


def test_filters_of_ones_own_take_the_place_of_katibs():
    source = {
        "filter": {
            "metricsFormat": [
                r"{metricName: ([\w|-]+), metricValue: ((-?\d+)(\.\d+)?)}",
                r"(\w+)->(\d+)",
            ]
        }
    }
    assert read("{metricName: loss, metricValue: -0.25}", source=source) == [("loss", "-0.25")]
    assert read("loss->3 loss=4", source=source) == [("loss", "3")]


@pytest.mark.parametrize("pattern", [
    metrics.DEFAULT_FILTER,
    r"(\w+)\s*=\s*((-?\d+)(\.\d+)?)",
    r"([a-c]+)\b=?(\d*)",
    # these are left to `finditer`
    r"(\w+)?(\d*)",
    r"([\w]+)=(\d)|(\w)",
    r"{([\w|-]+), (\d+)}",
])  # fmt: skip
def test_a_filter_finds_what_a_regular_expression_finds(pattern):
    """In 20,000 short lines of the letters that mean something to it."""
    lot, own = random.Random(5), metrics._Filter(pattern)
    for _ in range(20_000):
        line = "".join(lot.choices("ab|-_ \t==..+-eE019{},ä", k=lot.randrange(14)))
        found = itertools.islice(own.matches(line), 50)  # one that is empty may come for ever
        assert [match.span() for match in found] == [
            match.span() for match in re.finditer(pattern, line, re.ASCII)
        ], line


@pytest.mark.parametrize("line", [
    "loss" + "a" * 200_000,
    "loss" + "a-" * 100_000 + " = ",
    "loss " + "a" * 100_000 + " " * 100_000,
    "loss" + "a=1" * 60_000,
    "=" * 100_000 + "loss" + "=" * 100_000,
])  # fmt: skip
def test_a_long_line_is_read_in_time_in_proportion_to_its_length(line):
    """50,000 letters once took 36 s."""
    began = time.perf_counter()
    read(line)
    assert time.perf_counter() - began < 2


def test_json_lines_hold_texts_and_a_time_as_text_or_number():
    own = json_collector("loss", "acc")
    when = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert own.read('{"loss": "0.5", "acc": "0.9", "timestamp": "2026-03-01T12:00:00Z"}') == [
        Report("loss", "0.5", when),
        Report("acc", "0.9", when),
    ]
    assert own.read(json.dumps({"loss": "0.5", "timestamp": when.timestamp()})) == [
        Report("loss", "0.5", when)
    ]
    assert own.read('{"loss": 0.5, "acc": "1"}') == [Report("acc", "1")]  # Katib takes texts only
    assert own.read("\n") == []
    for far in ("1e30", "-1e30", "NaN", "true", "null", '"noon"', "[]"):
        assert own.read(f'{{"loss": "1", "timestamp": {far}}}') == [Report("loss", "1", YEAR_ONE)]


@pytest.mark.parametrize(
    "line", ["loss=1", "[1]", '"loss"', '{"loss": "1"', "[" * 100_000, '{"a":' * 100_000]
)
def test_a_line_that_is_no_json_object_is_an_error(line):
    with pytest.raises(ValueError):  # noqa: PT011  whatever json says
        json_collector().read(line)


def observation(reports: list[Report], *names: str) -> list[dict]:
    made = Observation(names)
    for report in reports:
        made.add(report)
    return made.metrics()


def test_an_observation_holds_min_max_and_latest_as_they_were_printed():
    reports = [Report("loss", text) for text in ("0.50", "1e-1", "0.3")] + [Report("acc", "")]
    assert observation(reports, "loss", "acc", "f1") == [
        {"name": "loss", "min": "1e-1", "max": "0.50", "latest": "0.3"},
        {"name": "acc", "min": "unavailable", "max": "unavailable", "latest": ""},
        {"name": "f1", "min": "unavailable", "max": "unavailable", "latest": "unavailable"},
    ]


def test_the_time_decides_which_value_is_the_latest():
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    reports = [
        Report("loss", "1", noon),
        Report("loss", "2", noon + timedelta(seconds=1)),
        Report("loss", "3", noon),
    ]
    assert observation(reports, "loss")[0]["latest"] == "2"
    # the same time: the later line
    reports.append(Report("loss", "4", noon + timedelta(seconds=1)))
    assert observation(reports, "loss")[0]["latest"] == "4"


def test_an_observation_keeps_the_first_numbers_of_the_objective_and_counts_all():
    made = Observation(["loss", "acc"], keep=2)
    assert made.latest is None
    for name, value in (("acc", "9"), ("loss", "3"), ("loss", ""), ("loss", "1"), ("loss", "2")):
        made.add(Report(name, value))
    assert (made.first, made.count, made.latest) == ([3.0, 1.0], 3, "2")


def test_a_hundred_thousand_reports_are_counted_as_they_come():
    """10,000 once took 37 s."""
    rule = stopping(min_trials_required=1, start_step=100_000)
    rule.succeeded(losses(5))
    made, report = rule.rule(), Report("loss", "9")
    trial = Observation(["loss"], keep=100_000)
    began, stopped = time.perf_counter(), []
    for number in range(1, 100_011):
        trial.add(report)
        stopped += [number] if rule.stops(made, trial) else []
    assert stopped == [100_000]
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(("kind", "strategies", "value"), [
    ("minimize", None, 1.0),
    ("maximize", None, 3.0),
    ("minimize", [{"name": "loss", "value": "latest"}], 2.0),
    ("minimize", [{"name": "loss", "value": "max"}], 3.0),
    ("minimize", [{"name": "acc", "value": "max"}], 1.0),
])  # fmt: skip
def test_the_strategy_follows_the_type_unless_said(kind, strategies, value):
    objective = {"type": kind, "objectiveMetricName": "loss", "additionalMetricNames": ["acc"]} | (
        {"metricStrategies": strategies} if strategies else {}
    )
    observed = [
        {"name": "acc", "min": "9", "max": "9", "latest": "9"},
        {"name": "loss", "min": "1", "max": "3", "latest": "2"},
    ]
    assert metrics.objective_value(observed, objective) == value


def test_without_a_number_there_is_no_value():
    objective = {
        "type": "minimize",
        "objectiveMetricName": "loss",
        "metricStrategies": [{"name": "loss", "value": "latest"}],
    }
    assert (
        metrics.objective_value([{"name": "loss", "min": "1", "max": "1", "latest": ""}], objective)
        is None
    )
    assert metrics.objective_value([], objective) is None
    assert metrics.objective_value(None, objective) is None


# --- medianstop


def stopping(kind: str = "minimize", **settings: int) -> MedianStop:
    early = {"algorithmName": "medianstop"} | (
        {
            "algorithmSettings": [
                {"name": name, "value": str(value)} for name, value in settings.items()
            ]
        }
        if settings
        else {}
    )
    return MedianStop(experiment(objective={"type": kind}, earlyStopping=early)["spec"])


def losses(*numbers: float) -> Observation:
    return seen(*(Report("loss", str(number)) for number in numbers))


def seen(*reports: Report) -> Observation:
    made = Observation(["loss", "acc"], keep=4)
    for report in reports:
        made.add(report)
    return made


def test_the_threshold_is_the_mean_of_the_means_of_the_first_reports():
    rule = stopping(min_trials_required=2, start_step=3)
    assert rule.rule() is None
    rule.succeeded(losses(1, 2, 3, 100, 100))  # 2: what comes after report 3 does not count
    assert rule.rule() is None
    rule.succeeded(losses(4, 8))  # 6, of what there is
    assert rule.rule() == {"name": "loss", "value": "4.0", "comparison": "greater", "startStep": 3}
    # the median of 2, 6, 13 would be 6; Katib's service takes the mean
    rule.succeeded(losses(13, 13, 13))
    assert float(rule.rule()["value"]) == 7.0


def test_it_asks_for_three_trials_and_four_reports_unless_told():
    rule = stopping()
    for _ in range(2):
        rule.succeeded(losses(1, 1, 1, 1))
    assert rule.rule() is None
    rule.succeeded(losses(1, 1, 1, 1))
    assert rule.rule()["startStep"] == 4


@pytest.mark.parametrize(("kind", "worse", "better"), [("minimize", 9, 1), ("maximize", 1, 9)])
def test_a_trial_is_judged_once_at_its_report_number_start_step_by_its_best_so_far(
    kind, worse, better
):
    rule = stopping(kind, min_trials_required=1, start_step=3)
    rule.succeeded(losses(5, 5, 5))
    made = rule.rule()
    assert made["comparison"] == ("greater" if kind == "minimize" else "less")
    assert not rule.stops(made, losses(worse, worse))
    assert rule.stops(made, losses(worse, worse, worse))
    # other metrics are not counted
    loss, other = Report("loss", str(worse)), Report("acc", "0")
    assert not rule.stops(made, seen(loss, loss, other))
    assert rule.stops(made, seen(loss, loss, other, loss))
    assert not rule.stops(made, losses(better, worse, worse))  # its best so far is better
    assert not rule.stops(made, losses(worse, worse, 5))  # as good as the threshold
    assert not rule.stops(made, losses(worse, worse, worse, worse))  # checked once, and not again
