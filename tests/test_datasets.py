"""The bundled prices: their cards tell the truth, and `datasets/make.py` makes them again."""

import hashlib
import json
import runpy
import shutil
from pathlib import Path

import pytest

from kubeflow_workshop.stock import prices

DATASETS = Path(__file__).parents[1] / "datasets"
TICKERS = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]


def test_five_series_are_bundled_each_with_a_card():
    assert (
        list(prices.cards())
        == TICKERS
        == [path.stem for path in sorted(DATASETS.glob("*.csv"))]
        == [path.stem for path in sorted(DATASETS.glob("*.json"))]
    )


@pytest.mark.parametrize("ticker", TICKERS)
def test_the_card_agrees_with_the_file(ticker):
    card, data = (
        json.loads((DATASETS / f"{ticker}.json").read_text()),
        (DATASETS / f"{ticker}.csv").read_bytes(),
    )
    header, *rows = data.decode().splitlines()
    assert header == "date,open,high,low,close,adj_close,volume"
    assert card["ticker"] == ticker
    assert card["rows"] == len(rows)
    assert (card["first_day"], card["last_day"]) == (rows[0].split(",")[0], rows[-1].split(",")[0])
    assert card["sha256"] == hashlib.sha256(data).hexdigest()


def test_all_rows_together_are_those_of_the_source():
    assert sum(card["rows"] for card in prices.cards().values()) == 12_154


def test_making_them_again_writes_the_same_bytes(tmp_path):
    shutil.copy(DATASETS / "make.py", tmp_path)
    runpy.run_path(str(tmp_path / "make.py"), run_name="__main__")
    made = {
        path.name: path.read_bytes()
        for path in tmp_path.iterdir()
        if path.suffix in (".csv", ".json")
    }
    assert made == {
        path.name: path.read_bytes()
        for path in DATASETS.iterdir()
        if path.suffix in (".csv", ".json")
    }
