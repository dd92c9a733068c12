"""Daily prices of a stock, in one shape, whichever source they come from.

Taught in notebook 03. The shape: a DataFrame with the index `date` (datetime64, one row a trading
day, oldest first) and the float64 columns `open`, `high`, `low`, `close`, `adj_close` (dollars) and
`volume` (shares).

Adjusted: `adj_close` is the closing price divided by every split and lowered by every dividend that
came later, so its day-to-day changes are what an owner of the share earned. Models use it. The
other prices are as traded in the bundled series, where they jump at splits; Yahoo! Finance gives
them with splits, but not dividends, taken out.
"""

import hashlib
import io
import json
import logging
import re
import reprlib
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import tenacity
from platformdirs import user_cache_path

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.files import course_file

PRICES = ["open", "high", "low", "close", "adj_close"]
COLUMNS = [*PRICES, "volume"]
SOURCES = ("bundled", "yahoo")
CHEAPEST, DEAREST = 1e-12, 1e12
"""Dollars. Networks count in float32, and neither a price nor its square may leave that range."""
LONGEST_GAP = timedelta(days=10)
"""Markets close for weekends and holidays, and once for a week (September 2001); a longer hole is
missing data.
"""

log = logging.getLogger(__name__)


def cards() -> dict[str, dict]:
    """The cards of the bundled series, by ticker: source, licence, rows, first and last day,
    SHA-256.
    """
    found = (
        json.loads(path.read_text()) for path in sorted(course_file("datasets").glob("*.json"))
    )
    return {card["ticker"]: card for card in found}


def load(
    ticker: str,
    start: str | date | None = None,
    end: str | date | None = None,
    source: str = "bundled",
) -> pd.DataFrame:
    """The daily prices of one stock.

    Taught in notebook 03.

    Args:
        ticker: the symbol of the stock, such as `"MSFT"`.
        start, end: first and last day, both included, as dates or `"2012-03-01"`; without them, the
            whole series.
        source: `"bundled"`, which travels with the course; `"yahoo"`, the live source (yfinance;
            kept in a cache on disk); or the path of a file of your own, which ends with .csv.

    Returns:
        The prices, in the shape that this module describes.

    Raises:
        CourseError: if the ticker or source is unknown, the range is the wrong way round or outside
            the data, or Yahoo! Finance does not answer.
    """
    _require(ticker, source)
    if source.endswith(".csv"):
        return read_csv(source, start, end)
    first, last = _range(start, end)
    if source == "yahoo":
        return _yahoo(ticker.upper(), first, last)
    return _between(
        read_csv(course_file(f"datasets/{ticker.upper()}.csv")), first, last, ticker.upper()
    )


def read_csv(
    path: str | Path, start: str | date | None = None, end: str | date | None = None
) -> pd.DataFrame:
    """The prices in a file of your own.

    Taught in notebook 03.

    Args:
        path: a CSV file with a header and the columns date, open, high, low, close, adj_close and
            volume, in any order; others are left out.
        start, end: first and last day, both included; without them, the whole file.

    Returns:
        The prices, in the shape that this module describes.

    Raises:
        CourseError: if the file cannot be read, or a row of it cannot be a day's prices; the
            message names file, row (the header is row 1) and column.
    """
    path = Path(path)
    first, last = _range(start, end)
    try:
        # pandas would fetch what looks like a URL, and unpack what is called .zip
        text = path.read_text(encoding="utf-8-sig")
        raw = _table(text)
    except FileNotFoundError:
        raise CourseError(f"{path} does not exist; give the path of a CSV file.") from None
    except pd.errors.EmptyDataError:
        raise CourseError(
            f"{path} is empty; a CSV of prices begins with the line date,{','.join(COLUMNS)}."
        ) from None
    except UnicodeDecodeError as error:
        raise CourseError(
            f"{path} is no text file (byte {error.start} is not UTF-8); save it as CSV, UTF-8."
        ) from None
    except pd.errors.ParserError as error:
        why = str(error).splitlines()[0].rpartition("C error: ")[2]
        raise CourseError(
            f"{path} is no CSV table ({why}); give every row the fields that the header names, and"
            " close every quote."
        ) from None
    except OSError as error:
        raise CourseError(
            f"{path} cannot be read: {error.strerror}; give the path of a CSV file that you may"
            " read."
        ) from None
    if "\0" in text:
        raise CourseError(f"{path} is no text file (it holds a zero byte); save it as CSV, UTF-8.")
    return _between(_checked(raw, path), first, last, str(path))


