"""What a person opens to see how good a model is: one page of HTML, with its figures in it.

Taught in notebook 06. Nothing on the page is loaded from elsewhere, so it can be kept, sent, and
opened years later. No TensorFlow here: a forecast is an array of dollars.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from kubeflow_workshop.stock.evaluate import Scores
from kubeflow_workshop.stock.gate import Decision
from kubeflow_workshop.stock.windows import Windows


def evaluation(
    forecast: np.ndarray, windows: Windows, scores: Scores, decision: Decision, card: Mapping
) -> str:
    """The page about one model version: the decision, the last test days in a figure, the scores,
    the data, the parameters.

    Taught in notebook 06.

    Args:
        forecast: the price forecast for each test day, dollars; [windows].
        windows: the test days.
        scores: of that forecast on these days.
        decision: of the gate.
        card: of the version.
    """
    raise NotImplementedError


def comparison_table(judged: Mapping[str, tuple[Scores, Decision]]) -> pd.DataFrame:
    """Several models side by side, one row per ticker.

    Taught in notebook 06.

    Returns:
        Index `ticker`; columns `days`, `mae`, `persistence_mae` (dollars), `skill`, `skill_low`,
        `skill_high` and `accepted` (bool).
    """
    raise NotImplementedError


def comparison(judged: Mapping[str, tuple[Scores, Decision]]) -> str:
    """The page about several tickers: their skills in a figure, and the table.

    Taught in notebook 06.
    """
    raise NotImplementedError
