"""Several days ahead, and how wide: plain numbers, no server."""

from datetime import date

import numpy as np
import pytest

from kubeflow_workshop.serving import forecast
from kubeflow_workshop.serving.forecast import (
    adapt,
    ahead,
    calibrate,
    coverage,
    errors,
    fan,
    quantile,
    trading_days,
)


def persistence(windows):
    return windows[:, -1]


def trend(windows):
    return windows[:, -1] + (windows[:, -1] - windows[:, -2])


def walk(days, seed, deviation=0.01):
    return 30 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, deviation, days)))


def days_of(values, validation, test):
    dates = [str(day) for day in range(len(values))]
    return {
        "dates": dates,
        "prices": list(values),
        "validation_from": dates[validation],
        "test_from": dates[test],
    }


def test_each_forecast_becomes_the_last_day_of_the_next_window():
    windows = np.float32([[[1], [2], [3]], [[3], [2], [0]]])
    assert ahead(trend, windows, 3).tolist() == [[4, 5, 6], [-2, -4, -6]]


def test_trading_days_are_monday_to_friday():
    friday = date(2013, 3, 1)
    assert [str(day) for day in trading_days(friday, 6)] == [
        "2013-03-04",
        "2013-03-05",
        "2013-03-06",
        "2013-03-07",
        "2013-03-08",
        "2013-03-11",
    ]
    assert trading_days(date(2013, 3, 2), 1) == [date(2013, 3, 4)]


def test_an_error_is_a_share_of_the_price_on_which_the_forecast_stood():
    found = errors(persistence, np.array([1.0, 2.0, 3.0, 6.0]), window=2, horizon=2)
    np.testing.assert_allclose(found, [[0.5, 2.0], [1.0, np.nan], [np.nan, np.nan]])


def test_an_error_belongs_to_the_part_in_which_its_outcome_lies():
    values = np.array([1, 1, 1, 1.1, 1.1, 1.1, 1.1, 2.2, 2.2, 2.2])
    made = calibrate(persistence, days_of(values, validation=2, test=6), window=2)
    np.testing.assert_allclose(made.residuals[0], [0, 0, 0, 0.1], atol=1e-6)
    np.testing.assert_allclose(made.residuals[1], [0, 0.1, 0.1], atol=1e-6)
    assert len(made.residuals) == forecast.LONGEST
    np.testing.assert_allclose(made.test[:, 0], [0, 1, 0, 0, np.nan], atol=1e-6)


@pytest.mark.parametrize(("level", "wanted"), [(0.1, 1), (0.5, 5), (0.9, 9), (0.01, 1), (0.99, 9), (1.2, 9), (-0.1, 1)])  # fmt: skip
def test_the_conformal_quantile_of_nine_errors(level, wanted):
    assert quantile(np.arange(1.0, 10.0), np.array(level)) == wanted


def test_a_level_rises_after_an_outcome_above_it_and_falls_after_one_below():
    residuals, levels = np.arange(-5.0, 6.0), np.array([0.9])
    above = adapt(residuals, np.array([100.0]), levels, horizon=1)[:, 0]
    below = adapt(residuals, np.array([-100.0]), levels, horizon=1)[:, 0]
    np.testing.assert_allclose(above, [0.9, 0.9 + 0.05 * 0.9])
    np.testing.assert_allclose(below, [0.9, 0.9 - 0.05 * 0.1])


def test_an_outcome_three_days_ahead_moves_the_level_three_days_later():
    used = adapt(np.arange(-5.0, 6.0), np.full(5, 100.0), np.array([0.5]), horizon=3)[:, 0]
    np.testing.assert_allclose(used, [0.5, 0.5, 0.5, 0.525, 0.55, 0.575])


@pytest.mark.parametrize("days", [0, 1, 5])
def test_a_history_shorter_than_the_horizon_moves_no_level(days):
    used = adapt(np.arange(-5.0, 6.0), np.full(days, 100.0), np.array([0.5]), horizon=12)
    assert used.tolist() == [[0.5]] * (days + 1)


def test_errors_of_one_day_are_too_narrow_for_day_five():
    made = calibrate(persistence, days_of(walk(900, seed=0), 100, 600), window=3)
    width = [
        float(np.diff(quantile(residuals, np.array([0.1, 0.9])))[0]) for residuals in made.residuals
    ]
    assert 1.8 < width[4] / width[0] < 2.7, "about the square root of five"


def test_the_quantiles_cover_what_they_say_on_days_that_they_have_not_seen():
    levels = np.array([0.1, 0.5, 0.9])
    made = [calibrate(persistence, days_of(walk(900, seed), 100, 600), 3) for seed in range(20)]
    for horizon in (1, 5):
        shares = np.mean([coverage(one, levels, horizon) for one in made], axis=0)
        np.testing.assert_allclose(shares, levels, atol=0.03)


def test_adapting_keeps_the_coverage_when_the_days_become_wilder():
    """The point of it: on days three times as wild, fixed quantiles would cover far too little."""
    levels, shares, fixed = np.array([0.1, 0.9]), [], []
    for seed in range(20):
        calm, wild = walk(300, seed), walk(600, 100 + seed, deviation=0.03)
        values = np.concatenate([calm, wild * calm[-1] / 30])
        made = calibrate(persistence, days_of(values, 50, 300), 3)
        shares.append(coverage(made, levels, 1))
        fixed.append(np.nanmean(made.test[:-1, :1] <= quantile(made.residuals[0], levels), axis=0))
    inside, inside_fixed = (np.diff(np.mean(one, axis=0))[0] for one in (shares, fixed))
    assert inside_fixed < 0.4
    assert inside > 0.55
    # what is lost to 0.8: the outermost of the calm days' errors is as wide as it goes


def test_a_longer_history_of_misses_widens_the_fan():
    made = calibrate(persistence, days_of(walk(300, seed=1), 50, 200), window=3)
    wild = walk(200, seed=2, deviation=0.05)
    short = fan(persistence, wild[-3:], 3, 1, [0.1, 0.9], made)
    long = fan(persistence, wild, 3, 1, [0.1, 0.9], made)
    assert np.diff(long.quantiles[:, 0]) > 1.2 * np.diff(short.quantiles[:, 0])
    assert long.mean == short.mean


def test_without_levels_there_are_no_quantiles():
    made = fan(persistence, walk(5, seed=1), 3, 2)
    assert made.quantiles.shape == (0, 2)
    assert len(made.mean) == 2
