"""Notebook 00: by how many dollars was "tomorrow = today" off on 2013-03-01?"""

from kubeflow_workshop.stock import prices

HINT = (
    "the forecast for a day is the price of the day before, so two prices are enough:"
    " `closes.iloc[-1]` is the last one."
)


def answer():
    closes = prices.load("MSFT", start="2012-03-01")["adj_close"]
    return abs(closes.iloc[-1] - closes.iloc[-2])
