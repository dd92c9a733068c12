"""Are these prices fit to train on? A schema for a table of prices, checked with pandera.

Taught in notebook 06. `prices` refuses a file that cannot be read as prices, and names its row.
Here a table is judged that can be read, wherever it comes from, and every failure is found, not
only the first one. No TensorFlow here.
"""

import pandas as pd


def failures(frame: pd.DataFrame) -> pd.DataFrame:
    """Everything that is wrong with a table of prices, one row per rule and day.

    Taught in notebook 06.

    Args:
        frame: prices, in the shape that `prices` describes, if all is well.

    Returns:
        The columns `column`, `rule` (a sentence's end, such as "must be above zero"), `day` (NaT
        where the rule is about the whole table) and `value`, by rule and day; no rows if all is
        well.
    """
    raise NotImplementedError


def check(frame: pd.DataFrame) -> None:
    """Let prices pass that are fit to train on.

    Taught in notebook 06.

    Raises:
        CourseError: if one of them is not; the message names the column, the rule, the number of
            days on which it is broken, and the first of them with its value.
    """
    raise NotImplementedError
