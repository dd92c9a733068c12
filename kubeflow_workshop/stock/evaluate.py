"""How good is a forecast? Each score stands beside that of persistence, with an interval, and a
forecast can be judged year by year.

Taught in notebook 04. No TensorFlow here: a forecast is an array of dollars, whatever model it
comes from.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy import stats

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.stock.windows import Windows


@dataclass(frozen=True)
class Scores:
    """How far a forecast was from the real prices, and persistence on the same days.

    Attributes:
        days: how many days were forecast.
        mae, rmse: mean absolute and root mean squared error, dollars.
        persistence_mae, persistence_rmse: the same errors, made by persistence.
        skill: 1 - mae / persistence_mae: 0 is as good as persistence, below 0 is worse, 1 is
            perfect.
        skill_low, skill_high: 95 % interval of the skill, from a stationary bootstrap over the
            days; NaN for fewer than 10 days.
        hits: of the days on which the price moved, the share on which the forecast was on the right
            side of today's price.
        hits_low, hits_high: 95 % interval of that share (Wilson, 1927).
        ups: of the same days, the share on which the price rose. A forecast that always says "up"
            hits this share.
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

    def as_json(self) -> dict[str, float | None]:
        """The scores by name, as JSON can hold them: None for what is not a finite number, which
        happens on very few test days.
        """
        return {
            name: value if math.isfinite(value) else None for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, scores: Mapping[str, float | None]) -> "Scores":
        """The scores of a model version's card, or of a pipeline's step: what `as_json` gave, with
        NaN for None.

        Raises:
            CourseError: if a score is missing, or one is there that is unknown.
        """
        if set(scores) != set(cls.__dataclass_fields__):
            raise CourseError(
                f"scores are {', '.join(cls.__dataclass_fields__)}, and not {', '.join(scores)};"
                " give those of a model version's card.json, or train the version again."
            )
        days = int(scores["days"] or 0)  # a pipeline may have made 327.0 of it
        others = {name: scores[name] for name in scores if name != "days"}
        return cls(days, **{n: math.nan if v is None else v for n, v in others.items()})


def persistence(windows: Windows) -> np.ndarray:
    """The forecast that costs nothing: tomorrow's price is today's. Taught in notebook 04.

    Returns:
        Dollars, float32 [windows].
    """
    return windows.today


def window_mean(windows: Windows) -> np.ndarray:
    """The forecast of a moving average: tomorrow's price is the mean of the window. Taught in
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
        resamples: how many bootstrap samples the interval of the skill is made from.
        seed: for drawing these samples; the same seed gives the same interval.

    Raises:
        CourseError: if there is not exactly one forecast per window.
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
    of Harvey, Leybourne and Newbold (1997). For forecasts of one day ahead, both together are the
    paired t-test of the losses, so that is what runs.

    The test compares two forecasts as they were made, and not the models behind them. Where one
    model contains the other, as `relative` contains persistence, noise in its extra weights counts
    against it; Clark and West (2007) correct for that.

    Args:
        losses, rival: one loss per day for each forecast; [days].

    Returns:
        The statistic (above 0 if the rival is better) and its two-sided p. They are 0 and 1 if the
        losses are the same on every day, infinite and 0 if they differ by the same amount on every
        day, and NaN if there is only one day.
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
) -> np.ndarray:
    """Forecast one year after the other, each time fitted on the windows before that year.

    Taught in notebook 04: one month of test days is one draw of luck, and this gives many years of
    them. No window is forecast by a model that has seen its target.

    Args:
        windows: all windows, in the order of time.
        forecaster: takes the windows before a year, and returns the function that forecasts the
            windows of that year: dollars, [windows].
        first_year: the first calendar year to forecast; there must be windows before it.

    Returns:
        One forecast for each window from `first_year` on, dollars; [days]. `score` and `by_year`
        judge them.

    Raises:
        CourseError: if there is no window before `first_year`, or none from it on.
    """
    years = windows.dates.year
    if not (years < first_year).any() or not (years >= first_year).any():
        raise CourseError(
            f"year {first_year} cannot be judged: the windows run from {years[0]} to {years[-1]};"
            f" give a year from {years[0] + 1} to {years[-1]}."
        )
    forecasts = []
    for year in years[years >= first_year].unique():
        begin, end = np.searchsorted(years, [year, year + 1])
        forecasts.append(forecaster(windows[:begin])(windows[begin:end]))
    return np.concatenate(forecasts)


def by_year(forecast: np.ndarray, windows: Windows) -> pd.DataFrame:
    """Judge a forecast in each calendar year by itself.

    Taught in notebook 04.

    Args:
        forecast: the price forecast for each window's target, dollars; [windows].
        windows: the days to judge it on, in the order of time.

    Returns:
        One row per year (index `year`), with the columns `days`, `mae`, `persistence_mae` (dollars)
        and `skill`.

    Raises:
        CourseError: if there is not exactly one forecast per window.
    """
    losses = pd.DataFrame(
        {
            "mae": np.abs(_errors(forecast, windows.targets)),
            "persistence_mae": np.abs(_errors(persistence(windows), windows.targets)),
        }
    ).groupby(windows.dates.year.rename("year"))
    table = losses.mean()
    table.insert(0, "days", losses.size())
    # where the price never moved, there is no skill
    return table.assign(skill=1 - table.mae / table.persistence_mae.replace(0, np.nan))


def _errors(forecast: np.ndarray, targets: np.ndarray) -> np.ndarray:
    if np.shape(forecast) != np.shape(targets):
        raise CourseError(
            f"a forecast of shape {np.shape(forecast)} does not fit {np.shape(targets)} days; give"
            " one number per day."
        )
    return np.asarray(forecast, dtype=np.float64) - targets


def _skill(losses: np.ndarray, rival: np.ndarray) -> float:
    return float(1 - losses.mean() / rival.mean()) if rival.any() else np.nan


def _skill_interval(
    losses: np.ndarray, rival: np.ndarray, resamples: int, seed: int
) -> tuple[float, float]:
    """Resample the days in blocks (Politis and Romano, 1994), because calm and wild days come in
    runs; both losses of a day stay together.
    """
    if len(losses) < 10:
        return np.nan, np.nan
    # its import takes a second, and only scores need it
    from arch.bootstrap import StationaryBootstrap, optimal_block_length

    # Where the difference does not vary, this divides by zero and is NaN; on few days it can be 0.
    # In both cases the floor resamples the days one by one.
    with np.errstate(divide="ignore", invalid="ignore"):
        block = max(1.0, float(optimal_block_length(losses - rival)["stationary"].iloc[0]))
    # its types ask for whole days, and for a statistic that is an array; it needs neither
    bootstrap = StationaryBootstrap(block, losses, rival, seed=seed)  # type: ignore[arg-type]
    interval = bootstrap.conf_int(
        _skill,  # type: ignore[arg-type]
        reps=resamples,
        method="percentile",
    )
    return float(interval[0, 0]), float(interval[1, 0])
