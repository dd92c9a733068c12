"""The check of the data: the real prices pass, and each way to break them is told in a sentence."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.stock import checks, prices

pytestmark = pytest.mark.filterwarnings("error")  # a learner would see them

DAY = "2012-11-01"


def with_cell(frame: pd.DataFrame, column: str, value: float) -> pd.DataFrame:
    """The prices with another value in one field, on `DAY`."""
    changed = frame.copy()
    changed.loc[DAY, column] = value
    return changed


def divided(frame: pd.DataFrame, factor: float, columns: list[str]) -> pd.DataFrame:
    """The prices as after a split on `DAY` that nobody has adjusted."""
    changed = frame.copy()
    changed.loc[DAY:, columns] /= factor
    return changed


@pytest.mark.parametrize("ticker", prices.cards())
def test_the_bundled_prices_pass(ticker):
    """Among them is Apple's 2000-09-29, when it lost half of its value within a night and a day."""
    frame = prices.load(ticker)
    assert checks.failures(frame).empty
    checks.check(frame)


@pytest.mark.parametrize(
    ("ticker", "days"),
    [("MSFT", ["2003-02-18"]), ("AAPL", ["2000-06-21", "2005-02-28"]), ("IBM", [])],
)
def test_prices_that_are_not_adjusted_fail_on_the_days_of_the_real_splits(ticker, days):
    frame = prices.load(ticker)
    found = checks.failures(frame.assign(adj_close=frame["close"]))
    assert found["day"].dt.strftime("%Y-%m-%d").tolist() == days
    assert set(found["column"]) <= {"adj_close"}
    assert found["value"].tolist() == frame.loc[days, "close"].tolist()


SPLIT = "adj_close must not jump overnight to 1/2, 1/3 … or 2, 3 … times the price, as at a split"
BROKEN = {
    "a column less": (
        lambda frame: frame.drop(columns=["low", "volume"]),
        "low must be among the columns; volume must be among the columns:",
    ),
    "a column twice": (
        lambda frame: pd.concat([frame, frame["close"]], axis="columns"),
        "close must be among the columns only once:",
    ),
    "text": (
        lambda frame: frame.astype({"close": str}),
        "close must be of type float64 (now: object):",
    ),
    "rows without days": (
        lambda frame: frame.reset_index(drop=True),
        "date must be of type datetime64[ns] (now: int64); date must be the name of the index:",
    ),
    "another name": (
        lambda frame: frame.rename_axis("day"),
        "date must be the name of the index (now: day):",
    ),
    "a day twice": (
        lambda frame: frame.iloc[[*range(5), *range(4, len(frame))]],
        "date must be there only once (broken on 1 day: 2012-09-11):",
    ),
    "newest first": (
        lambda frame: frame.iloc[::-1],
        "date must not be earlier than the row before (broken on 120 days, first on 2012-09-05):",
    ),
    "a gap": (
        lambda frame: prices.load("MSFT", start="2012-03-01").drop(frame.index[50:58]),
        "date must come at most 10 days after the row before (broken on 1 day: 2012-11-29):",
    ),
    "two days too few": (
        lambda frame: frame.iloc[2:],
        "date must be there for at least 120 days (now: 119):",
    ),
    "no day": (lambda frame: frame.iloc[:0], "date must be there for at least 120 days (now: 0):"),
    "a negative price": (
        lambda frame: with_cell(frame, "close", -3.2),
        "close must be above zero, and at most 1e+12 dollars (broken on 1 day: 2012-11-01, where it"
        " is -3.2):",
    ),
    "an infinite price": (
        lambda frame: with_cell(frame, "open", np.inf),
        "open must be above zero, and at most 1e+12 dollars (broken on 1 day: 2012-11-01, where it"
        " is inf):",
    ),
    "no number": (
        lambda frame: with_cell(frame, "adj_close", np.nan),
        "adj_close must be a number (broken on 1 day: 2012-11-01, where it is nan):",
    ),
    "a negative volume": (
        lambda frame: with_cell(frame, "volume", -1),
        "volume must be zero or more (broken on 1 day: 2012-11-01, where it is -1):",
    ),
    "a low above the others": (
        lambda frame: with_cell(frame, "low", 290),
        "low must not be above the open and close of its day (broken on 1 day: 2012-11-01, where it"
        " is 290):",
    ),
    "a high below the others": (
        lambda frame: with_cell(frame, "high", 2.9),
        "high must not be below the open and close of its day (broken on 1 day: 2012-11-01, where"
        " it is 2.9):",
    ),
    "a split": (
        lambda frame: divided(frame, 2, prices.PRICES),
        f"{SPLIT} (broken on 1 day: 2012-11-01, where it is ",
    ),
    "a split in the adjusted prices alone": (
        lambda frame: divided(frame, 7, ["adj_close"]),
        f"{SPLIT} (broken on 1 day: 2012-11-01, where it is ",
    ),
    "a split the other way round": (
        lambda frame: divided(frame, 1 / 10, prices.PRICES),
        f"{SPLIT} (broken on 1 day: 2012-11-01, where it is ",
    ),
    "a decimal point in the wrong place": (
        lambda frame: with_cell(frame, "adj_close", frame.loc[DAY, "adj_close"] * 100),
        f"{SPLIT} (broken on 2 days, first on 2012-11-01, where it is ",
    ),
}


