"""Make the bundled prices and their cards again, from the package that carries them.

    python datasets/make.py

Needs `bokeh_sampledata` (in the `dev` extra). Writes TICKER.csv and TICKER.json into this folder,
byte for byte the same each time.
"""

import hashlib
import json
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import pandas as pd

COLUMNS = {
    "Ticker": "ticker",
    "Date": "date",
    "Open": "open",
    "High": "high",
    "Low": "low",
    "Close": "close",
    "Volume": "volume",
    "Adj Close": "adj_close",
}
NAMES = {
    "AAPL": "Apple",
    "FB": "Facebook (today Meta)",
    "GOOG": "Google (today Alphabet)",
    "IBM": "IBM",
    "MSFT": "Microsoft",
}


def main() -> None:
    """Write every series and its card."""
    archive = files("bokeh_sampledata") / "_data" / "stocks.csv.gz"
    everything = pd.read_csv(str(archive)).rename(columns=COLUMNS)
    for ticker, rows in everything.groupby("ticker"):
        text = rows[["date", "open", "high", "low", "close", "adj_close", "volume"]].to_csv(
            index=False, lineterminator="\n"
        )
        data = text.encode()
        card = {
            "ticker": ticker,
            "company": NAMES[ticker],
            "what": (
                "Daily prices in US dollars and volume in shares. Open, high, low, close and volume"
                " are as traded; adj_close is the closing price adjusted by the source for splits"
                " and dividends, also for those after the last day. Models use adj_close."
            ),
            "rows": len(rows),
            "first_day": rows.date.iloc[0],
            "last_day": rows.date.iloc[-1],
            "sha256": hashlib.sha256(data).hexdigest(),
            "source": (
                "Quandl WIKI Prices, from the archived copy in the Python package bokeh_sampledata"
                f" {version('bokeh_sampledata')}"
            ),
            "licence": (
                "Public domain, as Quandl declared in its publisher notice"
                " (https://web.archive.org/web/20150411011214/https://www.quandl.com/data/WIKI);"
                " recorded so in the package."
            ),
            "retrieved": "2026-11-24",
            "make_again": "python datasets/make.py",
        }
        here = Path(__file__).parent
        (here / f"{ticker}.csv").write_bytes(data)
        (here / f"{ticker}.json").write_text(json.dumps(card, indent=2) + "\n")


if __name__ == "__main__":
    main()
