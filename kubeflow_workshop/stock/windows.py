"""Windows of past prices, each with the price that followed, and their split in the order of time.

Taught in notebook 03. No TensorFlow here.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from kubeflow_workshop.errors import CourseError


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
        and the `dates` of the targets. No copy of
        the prices is made for the inputs: they are a view, which cannot be written to.

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
    """The oldest windows to train, the next to validate, the newest to test: 80, 10 and 10 of a
    hundred, as in the talk.

    Taught in notebook 03. Nothing is shuffled, so every training target is older than every
    validation target, and those than every test target.

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
