"""The solution of notebook 03: count the days on which Microsoft moved by more than 5 %."""

from kubeflow_workshop.stock import prices

HINT = (
    "pct_change() gives the move of each day, abs() drops its sign; and which of the two closing"
    " prices knows nothing of splits?"
)


def answer() -> int:
    returns = prices.load("MSFT")["adj_close"].pct_change()
    return int((returns.abs() > 0.05).sum())
