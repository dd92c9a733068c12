"""Windows of past prices, each with the price that followed, and their split in the order of time.

Taught in notebook 03. No TensorFlow here.
"""

from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np
import pandas as pd

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.stock.prices import read_day


@dataclass(frozen=True)
class Windows:
    """Windows in the order of time. `windows[a:b]` takes some of them; `len(windows)` counts them.

    Attributes:
        inputs: the prices in each window, dollars, oldest first; float32 [windows, length, 1].
        targets: the price after each window, dollars; float32 [windows].
        dates: the days of the targets; DatetimeIndex [windows].
    """

    inputs: np.ndarray
    targets: np.ndarray
    dates: pd.Index

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, part: slice) -> "Windows":
        return Windows(self.inputs[part], self.targets[part], self.dates[part])

    @property
    def today(self) -> np.ndarray:
        """The last price of each window, the day before its target; float32 [windows]."""
        return self.inputs[:, -1, 0]


class Split(NamedTuple):
    """Three runs of windows, one after the other in time."""

    train: Windows
    validation: Windows
    test: Windows


def windows(prices: pd.Series, length: int) -> Windows:
    """Every run of `length` consecutive prices, with the price that follows it.

    Taught in notebook 03.

    Args:
        prices: closing prices in dollars, oldest first, no gaps; shape [days].
        length: days in a window, at least 1.

    Returns:
        Windows with `inputs` float32 [days - length, length, 1], `targets` float32 [days - length]
        and the `dates` of the targets. The inputs are a view of one array, and not copies, so they
        cannot be written to.

    Raises:
        CourseError: if `length` is below 1, or there are not at least `length` + 1 prices.
    """
    if length < 1:
        raise CourseError(f"window {length} is too short; a window holds at least 1 day.")
    if len(prices) < length + 1:
        raise CourseError(
            f"{len(prices)} prices are too few for a window of {length} days and the day after it;"
            " take a shorter window or a longer range."
        )
    closes = prices.to_numpy(dtype=np.float32)
    inputs = np.lib.stride_tricks.sliding_window_view(closes[:-1], length)[..., np.newaxis]
    return Windows(inputs, closes[length:], prices.index[length:])


def split(made: Windows, train: float = 0.8, validation: float = 0.1) -> Split:
    """Split windows by shares: the oldest train, the next validate, the newest test.

    Taught in notebook 03; the shares of the talk are 80, 10 and 10 %. Nothing is shuffled, so every
    training target is older than every validation target, and every validation target is older
    than every test target. A longer window makes fewer windows, so the length of the window moves
    the borders; `split_by_date` holds them still.

    Args:
        made: windows in the order of time.
        train, validation: shares of the windows, above 0, together below 1; the rest is the test.

    Raises:
        CourseError: if a part would be empty.
    """
    first, second = int(len(made) * train), int(len(made) * (train + validation))
    parts = Split(made[:first], made[first:second], made[second:])
    for name, part in zip(Split._fields, parts, strict=True):
        if not len(part):
            raise CourseError(
                f"{len(made)} windows are too few to split: nothing is left for {name}; take a"
                " longer range of days or a shorter window."
            )
    return parts


def split_by_date(made: Windows, validation_from: str | date, test_from: str | date) -> Split:
    """Split windows at two days, which are the same days for every length of the window.

    Taught in notebook 05. A window belongs to the part in which its target lies.

    Args:
        made: windows in the order of time.
        validation_from, test_from: the first day to validate and the first day to test, such as
            `2011-10-05`; a day without trading stands for the next one that has it.

    Raises:
        CourseError: if a day is no date, or a part would be empty.
    """
    days = {"validation-from": validation_from, "test-from": test_from}
    first, second = (
        int(np.searchsorted(made.dates, pd.Timestamp(read_day(day, name))))
        for name, day in days.items()
    )
    parts = Split(made[:first], made[first:second], made[second:])
    for name, part in zip(Split._fields, parts, strict=True):
        if not len(part):
            raise CourseError(
                f"validation-from {validation_from} and test-from {test_from} leave no day for"
                f" {name}; the targets run from {made.dates[0]:%Y-%m-%d} to"
                f" {made.dates[-1]:%Y-%m-%d}; give two of them, the earlier one first."
            )
    return parts
