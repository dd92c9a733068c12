"""A forecast of several days, and how wide it must be.

Taught in notebook 09. No KServe and no TensorFlow here: a model is any function from windows,
float32 [batch, window, 1], to the next value, float32 [batch, 1].

How far off a forecast may be is read from how far off it was. For each horizon there is a set of
errors on the days of validation, made by forecasts over as many days, in shares of the day's price.
Quantiles of that set are added to the forecast (split conformal prediction). Each level then moves
with the days: where too few outcomes lay below it, it rises (adaptive conformal inference: Gibbs
and Candès, 2021).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

Model = Callable[[np.ndarray], np.ndarray]
LONGEST = 20
"""Trading days that are forecast at most: four weeks."""
FEWEST = 10
"""Errors of one horizon with which a quantile is given."""
STEP = 0.05
"""How far a level moves at each outcome (γ)."""
MEMORY = 250
"""Days of a series to which the levels adapt: about a year."""


def ahead(model: Model, windows: np.ndarray, horizon: int) -> np.ndarray:
    """Forecast several days: each forecast becomes the last day of the next window.

    Taught in notebook 09.

    Args:
        model: forecasts one day.
        windows: float32 [batch, window, 1], oldest first.
        horizon: how many days, at least 1.

    Returns:
        float32 [batch, horizon].
    """
    made = []
    for _ in range(horizon):
        made.append(model(windows))
        windows = np.concatenate([windows[:, 1:], made[-1][:, None]], axis=1)
    return np.concatenate(made, axis=1)


def trading_days(after: date, count: int) -> list[date]:
    """The next trading days: Monday to Friday. A holiday of the exchange counts as one, since a
    model version does not say which exchange its prices come from.

    Taught in notebook 09.
    """
    days: list[date] = []
    day = after
    while len(days) < count:
        day += timedelta(days=1)
        if day.weekday() < 5:
            days.append(day)
    return days


def errors(model: Model, values: np.ndarray, window: int, horizon: int) -> np.ndarray:
    """Forecast from every day that has a whole window, and compare with what came.

    Args:
        model: forecasts one day.
        values: one series, oldest first; [days], at least `window`.
        window: days in a window.
        horizon: how many days to forecast.

    Returns:
        (outcome - forecast) / the day's value; float [days - window + 1, horizon], NaN where the
        outcome is not known. Column 0 is one day ahead.
    """
    made = np.lib.stride_tricks.sliding_window_view(values.astype(np.float32), window)[..., None]
    forecasts = ahead(model, made, horizon)
    origins = values[window - 1 :].astype(float)
    outcomes = np.full(forecasts.shape, np.nan)
    for step in range(1, horizon + 1):
        known = origins[step:]
        outcomes[: len(known), step - 1] = known
    with np.errstate(divide="ignore", invalid="ignore"):  # a value may be 0
        found = (outcomes - forecasts) / origins[:, None]
    return np.where(np.isfinite(found), found, np.nan)


@dataclass(frozen=True)
class Calibration:
    """What a version knows of its own errors.

    Attributes:
        residuals: one sorted array per horizon, of the validation days: (outcome - forecast) /
            the value on which the forecast stood.
        test: the errors of the forecasts whose first outcome is a test day, as `errors` gives them.
    """

    residuals: list[np.ndarray]
    test: np.ndarray


def calibrate(model: Model, days: dict, window: int) -> Calibration:
    """Forecast over the days of validation and test of a version, and keep the errors.

    Taught in notebook 09. An error belongs to the part in which its outcome lies.

    Args:
        model: forecasts one day.
        days: `prices` and their `dates`, oldest first, from a window before the first day of
            validation; `validation_from` and `test_from`, days among them.
        window: days in a window.
    """
    values, dates = np.asarray(days["prices"], np.float32), list(days["dates"])
    validation, test = dates.index(days["validation_from"]), dates.index(days["test_from"])
    found = errors(model, values, window, LONGEST)
    last = np.arange(window - 1, len(values))  # where in `values` each origin is
    residuals = []
    for step in range(1, LONGEST + 1):
        inside = (last + step >= validation) & (last + step < test)
        seen = found[inside, step - 1]
        residuals.append(np.sort(seen[~np.isnan(seen)]))
    return Calibration(residuals, found[last + 1 >= test])


def quantile(residuals: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The conformal quantiles of sorted errors: below each of them a new error lies with at least
    that probability, if it comes from where they came from. Beyond what so few errors can tell, it
    is the outermost of them.

    Args:
        residuals: sorted.
        levels: between 0 and 1, and a little beyond where they have adapted; any shape.

    Returns:
        The same shape.
    """
    # rounded, since 0.9 * 10 is a little above 9
    rank = np.ceil(np.round((len(residuals) + 1) * levels, 9)).astype(int)
    return residuals[np.clip(rank, 1, len(residuals)) - 1]