def fingerprint(prices: pd.DataFrame) -> str:
    """The SHA-256 of the days and adjusted closing prices, so that a model can say what it was
    trained on.

    Args:
        prices: in the shape that this module describes.

    Returns:
        64 hexadecimal digits: the hash of one line `2012-03-01,26.03` a day (ISO date, shortest
            decimal form of the float64 price).
    """
    text = "".join(
        f"{day:%Y-%m-%d},{price!r}\n"
        for day, price in zip(prices.index, prices["adj_close"].tolist(), strict=True)
    )
    return hashlib.sha256(text.encode()).hexdigest()


def edition(ticker: str, source: str = "bundled") -> str:
    """What a cache may remember the prices of a stock by. Those of a file change with the file; the
    live ones may be others at every moment, so two of their editions are never the same.

    Taught in notebook 06.

    Args:
        ticker, source: as for `load`.

    Returns:
        The file's SHA-256, or the time.

    Raises:
        CourseError: if the ticker or source is unknown, or the file cannot be read.
    """
    _require(ticker, source)
    if source == "yahoo":
        return datetime.now(UTC).isoformat()
    if source == "bundled":
        return cards()[ticker.upper()]["sha256"]
    try:
        return hashlib.sha256(Path(source).read_bytes()).hexdigest()
    except OSError as error:
        raise CourseError(
            f"{source} cannot be read ({error.strerror}); give the path of a CSV file."
        ) from None


def _require(ticker: str, source: str) -> None:
    """Raise CourseError unless there may be such prices."""
    if source not in SOURCES and not source.endswith(".csv"):
        raise CourseError(
            f"source {source!r} is unknown; use one of {', '.join(SOURCES)}, or the path of a file"
            " of your own that ends with .csv."
        )
    if source == "bundled" and ticker.upper() not in (known := cards()):
        raise CourseError(
            f"ticker {ticker!r} is not among the bundled series ({', '.join(known)}); use one of"
            " them, the live source (yahoo), or a CSV file of your own."
        )


def _range(start: str | date | None, end: str | date | None) -> tuple[date | None, date | None]:
    first, last = read_day(start, "start"), read_day(end, "end")
    if first and last and first > last:
        raise CourseError(f"start {first} comes after end {last}; give the earlier day as start.")
    return first, last


def read_day(value: str | date | None, name: str) -> date | None:
    """The day that a text such as `2012-03-01` names; None stays None.

    Args:
        value: the text, or the day itself.
        name: what to call it in a message.

    Raises:
        CourseError: if the text names no day.
    """
    if value is None or (isinstance(value, date) and not isinstance(value, datetime)):
        return value
    try:
        return datetime.fromisoformat(str(value)).date()
    except ValueError:
        raise CourseError(f"{name} {value!r} is no day; write it as 2012-03-01.") from None


def _between(
    prices: pd.DataFrame, first: date | None, last: date | None, where: str
) -> pd.DataFrame:
    begins, ends = prices.index[0].date(), prices.index[-1].date()
    for name, day in (("start", first), ("end", last)):
        if day and not begins <= day <= ends:
            raise CourseError(
                f"{name} {day} is outside the prices of {where}, which run from {begins} to {ends};"
                f" give a day among them, or leave {name} out."
            )
    chosen = prices.loc[first:last]
    if chosen.empty:
        raise CourseError(
            f"{where} has no trading day from {first} to {last}; give a longer range."
        )
    return chosen


def _table(text: str) -> pd.DataFrame:
    """The fields of a CSV as text, its header in the first row: pandas would rename a column that
    stands there twice.
    """
    return pd.read_csv(
        io.StringIO(text),
        header=None,
        dtype=str,
        keep_default_na=False,
        skip_blank_lines=False,
        skipinitialspace=True,
    )


