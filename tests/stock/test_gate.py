"""The gate, in both directions and at its borders."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.stock import evaluate, gate
from kubeflow_workshop.stock.windows import windows

WALK = windows(
    pd.Series(
        np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, 80))) * 50,
        pd.bdate_range("2012-01-02", periods=80, name="date"),
    ),
    3,
)


def scores(low: float, high: float, days: int = 327) -> evaluate.Scores:
    """Scores with this interval of the skill."""
    real = evaluate.score(evaluate.persistence(WALK), WALK, resamples=20)
    return dataclasses.replace(
        real, days=days, skill=(low + high) / 2, skill_low=low, skill_high=high
    )


@pytest.mark.parametrize(
    ("low", "high", "at_least", "accepted"),
    [
        (-0.064, -0.014, -0.1, True),
        (-0.1, 0.2, -0.1, True),
        (-0.1001, 0.2, -0.1, False),
        (-0.129, 0.204, -0.1, False),
        (-48.9, -35.5, -0.1, False),
        (-0.064, -0.014, -0.05, False),
        (-0.001, 0.003, 0, False),
        (0, 0, 0, True),
        (0.02, 0.05, 0, True),
        (0.02, 0.05, 0.03, False),
    ],
)
def test_the_low_end_of_the_interval_decides(low, high, at_least, accepted):
    decision = gate.decide(scores(low, high), at_least)
    assert (decision.accepted, decision.at_least) == (accepted, at_least)
    assert decision.why.startswith("Accepted: " if accepted else "Refused: ")


def test_persistence_passes_as_what_it_is_and_a_forecast_that_is_far_off_does_not():
    """With real scores, and the gate as it is set."""
    tie = gate.decide(evaluate.score(evaluate.persistence(WALK), WALK))
    assert tie.accepted
    assert tie.why == (
        "Accepted: on 77 test days, the skill against persistence is +0.000, with a 95 % interval"
        " from +0.000 to +0.000, and the gate asks for an interval that begins at -0.1 or above."
        " The interval contains 0: on these days, the model cannot be told from persistence."
    )
    far = gate.decide(evaluate.score(WALK.targets * 1.1, WALK))
    assert not far.accepted
    assert far.why.endswith("begins at -0.1 or above. The model is worse than persistence.")


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (0.01, 0.2, "The model beats persistence."),
        (-0.02, 0.2, "The interval contains 0: on these days, the model cannot be told from"),
        (-0.05, -0.01, "The model is worse than persistence, but by no more than the gate allows."),
        (-0.5, -0.2, "The model is worse than persistence."),
    ],
)
def test_the_reason_says_what_the_interval_means(low, high, says):
    assert says in gate.decide(scores(low, high)).why


def test_the_reason_has_the_numbers():
    assert gate.decide(scores(-0.0641, -0.0142, days=25), -0.05).why.startswith(
        "Refused: on 25 test days, the skill against persistence is -0.039, with a 95 % interval"
        " from -0.064 to -0.014, and the gate asks for an interval that begins at -0.05 or above."
    )


def test_without_an_interval_nothing_is_accepted():
    """Nine test days have none; the gate says so, and not that the model is bad."""
    decision = gate.decide(evaluate.score(WALK.targets[:9], WALK[:9]), -1000)
    assert not decision.accepted
    assert decision.why == (
        "Refused: on 9 test days, the skill against persistence has no interval. Test on more days."
    )


@pytest.mark.parametrize("at_least", [1, 7, math.nan, math.inf, -math.inf])
def test_a_gate_that_could_mean_nothing_is_refused(at_least):
    with pytest.raises(
        CourseError, match=r"the gate cannot ask for a skill of .+ below 1, such as"
    ):
        gate.decide(scores(0, 0), at_least)


# Scores on their way through JSON


def test_scores_come_back_from_json_as_they_went_in():
    real = evaluate.score(WALK.targets + 0.1, WALK)
    assert evaluate.Scores.from_json(real.as_json()) == real


def test_what_is_no_number_is_none_in_json_and_a_pipeline_may_have_made_a_float_of_the_days():
    few = evaluate.score(WALK.targets[:9], WALK[:9])
    assert few.as_json()["skill_low"] is None
    back = evaluate.Scores.from_json(few.as_json() | {"days": 9.0})
    assert math.isnan(back.skill_low)
    assert back.days == 9
    assert isinstance(back.days, int)


def test_other_numbers_are_not_taken_for_scores():
    with pytest.raises(CourseError, match=r"scores are days, mae, .+, and not mae; give those"):
        evaluate.Scores.from_json({"mae": 1.0})
