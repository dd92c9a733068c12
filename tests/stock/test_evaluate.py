"""Scores, against numbers worked out by hand and formulas written out."""

import math

import numpy as np
import pandas as pd
import pytest
from arch.bootstrap import StationaryBootstrap
from scipy import stats

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.stock import evaluate
from kubeflow_workshop.stock.windows import Windows, windows

pytestmark = pytest.mark.filterwarnings("error")  # a learner would see them


def days(closes: list[float], length: int = 2, start: str = "2012-01-02"):
    return windows(
        pd.Series(closes, pd.bdate_range(start, periods=len(closes), name="date"), dtype=float),
        length,
    )


BY_HAND = days([10, 20, 22, 22, 19, 24])
"""Targets 22, 22, 19, 24; today 20, 22, 22, 19; so persistence is 2, 0, 3 and 5 dollars off."""
FORECAST = np.array([21, 23, 20, 18.0])
"""1, 1, 1 and 6 dollars off; of the three days that moved, right on the first and the third."""


def random_walk(count: int, seed: int = 0):
    return days(np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, count))) * 50)


def test_persistence_is_the_last_price_of_each_window():
    assert evaluate.persistence(BY_HAND).tolist() == [20, 22, 22, 19]


def test_the_mean_of_the_window_is_that():
    assert evaluate.window_mean(BY_HAND).tolist() == [15, 21, 22, 20.5]


def test_errors_are_those_worked_out_by_hand():
    assert evaluate.mae(FORECAST, BY_HAND.targets) == 9 / 4
    assert evaluate.rmse(FORECAST, BY_HAND.targets) == math.sqrt(39 / 4)


def test_scores_are_those_worked_out_by_hand():
    scores = evaluate.score(FORECAST, BY_HAND)
    assert scores.days == 4
    assert (scores.mae, scores.rmse) == (9 / 4, math.sqrt(39 / 4))
    assert (scores.persistence_mae, scores.persistence_rmse) == (10 / 4, math.sqrt(38 / 4))
    assert scores.skill == pytest.approx(1 - 9 / 10)
    assert scores.hits == pytest.approx(2 / 3)
    assert scores.ups == pytest.approx(2 / 3)


def test_a_day_without_a_change_has_no_direction():
    still = days([10, 10, 10, 10, 11])
    assert evaluate.score(np.array([9.0, 11, 12]), still).hits == 1.0  # only the last day moved
    assert math.isnan(evaluate.score(np.array([9.0, 11]), still[:2]).hits)


def test_a_forecast_of_no_change_hits_nothing():
    assert evaluate.score(evaluate.persistence(BY_HAND), BY_HAND).hits == 0


def test_persistence_has_no_skill_and_a_perfect_forecast_all_of_it():
    walk = random_walk(60)
    nothing, perfect = (
        evaluate.score(evaluate.persistence(walk), walk),
        evaluate.score(walk.targets, walk),
    )
    assert (nothing.skill, nothing.skill_low, nothing.skill_high) == (0, 0, 0)
    assert (nothing.dm, nothing.dm_p) == (0, 1)
    assert (perfect.skill, perfect.skill_low, perfect.skill_high) == (1, 1, 1)
    assert perfect.hits == 1
    assert perfect.dm < 0
    assert perfect.dm_p < 0.001


def test_the_interval_of_the_hits_is_wilsons():
    walk = random_walk(60)
    scores = evaluate.score(evaluate.window_mean(walk), walk)
    n, p, z = scores.days, scores.hits, stats.norm.ppf(0.975)
    assert 0 < p < 1
    centre, spread = (
        (p + z**2 / (2 * n)) / (1 + z**2 / n),
        z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)),
    )
    assert (scores.hits_low, scores.hits_high) == pytest.approx((centre - spread, centre + spread))