def _checked(raw: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Turn the text of a CSV, its header in the first row, into prices, or say in which row it is
    wrong.
    """
    raw = raw.apply(lambda column: column.str.strip())
    header, raw = raw.iloc[0].tolist(), raw.iloc[1:].set_axis(raw.iloc[0].tolist(), axis="columns")
    missing = [name for name in ("date", *COLUMNS) if name not in header]
    twice = [name for name in ("date", *COLUMNS) if header.count(name) > 1]
    if twice:
        raise CourseError(
            f"{path}, row 1: column {', '.join(twice)} stands there more than once; keep one of"
            " each."
        )
    if missing:
        raise CourseError(
            f"{path} has no column {', '.join(missing)}; its first line must name"
            f" date,{','.join(COLUMNS)}."
        )
    if raw.empty:
        raise CourseError(f"{path} has a header and no rows; it needs at least one day of prices.")

    def refuse(bad: pd.Series, why: Callable[[int], str], do: str) -> None:
        if bad.any():
            row = int(bad.to_numpy().argmax())
            day = "" if pd.isna(days.iloc[row]) else f" ({raw.date.iloc[row]})"
            raise CourseError(f"{path}, row {row + 2}{day}: {why(row)}; {do}")

    days = pd.to_datetime(raw.date, format="%Y-%m-%d", errors="coerce")
    refuse(
        days.isna(),
        lambda row: f"date is {reprlib.repr(raw.date.iloc[row])}",
        "write days as 2012-03-01, one a row, with no blank row between.",
    )
    numbers = {
        name: pd.to_numeric(raw[name], errors="coerce").astype("float64") for name in COLUMNS
    }
    for name, column in numbers.items():
        refuse(
            column.isna(),
            lambda row, name=name: (  # type: ignore[misc]
                f"{name} is {reprlib.repr(raw[name].iloc[row])}, which is no number"
            ),
            "mend the row, or drop it.",
        )
        lowest, highest = (0, sys.float_info.max) if name == "volume" else (CHEAPEST, DEAREST)
        must = (
            "a volume is zero or more"
            if name == "volume"
            else f"prices must be above zero, and at most {DEAREST:g} dollars"
        )
        refuse(
            ~column.between(lowest, highest),
            lambda row, name=name, must=must: (  # type: ignore[misc]
                f"{name} is {numbers[name].iloc[row]:g}; {must}"
            ),
            "mend the row, or drop it.",
        )
    before = days.shift()
    refuse(
        days == before,
        lambda row: "the day of the row before stands here again",
        "keep one row a day.",
    )
    refuse(
        days < before,
        lambda row: f"this day is earlier than {raw.date.iloc[row - 1]} in the row before",
        "sort the rows, oldest first.",
    )
    refuse(
        days - before > LONGEST_GAP,
        lambda row: f"a gap, {(days - before).iloc[row].days} days since {raw.date.iloc[row - 1]}",
        f"add the missing days, or begin after the gap (at most {LONGEST_GAP.days} days may lie"
        " between two rows).",
    )
    return pd.DataFrame(numbers).set_index(
        pd.DatetimeIndex(days.to_numpy(dtype="datetime64[ns]"), name="date")
    )


def _yahoo(ticker: str, first: date | None, last: date | None) -> pd.DataFrame:
    """Prices of Yahoo! Finance, from the cache where the same days were asked for before (without
    an end: on the same day).
    """
    if not re.fullmatch(r"[A-Z0-9.^=-]+", ticker):
        raise CourseError(
            f"ticker {ticker!r} is no symbol; symbols are written with letters, digits and . ^ = -"
            " only."
        )
    last = last or datetime.now(UTC).date()
    kept = (
        user_cache_path("kubeflow-workshop") / "yahoo" / f"{ticker}_{first or 'first'}_{last}.csv"
    )
    if not kept.is_file():
        try:
            text = _download(ticker, first, last).to_csv()
            prices = _checked(_table(text), Path(kept.name))  # a bad answer must not be kept
        except Exception as error:  # yfinance raises whatever its parts raise
            why = f"{type(error).__name__}: {error}".splitlines()[0]
            raise CourseError(
                f"Yahoo! Finance gave no prices of {ticker} ({why}); check the ticker and the"
                " network, or use the prices that come with the course: --source bundled"
                f" ({', '.join(cards())})."
            ) from error
        _keep(text, kept)
        return prices
    return read_csv(kept)


def _keep(text: str, kept: Path) -> None:
    """Write a file of the cache, whole or not at all, also where several processes write it at
    once.
    """
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=kept.parent, delete=False
        ) as partial:
            partial.write(text)
        Path(partial.name).replace(kept)
    except OSError as error:
        log.warning("the prices are not kept for the next time: %s", error)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, OSError) or type(error).__name__ == "YFRateLimitError"


@tenacity.retry(
    retry=tenacity.retry_if_exception(_may_pass),
    wait=tenacity.wait_exponential(),
    stop=tenacity.stop_after_attempt(4),
    before_sleep=tenacity.before_sleep_log(log, logging.INFO),
    reraise=True,
)
def _download(ticker: str, first: date | None, last: date) -> pd.DataFrame:
    import yfinance  # not needed, and half a second, for the bundled prices

    # it would log what the error says again
    logging.getLogger("yfinance").setLevel(logging.CRITICAL)
    answer = yfinance.Ticker(ticker).history(
        start=first or date(1970, 1, 2),
        end=last + timedelta(days=1),
        auto_adjust=False,
        raise_errors=True,
    )  # their end is the first day left out
    answer.columns = answer.columns.str.lower().str.replace(" ", "_")
    answer.index = pd.DatetimeIndex(answer.index.tz_localize(None).normalize(), name="date")
    return answer[COLUMNS].dropna()