@pytest.mark.parametrize(("change", "says"), BROKEN.values(), ids=BROKEN)
def test_each_way_to_break_the_prices_is_told_in_one_sentence(change, says, frame):
    with pytest.raises(CourseError) as told:
        checks.check(change(frame), "MSFT (bundled)")
    assert str(told.value).startswith(f"MSFT (bundled) cannot be trained on, since {says}")
    assert "; and " not in str(told.value)  # nothing else is said to be wrong
    assert str(told.value).endswith("mend the data, or take other days or another source.")


def test_of_many_broken_rules_three_are_told_and_the_others_counted(frame):
    with pytest.raises(CourseError, match=r"open .+; high .+; low .+; and 3 more: mend"):
        checks.check(-frame)


def test_all_failures_are_in_the_table_by_column_and_day(frame):
    broken = with_cell(with_cell(frame, "volume", -1), "close", -2)
    broken.iloc[[3, 1], 0] = 0
    table = checks.failures(broken)
    assert table[["column", "value"]].values.tolist() == [
        ["open", 0],
        ["open", 0],
        ["close", -2],
        ["volume", -1],
    ]
    assert table["day"].tolist() == [*broken.index[[1, 3]], pd.Timestamp(DAY), pd.Timestamp(DAY)]


def test_prices_are_rounded_so_a_cent_beside_the_range_of_the_day_is_no_failure(frame):
    least = frame.loc[DAY, ["open", "close"]].min()
    assert checks.failures(with_cell(frame, "low", least + 0.01)).empty
    assert not checks.failures(with_cell(frame, "low", least + 0.011)).empty


@pytest.mark.parametrize("factor", [2.2, 1.5, 1.3])
def test_a_jump_that_is_not_near_a_whole_factor_is_taken_for_a_bad_night(factor, frame):
    assert checks.failures(divided(frame, factor, prices.PRICES)).empty


@pytest.mark.parametrize(
    "name",
    ["a day twice", "newest first", "a gap", "a negative price", "no number", "a negative volume"],
)
def test_a_file_is_refused_for_what_the_table_would_be_refused_for(name, frame, tmp_path):
    """`prices.read_csv` and `check` share their numbers, and must not drift apart."""
    BROKEN[name][0](frame).to_csv(tmp_path / "prices.csv")
    with pytest.raises(CourseError, match=r"prices.csv, row \d+"):
        prices.read_csv(tmp_path / "prices.csv")


def test_a_file_of_prices_passes_after_it_was_written_and_read(frame, tmp_path):
    frame.to_csv(tmp_path / "prices.csv")
    checks.check(prices.read_csv(tmp_path / "prices.csv"))


def test_checking_loads_no_tensorflow():
    """In a process of its own: the step of the pipeline is one."""
    code = (
        "import sys; from kubeflow_workshop.stock import checks, prices;"
        " checks.check(prices.load('FB'));"
        " print('pandera' in sys.modules, {'tensorflow', 'keras'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True set()\n"
    assert done.stderr == ""