def adapt(residuals: np.ndarray, seen: np.ndarray, levels: np.ndarray, horizon: int) -> np.ndarray:
    """Walk over forecasts in the order of time, and let levels follow the outcomes.

    Taught in notebook 09. Gibbs and Candès (2021), for one side: after an outcome below the
    quantile a level falls by γ (1 - level), and after one above it rises by γ level. A forecast
    over several days has its outcome as many days later, and only then the level moves.

    Args:
        residuals: sorted, of this horizon.
        seen: the error of each forecast, in the order of time, NaN where it is not known; [days].
        levels: the shares of outcomes that shall lie below; [levels].
        horizon: the days after which an outcome is known.

    Returns:
        The levels with which each forecast was made, and at the end those of the next one; float
        [days + 1, levels].
    """
    used = np.empty((len(seen) + 1, len(levels)))
    used[:horizon] = levels
    for known, error in enumerate(seen[: max(0, len(seen) + 1 - horizon)]):
        then = known + horizon  # the first forecast that is made when this outcome is known
        below = error <= quantile(residuals, used[known])
        moved = 0 if np.isnan(error) else STEP * (levels - below)
        used[then] = used[then - 1] + moved
    return used


def coverage(calibration: Calibration, levels: np.ndarray, horizon: int) -> np.ndarray:
    """For each level, the share of outcomes on the test days that lay below it, made as it is
    served; NaN if there were none.
    """
    residuals, seen = calibration.residuals[horizon - 1], calibration.test[:, horizon - 1]
    used = adapt(residuals, seen, levels, horizon)[:-1]
    known = ~np.isnan(seen)
    if not known.any():
        return np.full(len(levels), np.nan)
    return (seen[known, None] <= quantile(residuals, used[known])).mean(axis=0)


@dataclass(frozen=True)
class Fan:
    """A forecast of one series.

    Attributes:
        mean: one value per day; [horizon].
        quantiles: [levels, horizon].
        coverage: the share of the test days on which the outcome lay below, NaN where they are too
            few to tell; [levels, horizon].
    """

    mean: np.ndarray
    quantiles: np.ndarray
    coverage: np.ndarray


def fan(
    model: Model,
    values: np.ndarray,
    window: int,
    horizon: int,
    levels: Sequence[float] = (),
    calibration: Calibration | None = None,
) -> Fan:
    """Forecast one series. The more days of it are known, the more the quantiles have adapted.

    Taught in notebook 09.

    Args:
        model: forecasts one day.
        values: the series, oldest first; [days], at least `window`.
        window: days in a window.
        horizon: how many days to forecast.
        levels: of the quantiles, between 0 and 1, the lowest first.
        calibration: where the quantiles come from; not needed without levels.
    """
    mean = ahead(model, values[None, -window:, None].astype(np.float32), horizon)[0]
    if calibration is None or not levels:
        return Fan(mean, np.empty((0, horizon)), np.empty((0, horizon)))
    known = errors(model, values[-(MEMORY + window) :], window, horizon)[:-1]
    wanted, columns, covered = np.array(levels), [], []
    for day in range(horizon):
        residuals = calibration.residuals[day]
        now = adapt(residuals, known[:, day], wanted, day + 1)[-1]
        columns.append(mean[day] + values[-1] * quantile(residuals, now))
        covered.append(coverage(calibration, wanted, day + 1))
    # each level moves alone, so two may have crossed
    return Fan(mean, np.sort(np.array(columns).T, axis=0), np.array(covered).T)