def test_diebold_mariano_is_the_papers_formula_with_the_correction_for_few_days():
    generator = np.random.default_rng(1)
    losses, rival = generator.gamma(2, 1, 25), generator.gamma(2, 1.3, 25)
    d, n, h = losses - rival, 25, 1
    # at one day ahead the long-run variance is the variance
    raw = d.mean() / math.sqrt(((d - d.mean()) ** 2).mean() / n)
    corrected = raw * math.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    assert evaluate.diebold_mariano(losses, rival) == pytest.approx(
        (corrected, 2 * stats.t.sf(abs(corrected), n - 1))
    )


def test_diebold_mariano_is_above_zero_when_the_rival_is_better():
    assert evaluate.diebold_mariano(np.array([2.0, 3, 2]), np.array([1.0, 1.5, 1]))[0] > 0


def test_diebold_mariano_of_what_does_not_vary():
    one = np.ones(5)
    assert evaluate.diebold_mariano(one, one) == (0, 1)
    assert evaluate.diebold_mariano(one * 3, one) == (math.inf, 0)
    assert evaluate.diebold_mariano(one, one * 3) == (-math.inf, 0)
    assert all(map(math.isnan, evaluate.diebold_mariano(one[:1], one[:1] * 3)))


def test_the_interval_of_the_skill_covers_the_true_skill_about_as_often_as_it_says():
    """Errors of known size: the forecast's are 0.8 of persistence's on average, so the skill is
    0.2.
    """
    covered = 0
    for draw in range(60):
        generator = np.random.default_rng(draw)
        steps = generator.normal(0, 1, 121)
        walk = days(np.concatenate([[500], 500 + np.cumsum(steps)]), length=1)
        forecast = walk.targets + generator.normal(0, 0.8, len(walk))
        scores = evaluate.score(forecast, walk, resamples=200)
        covered += scores.skill_low <= 0.2 <= scores.skill_high
    assert covered >= 50


def test_the_interval_comes_from_the_seed():
    walk = random_walk(60)

    def interval(seed):
        scores = evaluate.score(evaluate.window_mean(walk), walk, resamples=100, seed=seed)
        return scores.skill_low, scores.skill_high

    assert interval(0) == interval(0)
    assert interval(0) != interval(1)
    assert (
        interval(0)[0]
        < evaluate.score(evaluate.window_mean(walk), walk, resamples=100).skill
        < interval(0)[1]
    )


def test_below_ten_days_there_is_no_interval():
    assert math.isnan(evaluate.score(FORECAST, BY_HAND).skill_low)
    walk = random_walk(12)
    assert len(walk) == 10
    assert math.isfinite(evaluate.score(evaluate.window_mean(walk), walk).skill_low)


def test_a_block_is_at_least_one_day_long():
    """For these differences the rule for the length of the blocks says 0, which none can have."""
    walk = days([10 + 2 * day for day in range(12)])  # persistence is 2 dollars off on ten days
    losses = 2 + np.array([0, -1, 0, 1, 1, -1, 0, -1, 0, 1])
    scores = evaluate.score(walk.targets + losses, walk, resamples=200)
    one_by_one = StationaryBootstrap(1, losses, np.full(10, 2), seed=0).conf_int(
        lambda model, rival: 1 - model.mean() / rival.mean(), reps=200, method="percentile"
    )
    assert (scores.skill_low, scores.skill_high) == pytest.approx(tuple(one_by_one.ravel()))
    assert scores.skill_low < 0 < scores.skill_high


@pytest.mark.parametrize("wrong", [np.zeros(3), np.zeros((4, 1)), np.zeros(5), 20.0])
def test_a_forecast_of_another_shape_is_refused(wrong):
    with pytest.raises(CourseError, match=r"does not fit \(4,\) days; give one number per day"):
        evaluate.score(wrong, BY_HAND)


def test_a_single_day_is_scored_without_a_fuss():
    scores = evaluate.score(FORECAST[:1], BY_HAND[:1])
    assert (scores.days, scores.mae, scores.hits) == (1, 1, 1)
    assert math.isnan(scores.dm_p)


