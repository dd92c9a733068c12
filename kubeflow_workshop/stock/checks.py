"""Are these prices fit to train on? Rules for a table of prices, checked with pandera.

Taught in notebook 06. `prices` refuses a file that cannot be read as prices, and names the row in
it. Here a table is judged, wherever it comes from, also by rules that compare its fields with each
other, and all failures are found, not only the first one. The numbers that both use stand in
`prices`. No TensorFlow here.
"""

import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.stock.prices import CHEAPEST, COLUMNS, DEAREST, LONGEST_GAP, PRICES

if TYPE_CHECKING:
    import pandera.pandas as pa

FEWEST_DAYS = 120
"""Half a year. The newest tenth then has 10 test days or more, with windows of up to 20 days; on
fewer test days, a skill has no interval.
"""
CENT = 0.01
"""Dollars. Prices are rounded, so one may lie outside its day's range by this much."""
SPLIT = 0.04
"""How far the logarithm of a jump may be from that of a whole number, if the jump is to look like a
split. Apple's fall of 2000-09-29, which was real, is 0.052 away from one half.
"""


def _low_is_lowest(frame: pd.DataFrame) -> pd.Series:
    day = _sound(frame)
    return ~(day["low"] > day[["open", "close"]].min(axis="columns") + CENT)


def _high_is_highest(frame: pd.DataFrame) -> pd.Series:
    day = _sound(frame)
    return ~(day["high"] < day[["open", "close"]].max(axis="columns") - CENT)


def _no_split(frame: pd.DataFrame) -> pd.Series:
    """A split happens overnight, so the change from open to close is taken out. A factor of 3 to 2
    cannot be told from a bad night, and is not looked for.
    """
    day = _sound(frame)
    jump = day["adj_close"].shift() / day["adj_close"] * day["close"] / day["open"]
    factor = np.maximum(jump, 1 / jump)
    whole = factor.round()
    return ~((whole >= 2) & (np.log(factor / whole).abs() < SPLIT))


def _sound(frame: pd.DataFrame) -> pd.DataFrame:
    """The prices, NaN where one is out of range: that breaks a rule of its own, and no other."""
    return frame[PRICES].where((frame[PRICES] >= CHEAPEST) & (frame[PRICES] <= DEAREST))


_ACROSS: dict[str, tuple[str, Callable[[pd.DataFrame], pd.Series]]] = {
    "must not be above the open and close of its day": ("low", _low_is_lowest),
    "must not be below the open and close of its day": ("high", _high_is_highest),
    "must not jump overnight to 1/2, 1/3 … or 2, 3 … times the price, as at a split": (
        "adj_close",
        _no_split,
    ),
}
"""Rule → the column that it is about, and the function that says on which days it holds."""
_ENOUGH = f"must be there for at least {FEWEST_DAYS} days"


def types() -> "pa.DataFrameSchema":
    """Which columns there must be, and of which type. Taught in notebook 06."""
    import pandera.pandas as pa

    return pa.DataFrameSchema(
        {name: pa.Column("float64", nullable=True) for name in COLUMNS},
        index=pa.Index("datetime64[ns]", name="date"),
        unique_column_names=True,
    )


def order() -> "pa.DataFrameSchema":
    """Each day once, the oldest first. Taught in notebook 06."""
    import pandera.pandas as pa

    once = pa.Check(lambda days: ~days.duplicated(), error="must be there only once")
    later = pa.Check(
        lambda days: ~(days.diff() < pd.Timedelta(0)),
        error="must not be earlier than the row before",
    )
    return pa.DataFrameSchema(index=pa.Index(name="date", checks=[once, later]))


