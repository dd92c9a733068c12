"""Windows: what is in them, that they cost nothing, and that the future stays out."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.stock import prices
from kubeflow_workshop.stock.windows import Split, Windows, split, split_by_date, windows


def closes(count: int) -> pd.Series:
    return pd.Series(
        np.arange(count, dtype=float), pd.bdate_range("2012-01-02", periods=count, name="date")
    )


def test_windows_never_let_the_target_into_the_inputs():
    made = windows(closes(10), 3)
    assert made.inputs[0, :, 0].tolist() == [0, 1, 2]
    assert made.targets[0] == 3
    assert (made.inputs.max(axis=1)[:, 0] < made.targets).all()


@pytest.mark.parametrize("length", [1, 3, 60])
@pytest.mark.parametrize("ticker", ["FB", "MSFT"])
def test_windows_are_those_of_the_loop_to_the_bit(ticker, length):
    series = prices.load(ticker)["adj_close"]
    made, values = windows(series, length), series.tolist()
    inputs = np.array(
        [[[price] for price in values[day - length : day]] for day in range(length, len(values))],
        dtype=np.float32,
    )
    assert made.inputs.dtype == made.targets.dtype == np.float32
    assert made.inputs.shape == inputs.shape == (len(series) - length, length, 1)
    assert made.inputs.tobytes() == inputs.tobytes()
    assert made.targets.tobytes() == np.array(values[length:], dtype=np.float32).tobytes()
    assert made.dates.equals(series.index[length:])


def test_a_target_stands_at_its_own_day():
    series = prices.load("MSFT", "2012-03-01", "2012-03-09")["adj_close"]
    made = windows(series, 3)
    for day, target in zip(made.dates, made.targets, strict=True):
        assert target == np.float32(series[day])


def test_windows_are_a_view_of_one_array_that_cannot_be_written_to():
    made = windows(closes(1000), 50)
    assert np.shares_memory(made.inputs[0], made.inputs[1])
    assert np.shares_memory(made.inputs, made.targets)
    assert made.inputs.strides[:2] == (4, 4)
    with pytest.raises(ValueError, match="read-only"):
        made.inputs[0, 0, 0] = 1


def test_the_prices_themselves_stay_as_they_were():
    series = prices.load("FB")["adj_close"]
    before = series.copy()
    windows(series, 3)
    pd.testing.assert_series_equal(series, before)


def test_the_least_that_makes_a_window():
    made = windows(closes(4), 3)
    assert (len(made), made.targets.tolist()) == (1, [3])


def test_today_is_the_day_before_the_target():
    assert (windows(closes(10), 3).today == windows(closes(10), 3).targets - 1).all()


def test_a_part_of_the_windows_keeps_inputs_targets_and_dates_together():
    made = windows(closes(10), 3)[2:5]
    assert isinstance(made, Windows)
    assert len(made) == 3
    assert made.inputs[:, -1, 0].tolist() == [4, 5, 6]
    assert made.targets.tolist() == [5, 6, 7]
    assert made.dates.equals(closes(10).index[5:8])


@pytest.mark.parametrize(
    ("count", "length", "says"),
    [
        (10, 0, "window 0 is too short; a window holds at least 1 day"),
        (10, -3, "window -3 is too short"),
        (
            3,
            3,
            (
                "3 prices are too few for a window of 3 days and the day after it; take a shorter"
                " window or a longer range"
            ),
        ),
        (0, 1, "0 prices are too few"),
    ],
)
def test_a_window_that_cannot_be_is_refused(count, length, says):
    with pytest.raises(CourseError, match=says):
        windows(closes(count), length)


# The split


def test_the_split_is_80_10_10_and_in_the_order_of_time():
    made = windows(closes(103), 3)
    parts = split(made)
    assert [len(part) for part in parts] == [80, 10, 10]
    assert np.concatenate([part.targets for part in parts]).tolist() == made.targets.tolist()
    assert parts.train.dates[-1] < parts.validation.dates[0]
    assert parts.validation.dates[-1] < parts.test.dates[0]


@pytest.mark.parametrize("count", [10, 11, 97, 248, 3267])
def test_no_window_is_lost_or_used_twice(count):
    parts = split(windows(closes(count + 3), 3))
    assert sum(map(len, parts)) == count
    assert pd.Index(np.concatenate([part.dates for part in parts])).is_unique


def test_no_price_after_a_part_is_in_its_windows():
    """The days of the inputs are the numbers 0, 1, 2 …, so a look ahead would show."""
    for part in split(windows(closes(103), 3)):
        assert part.inputs.max() < part.targets.max()


def test_the_shares_may_be_others():
    assert [len(part) for part in split(windows(closes(103), 3), train=0.5, validation=0.25)] == [
        50,
        25,
        25,
    ]


@pytest.mark.parametrize(("count", "empty"), [(1, "train"), (2, "validation"), (5, "validation")])
def test_too_few_windows_to_split_are_refused(count, empty):
    with pytest.raises(
        CourseError,
        match=(
            f"{count} windows are too few to split: nothing is left for {empty}; take a longer"
            " range"
        ),
    ):
        split(windows(closes(count + 3), 3))


def test_shares_that_leave_nothing_to_test_are_refused():
    with pytest.raises(CourseError, match="nothing is left for test"):
        split(windows(closes(103), 3), train=0.8, validation=0.2)


def test_the_parts_have_names():
    assert Split._fields == ("train", "validation", "test")


# The split by date


@pytest.mark.parametrize("length", [1, 3, 20])
def test_a_split_by_date_gives_the_same_days_whatever_the_length_of_the_window(length):
    parts = split_by_date(windows(closes(103), length), "2012-04-02", "2012-05-01")
    assert parts.train.dates[-1] == pd.Timestamp("2012-03-30")  # a Friday
    assert parts.validation.dates[[0, -1]].tolist() == [
        pd.Timestamp("2012-04-02"),
        pd.Timestamp("2012-04-30"),
    ]
    assert parts.test.dates[[0, -1]].tolist() == [pd.Timestamp("2012-05-01"), closes(103).index[-1]]
    assert len(parts.train) + length == 65
    assert sum(map(len, parts)) == 103 - length


def test_a_day_without_trading_stands_for_the_next_one():
    made = windows(closes(103), 3)
    friday, saturday = "2012-03-30", date(2012, 3, 31)
    assert split_by_date(made, saturday, "2012-05-01").validation.dates[0] == pd.Timestamp(
        "2012-04-02"
    )
    assert split_by_date(made, friday, saturday).validation.dates.tolist() == [pd.Timestamp(friday)]


def test_the_shares_and_their_dates_are_the_same_split():
    made = windows(closes(103), 3)
    parts = split(made)
    again = split_by_date(made, parts.validation.dates[0], parts.test.dates[0])
    for part, other in zip(parts, again, strict=True):
        assert part.targets.tolist() == other.targets.tolist()


@pytest.mark.parametrize(
    ("first", "second", "empty"),
    [
        ("2012-01-02", "2012-05-01", "train"),
        ("2012-05-01", "2012-04-02", "validation"),
        ("2012-05-01", "2012-05-01", "validation"),
        ("2012-04-02", "2013-01-01", "test"),
    ],
)
def test_days_that_do_not_fit_are_refused(first, second, empty):
    with pytest.raises(CourseError) as refused:
        split_by_date(windows(closes(103), 3), first, second)
    assert str(refused.value) == (
        f"validation-from {first} and test-from {second} leave no day for {empty}; the targets run"
        " from 2012-01-05 to 2012-05-23; give two of them, the earlier one first."
    )


def test_a_day_that_is_none_is_refused():
    with pytest.raises(CourseError, match="test-from 'May' is no day; write it as 2012-03-01"):
        split_by_date(windows(closes(103), 3), "2012-04-02", "May")
