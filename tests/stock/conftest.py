"""What tests of the case study share: few days, a small network, and a model version, each made
once.
"""

from pathlib import Path

import pandas as pd
import pytest

from kubeflow_workshop.stock import model, prices, train


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    """Half a year of Microsoft: 121 days, so 118 windows of 3 days, 94 of them to train on."""
    return prices.load("MSFT", start="2012-09-05")


@pytest.fixture(scope="session")
def trained(frame: pd.DataFrame) -> train.Trained:
    """A small relative network, fitted for 12 epochs. Look at it, and leave it as it is."""
    return train.train(frame, train.Hyperparameters(units=4, epochs=12))


@pytest.fixture(scope="session")
def version(
    trained: train.Trained, frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """That network as version 3 of the model `msft`. Read only."""
    directory = tmp_path_factory.mktemp("models") / "msft" / "3"
    return model.save(
        trained.model, directory, train.card(trained, frame, "MSFT (bundled)", directory)
    )
