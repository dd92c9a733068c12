"""How good is a forecast? Persistence beside every score, how sure we are of the difference, and
every year in turn.

Taught in notebook 04. No TensorFlow here: a forecast is an array of dollars, whoever made it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.stock.windows import Windows


@dataclass(frozen=True)
class Scores:
    """A forecast held against what came, and against persistence on the same days.

    Attributes:
        days: how many days were forecast.
        mae, rmse: mean absolute and root mean squared error, dollars.
        persistence_mae, persistence_rmse: the same of persistence.
        skill: 1 - mae / persistence_mae: 0 is as good as persistence, below 0 is worse, 1 is
            perfect.
        skill_low, skill_high: 95 % interval of the skill, from a stationary bootstrap over the
            days; NaN below 10 days.
        hits: share of the days, of those whose price moved, on which the forecast was on the right
            side of today's price.
        hits_low, hits_high: 95 % interval of that share (Wilson, 1927).
        ups: share of those days on which the price rose: what "always up" would have hit.
        dm: Diebold-Mariano statistic of the absolute errors; above 0 when persistence is better.
        dm_p: probability of a statistic at least as far from 0 if both are equally good.
    """

    days: int
    mae: float
    rmse: float
    persistence_mae: float
    persistence_rmse: float
    skill: float
    skill_low: float
    skill_high: float
    hits: float
    hits_low: float
    hits_high: float
    ups: float
    dm: float
    dm_p: float


def persistence(windows: Windows) -> np.ndarray:
    """The forecast that costs nothing: tomorrow's price is today's. Taught in notebook 04.

    Returns:
        Dollars, float32 [windows].
    """
    return windows.today


def window_mean(windows: Windows) -> np.ndarray:
    """The forecast "tomorrow is the mean of the window": what a moving average would say. Taught in
    notebook 04.

    Returns:
        Dollars, float32 [windows].
    """
    return windows.inputs.mean(axis=(1, 2))


def mae(forecast: np.ndarray, targets: np.ndarray) -> float:
    """Mean absolute error in dollars, of two arrays [days]."""
    return float(np.abs(_errors(forecast, targets)).mean())


def rmse(forecast: np.ndarray, targets: np.ndarray) -> float:
    """Root mean squared error in dollars, of two arrays [days]."""
    return float(np.sqrt(np.square(_errors(forecast, targets)).mean()))


def score(forecast: np.ndarray, windows: Windows, resamples: int = 2000, seed: int = 0) -> Scores:
    """Score a forecast beside persistence on the same days.

    Taught in notebook 04.

    Args:
        forecast: the price forecast for each window's target, dollars; [windows].
        windows: the days to score on.
        resamples: bootstrap samples for the interval of the skill.
        seed: of those samples, so that a score can be made again.

    Raises:
        CourseError: if there is not one forecast a window.
    """
    model = np.abs(_errors(forecast, windows.targets))
    rival = np.abs(_errors(persistence(windows), windows.targets))
    moved = windows.targets != windows.today
    rose = (windows.targets > windows.today)[moved]
    hits = np.sign(forecast - windows.today)[moved] == np.where(rose, 1, -1)
    hits_interval = (
        stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
        if len(hits)
        else (np.nan, np.nan)
    )
    skill_low, skill_high = _skill_interval(model, rival, resamples, seed)
    dm, dm_p = diebold_mariano(model, rival)
    return Scores(
        days=len(windows),
        mae=float(model.mean()),
        rmse=rmse(forecast, windows.targets),
        persistence_mae=float(rival.mean()),
        persistence_rmse=rmse(persistence(windows), windows.targets),
        skill=_skill(model, rival),
        skill_low=skill_low,
        skill_high=skill_high,
        hits=float(hits.mean()) if len(hits) else np.nan,
        hits_low=float(hits_interval[0]),
        hits_high=float(hits_interval[1]),
        ups=float(rose.mean()) if len(rose) else np.nan,
        dm=dm,
        dm_p=dm_p,
    )


def diebold_mariano(losses: np.ndarray, rival: np.ndarray) -> tuple[float, float]:
    """Is the difference between two forecasts' losses more than luck?

    Taught in notebook 04. The test of Diebold and Mariano (1995) with the small-sample correction
    of Harvey, Leybourne and Newbold (1997). For a forecast of one day ahead the two together are
    the paired t-test of the losses, so that is what runs.

    Args:
        losses, rival: one loss a day of each forecast; [days], at least 2.

    Returns:
        The statistic (above 0: the rival is better) and its two-sided p; (0, 1) if the losses are
        the same every day, an infinite statistic and 0 if they differ by the same each day, NaN for
        a single day.
    """
    if np.array_equal(losses, rival):
        return 0.0, 1.0
    if len(losses) < 2:
        return np.nan, np.nan
    if np.ptp(losses - rival) == 0:
        return float(np.copysign(np.inf, losses[0] - rival[0])), 0.0
    test = stats.ttest_rel(losses, rival)
    return float(test.statistic), float(test.pvalue)


def walk_forward(
    windows: Windows,
    forecaster: Callable[[Windows], Callable[[Windows], np.ndarray]],
    first_year: int,
) -> pd.DataFrame:
    """Judge a way of forecasting on each year in turn, fitted only on the windows before that year.

    Taught in notebook 04: one test year is one draw of luck, and this is as many as there are
    years.

    Args:
        windows: all of them, in the order of time.
        forecaster: takes the windows before the year and returns what forecasts [windows] dollars
            for the windows of the year.
        first_year: the first calendar year to judge; there must be windows before it. Years of
            fewer than 20 days are left out.

    Returns:
        A row a year (index `year`), with the columns `days`, `mae`, `persistence_mae` (dollars) and
        `skill`.

    Raises:
        CourseError: if no window lies before `first_year`, or no year from it on has 20 days.
    """
    years = windows.dates.year
    if not (years < first_year).any() or not (years >= first_year).any():
        raise CourseError(
            f"year {first_year} cannot be judged: the windows run from {years[0]} to {years[-1]};"
            " give a later year than the first."
        )
    rows = []
    for year in range(first_year, years[-1] + 1):
        begin, end = np.searchsorted(years, [year, year + 1])
        if end - begin < 20:
            continue
        judged = windows[begin:end]
        error, rival = (
            mae(forecaster(windows[:begin])(judged), judged.targets),
            mae(persistence(judged), judged.targets),
        )
        rows.append(
            {
                "year": year,
                "days": len(judged),
                "mae": error,
                "persistence_mae": rival,
                "skill": 1 - error / rival if rival else np.nan,
            }
        )
    if not rows:
        raise CourseError(
            f"no year from {first_year} on has 20 days to judge; give an earlier year, or a longer"
            " range of days."
        )
    return pd.DataFrame(rows).set_index("year")


def _errors(forecast: np.ndarray, targets: np.ndarray) -> np.ndarray:
    if np.shape(forecast) != np.shape(targets):
        raise CourseError(
            f"a forecast of shape {np.shape(forecast)} does not fit {np.shape(targets)} days; give"
            " one number a day."
        )
    return np.asarray(forecast, dtype=np.float64) - targets


def _skill(losses: np.ndarray, rival: np.ndarray) -> float:
    return float(1 - losses.mean() / rival.mean()) if rival.any() else np.nan


def _skill_interval(
    losses: np.ndarray, rival: np.ndarray, resamples: int, seed: int
) -> tuple[float, float]:
    """Resample the days in blocks (Politis and Romano, 1994), since calm and wild days come in
    runs; each day keeps both losses.
    """
    if len(losses) < 10:
        return np.nan, np.nan
    # a second to import, and only scores need it
    from arch.bootstrap import StationaryBootstrap, optimal_block_length

    # where the losses do not vary, or on few days
    with np.errstate(divide="ignore", invalid="ignore"):
        # NaN becomes 1: days resampled one by one
        block = max(1.0, float(optimal_block_length(losses - rival)["stationary"].iloc[0]))
    # its types ask for whole days, and for a statistic that is an array; it needs neither
    bootstrap = StationaryBootstrap(block, losses, rival, seed=seed)  # type: ignore[arg-type]
    interval = bootstrap.conf_int(
        _skill,  # type: ignore[arg-type]
        reps=resamples,
        method="percentile",
    )
    return float(interval[0, 0]), float(interval[1, 0])