def values() -> "pa.DataFrameSchema":
    """What the numbers must be, each by itself and beside the others. Taught in notebook 06."""
    import pandera.pandas as pa

    number = pa.Check(lambda column: column.notna(), ignore_na=False, error="must be a number")
    price = pa.Check.in_range(
        CHEAPEST, DEAREST, error=f"must be above zero, and at most {DEAREST:g} dollars"
    )
    volume = pa.Check.in_range(0, sys.float_info.max, error="must be zero or more")
    gap = pa.Check(
        lambda days: ~(days.diff() > LONGEST_GAP),
        error=f"must come at most {LONGEST_GAP.days} days after the row before",
    )
    return pa.DataFrameSchema(
        {name: pa.Column(checks=[number, price], nullable=True) for name in PRICES}
        | {"volume": pa.Column(checks=[number, volume], nullable=True)},
        index=pa.Index(name="date", checks=gap),
        checks=[
            *(pa.Check(holds, error=rule) for rule, (_, holds) in _ACROSS.items()),
            pa.Check(lambda frame: len(frame) >= FEWEST_DAYS, error=_ENOUGH),
        ],
    )


def failures(frame: pd.DataFrame) -> pd.DataFrame:
    """Everything that is wrong with a table of prices, one row per rule and day.

    Taught in notebook 06. First come the `types`, then the `order` of the days, then the `values`;
    what follows after a failure is not looked at.

    Args:
        frame: prices; if all is well, in the shape that `prices` describes.

    Returns:
        The columns `column`, `rule` (such as "must be above zero …"), `day` (NaT where the rule is
        about the whole table) and `value` (of that column on that day; of the whole table, what it
        has instead), in the order of columns and days. No rows if all is well.
    """
    found: list[tuple] = []
    for schema in (types, order, values):
        if not found:
            found = _broken(schema(), frame)
    table = pd.DataFrame(found, columns=["column", "rule", "day", "value"])
    places = {name: place for place, name in enumerate(["date", *COLUMNS])}
    return table.astype({"day": "datetime64[ns]"}).sort_values(
        ["column", "rule", "day"],
        key=lambda part: part.map(places) if part.name == "column" else part,
        ignore_index=True,
    )


def _broken(schema: "pa.DataFrameSchema", frame: pd.DataFrame) -> list[tuple]:
    """What pandera finds, in the words of this module; in no order."""
    import pandera.pandas as pa

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # pandas', about pandera's own tables
            schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases
    else:
        return []
    found = []
    for case in cases.itertuples(index=False):
        column, rule, value, day = case.column, case.check, case.failure_case, case.index
        if rule in _ACROSS and column != _ACROSS[rule][0]:
            continue  # of a rule that compares columns, pandera names them all
        if rule == "column_in_dataframe":
            column, rule, value = value, "must be among the columns", None
        elif rule == "dataframe_column_labels_unique":
            column, rule, value = value[0], "must be among the columns only once", None
        elif rule.startswith("dtype("):
            rule = f"must be of type {rule[7:-2]}"
        elif rule.startswith("field_name("):
            column, rule = "date", "must be the name of the index"
        elif rule == _ENOUGH:
            column, value = "date", len(frame)
        elif column == "date":
            day = value  # pandera 0.24 gives the row's number
        found.append((column, rule, pd.to_datetime(day), value))
    return found


def check(frame: pd.DataFrame, series: str = "the prices") -> None:
    """Let prices pass that are fit to train on.

    Taught in notebook 06.

    Args:
        frame: the prices.
        series: what to call them in the message, such as `IBM (bundled)`.

    Raises:
        CourseError: if a rule is broken; the message names the column, the rule, how many days
            break it, and the first of them with its value. Of many broken rules, it names three.
    """
    told = []
    for (column, rule), broken in failures(frame).groupby(["column", "rule"], sort=False):
        day, value = broken["day"].iloc[0], broken["value"].iloc[0]
        what = f"{value:g}" if isinstance(value, float) else f"{value}"
        if pd.isna(day):
            told.append(f"{column} {rule}" + ("" if value is None else f" (now: {what})"))
        else:
            days = "1 day:" if len(broken) == 1 else f"{len(broken)} days, first on"
            shown = "" if column == "date" else f", where it is {what}"
            told.append(f"{column} {rule} (broken on {days} {day:%Y-%m-%d}{shown})")
    if told:
        more = f"; and {len(told) - 3} more" if len(told) > 3 else ""
        raise CourseError(
            f"{series} cannot be trained on, since {'; '.join(told[:3])}{more}: mend the data, or"
            " take other days or another source."
        )