def test_prices_that_never_move_are_scored_without_a_fuss():
    flat = days([10.0] * 30)
    scores = evaluate.score(flat.targets + 1, flat)
    assert (scores.mae, scores.persistence_mae, scores.dm) == (1, 0, math.inf)
    assert math.isnan(scores.skill)


# Every year in turn


def years(first: str = "2009-06-01", last: str = "2012-12-31"):
    dates = pd.bdate_range(first, last, name="date")
    return windows(
        pd.Series(50 + np.random.default_rng(3).normal(0, 1, len(dates)).cumsum() / 10, dates), 3
    )


def test_walk_forward_fits_on_what_came_before_the_year_and_on_all_of_it():
    made, seen = years(), []

    def forecaster(past):
        def forecast(judged):
            seen.append((past, judged))
            return evaluate.persistence(judged)

        return forecast

    forecast = evaluate.walk_forward(made, forecaster, 2010)
    assert [judged.dates.year.unique().tolist() for _, judged in seen] == [[2010], [2011], [2012]]
    for past, judged in seen:
        assert past.dates[-1] < judged.dates[0]
        assert past.dates.equals(made.dates[made.dates < judged.dates[0]])
        assert past.inputs.base is made.inputs.base or np.shares_memory(past.inputs, made.inputs)
    judged = made[-len(forecast) :]
    assert len(judged) == (made.dates.year >= 2010).sum()
    assert forecast.tolist() == evaluate.persistence(judged).tolist()


def test_walk_forward_passes_over_a_year_without_days():
    made = years()
    kept = np.nonzero(made.dates.year != 2011)[0]
    gap = Windows(made.inputs[kept], made.targets[kept], made.dates[kept])
    fitted = []
    forecast = evaluate.walk_forward(
        gap, lambda past: fitted.append(past) or evaluate.persistence, 2010
    )
    assert len(fitted) == 2
    assert evaluate.by_year(forecast, gap[-len(forecast) :]).index.tolist() == [2010, 2012]


def test_each_year_is_judged_as_score_judges_it():
    made = years()
    table = evaluate.by_year(evaluate.window_mean(made), made)
    assert table.index.name == "year"
    assert table.index.tolist() == [2009, 2010, 2011, 2012]
    for year, row in table.iterrows():
        (where,) = np.nonzero(made.dates.year == year)
        judged = made[where[0] : where[-1] + 1]
        alone = evaluate.score(evaluate.window_mean(judged), judged)
        assert row.to_dict() == pytest.approx(
            {
                "days": alone.days,
                "mae": alone.mae,
                "persistence_mae": alone.persistence_mae,
                "skill": alone.skill,
            }
        )


def test_persistence_has_no_skill_in_any_year():
    made = years()
    assert evaluate.by_year(evaluate.persistence(made), made).skill.tolist() == [0] * 4


def test_a_year_in_which_the_price_never_moved_has_no_skill():
    flat = days([10.0] * 30)
    assert evaluate.by_year(flat.targets + 1, flat).skill.isna().all()


def test_a_year_is_not_judged_by_forecasts_of_other_days():
    with pytest.raises(CourseError, match="give one number per day"):
        evaluate.by_year(FORECAST[1:], BY_HAND)


@pytest.mark.parametrize(
    ("last", "first_year", "says"),
    [
        (
            "2012-12-31",
            2009,
            "year 2009 cannot be judged: the windows run from 2009 to 2012; give a year from 2010",
        ),
        ("2012-12-31", 2013, "year 2013 cannot be judged.* give a year from 2010 to 2012"),
    ],
)
def test_years_that_cannot_be_judged_are_refused(last, first_year, says):
    with pytest.raises(CourseError, match=says):
        evaluate.walk_forward(years(last=last), lambda past: evaluate.persistence, first_year)
