"""Prices: one shape from either source, and for whatever is wrong with a file one sentence that
says where.
"""

import gzip
import hashlib
import os
import random
import re
from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.files import course_file
from kubeflow_workshop.stock import prices

HEADER = "date,open,high,low,close,adj_close,volume"
ROWS = [
    "2012-03-01,10,12,9,11,5.5,100",
    "2012-03-02,11,13,10,12,6,200",
    "2012-03-05,12,14,11,13,6.5,0",
]


def text(*rows: str, header: str = HEADER) -> str:
    return "\n".join([header, *rows]) + "\n"


def changed(row: int, old: str, new: str) -> str:
    """The good file with one thing in one row changed."""
    rows = list(ROWS)
    assert old in rows[row]
    rows[row] = rows[row].replace(old, new, 1)
    return text(*rows)


@pytest.fixture
def csv(tmp_path):
    """`csv(data)` writes a file, text as UTF-8, and returns its path."""

    def write(data: str | bytes, name: str = "mine.csv"):
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    return write


def refusal(path: object) -> str:
    with pytest.raises(CourseError) as refused:
        prices.read_csv(path)
    return str(refused.value)


def assert_the_shape(frame: pd.DataFrame) -> None:
    assert frame.columns.tolist() == ["open", "high", "low", "close", "adj_close", "volume"]
    assert set(frame.dtypes) == {np.dtype("float64")}
    assert frame.index.name == "date"
    assert frame.index.dtype == "datetime64[ns]"
    assert frame.index.tz is None
    assert frame.index.is_monotonic_increasing
    assert frame.index.is_unique


# The bundled series


@pytest.mark.parametrize("ticker", ["AAPL", "FB", "GOOG", "IBM", "MSFT"])
def test_each_bundled_series_has_the_one_shape(ticker):
    frame = prices.load(ticker)
    assert_the_shape(frame)
    assert (frame[prices.PRICES] > 0).all(axis=None)
    assert len(frame) == prices.cards()[ticker]["rows"]


def test_a_bundled_price_is_the_one_in_the_file():
    row = prices.load("MSFT").loc["2000-03-02"]
    assert row.tolist() == [91.81, 95.37, 91.12, 93.37, 31.077794557575, 53466300]


def test_raw_closes_jump_at_a_split_and_adjusted_ones_do_not():
    split = prices.load("MSFT")[["close", "adj_close"]].pct_change().loc["2003-02-18"]
    assert split.close == pytest.approx(-0.48, abs=0.01)
    assert abs(split.adj_close) < 0.05


def test_both_ends_of_a_range_are_in_it():
    frame = prices.load("MSFT", "2012-03-01", "2012-03-05")
    assert frame.index.strftime("%Y-%m-%d").tolist() == ["2012-03-01", "2012-03-02", "2012-03-05"]


@pytest.mark.parametrize(
    "start",
    ["2012-03-01", date(2012, 3, 1), datetime(2012, 3, 1, 9, 30), pd.Timestamp("2012-03-01")],
)
def test_a_day_may_be_text_or_a_date(start):
    assert prices.load("MSFT", start=start).index[0] == pd.Timestamp("2012-03-01")


def test_a_day_of_the_weekend_may_begin_a_range():
    assert prices.load("MSFT", "2012-03-03").index[0] == pd.Timestamp("2012-03-05")


def test_a_ticker_may_be_written_small():
    pd.testing.assert_frame_equal(prices.load("msft"), prices.load("MSFT"))


@pytest.mark.parametrize("ticker", ["NOPE", "", "../MSFT", "datasets/MSFT", "MSFT\0"])
def test_an_unknown_ticker_is_told_what_there_is(ticker):
    with pytest.raises(
        CourseError,
        match=re.escape(
            f"ticker {ticker!r} is not among the bundled series (AAPL, FB, GOOG, IBM, MSFT)"
        ),
    ):
        prices.load(ticker)


@pytest.mark.parametrize(
    ("start", "end", "says"),
    [
        (
            "1999-12-31",
            None,
            (
                "start 1999-12-31 is outside the prices of MSFT, which run from 2000-03-01 to"
                " 2013-03-01"
            ),
        ),
        (None, "2013-03-02", "end 2013-03-02 is outside the prices of MSFT"),
        ("2012-03-02", "2012-03-01", "start 2012-03-02 comes after end 2012-03-01"),
        ("2012-03-03", "2012-03-04", "MSFT has no trading day from 2012-03-03 to 2012-03-04"),
        ("2012-02-30", None, "start '2012-02-30' is no day; write it as 2012-03-01"),
        (None, "tomorrow", "end 'tomorrow' is no day"),
        ("", None, "start '' is no day"),
    ],
)
def test_a_range_that_cannot_be_is_refused(start, end, says):
    with pytest.raises(CourseError, match=re.escape(says)):
        prices.load("MSFT", start, end)


def test_an_unknown_source_is_told_which_there_are():
    with pytest.raises(CourseError, match="source 'google' is unknown; use one of bundled, yahoo"):
        prices.load("MSFT", source="google")


# A file of one's own


def test_a_file_of_ones_own_has_the_one_shape(csv):
    frame = prices.read_csv(csv(text(*ROWS)))
    assert_the_shape(frame)
    assert frame.loc["2012-03-05"].tolist() == [12, 14, 11, 13, 6.5, 0]


@pytest.mark.parametrize(
    "data",
    [
        "\ufeff" + text(*ROWS),
        text(*ROWS).replace("\n", "\r\n"),
        text(*ROWS).replace("\n", "\r"),
        text(*ROWS).rstrip("\n"),
        text(*ROWS).replace(",", " , "),
        re.sub(r"[^,\n]+", r'"\g<0>"', text(*ROWS)),
        text(*(f"{number},{row}" for number, row in enumerate(ROWS)), header=f",{HEADER}"),
        text(*(f"{row},note" for row in ROWS), header=f"{HEADER},what I think"),
        text(
            *(",".join(reversed(row.split(","))) for row in ROWS),
            header=",".join(reversed(HEADER.split(","))),
        ),
    ],
    ids=[
        "BOM",
        "CRLF",
        "CR",
        "no last newline",
        "spaces",
        "quotes",
        "numbered rows",
        "another column",
        "another order",
    ],
)
def test_what_spreadsheets_write_is_read(data, csv):
    pd.testing.assert_frame_equal(
        prices.read_csv(csv(data)), prices.read_csv(csv(text(*ROWS), "plain.csv"))
    )


def test_a_path_may_hold_spaces_and_letters_of_any_alphabet(csv):
    assert len(prices.read_csv(csv(text(*ROWS), "Kurse für München 株価.csv"))) == 3


def test_a_gap_of_ten_days_is_a_holiday(csv):
    assert len(prices.read_csv(csv(text(ROWS[0], ROWS[1].replace("03-02", "03-11"))))) == 2


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("", "is empty; a CSV of prices begins with the line date,open"),
        ("\n\n", "is empty"),
        (text(), "has a header and no rows"),
        (
            text("2012-03-01,1,1,1,1,1", header="date,open,high,low,close,volume"),
            "has no column adj_close",
        ),
        (text(*ROWS).replace(",", ";"), "has no column date, open"),
        (text(*ROWS, header=HEADER.title()), "has no column date"),
        (
            text(*(f"{row},1" for row in ROWS), header=f"{HEADER},close"),
            "row 1: column close stands there more than once",
        ),
        (
            text(*(f"{row},1" for row in ROWS), header=f"{HEADER},close "),
            "row 1: column close stands there more than once",
        ),
        (text(*(f"{row},1" for row in ROWS)), "Expected 7 fields in line 2, saw 8"),
        (changed(1, "200", '"200'), "is no CSV table (EOF inside string"),
        (
            changed(1, "2012-03-02", "2.3.2012"),
            "row 3: date is '2.3.2012'; write days as 2012-03-01",
        ),
        (changed(1, "2012-03-02", "2012-03-02 00:00:00"), "row 3: date is '2012-03-02 00:00:00'"),
        (changed(1, "2012-03-02", "2012-02-30"), "row 3: date is '2012-02-30'"),
        (text(ROWS[0], "", ROWS[1]), "row 3: date is ''"),
        (
            changed(1, "2012-03-02", "2012-03-01"),
            "row 3 (2012-03-01): the day of the row before stands here again; keep one row a day",
        ),
        (
            changed(2, "2012-03-05", "2012-03-01"),
            (
                "row 4 (2012-03-01): this day is earlier than 2012-03-02 in the row before; sort"
                " the rows"
            ),
        ),
        (
            changed(2, "2012-03-05", "2012-03-13"),
            "row 4 (2012-03-13): a gap, 11 days since 2012-03-02",
        ),
        (changed(1, ",12,", ",NaN,"), "row 3 (2012-03-02): close is 'NaN', which is no number"),
        (changed(1, ",12,", ",,"), "row 3 (2012-03-02): close is '', which is no number"),
        (changed(1, ",12,6,200", ""), "row 3 (2012-03-02): close is '', which is no number"),
        (
            changed(1, ",12,", ",twelve,"),
            "row 3 (2012-03-02): close is 'twelve', which is no number",
        ),
        (changed(1, ",12,", ',"1,200",'), "close is '1,200', which is no number"),
        (
            changed(1, ",12,", f",{'x' * 5000},"),
            "close is 'xxxxxxxxxxxx...xxxxxxxxxxxxx', which is no number",
        ),
        (changed(1, ",12,", ",0,"), "row 3 (2012-03-02): close is 0; prices must be above zero"),
        (
            changed(1, ",12,", ",-3.2,"),
            "row 3 (2012-03-02): close is -3.2; prices must be above zero",
        ),
        (
            changed(1, ",6,", ",inf,"),
            "adj_close is inf; prices must be above zero, and at most 1e+12 dollars",
        ),
        (changed(1, ",6,", ",1e400,"), "adj_close is '1e400'"),
        (
            changed(1, ",6,", ",1e39,"),
            "adj_close is 1e+39; prices must be above zero, and at most 1e+12 dollars",
        ),
        (changed(1, ",6,", ",1e-46,"), "adj_close is 1e-46"),
        (changed(1, "200", "-1"), "row 3 (2012-03-02): volume is -1; a volume is zero or more"),
        (changed(1, "200", "inf"), "row 3 (2012-03-02): volume is inf"),
        (changed(1, ",12,", ",1\x002,"), "is no text file (it holds a zero byte)"),
        (
            text(*ROWS).encode("utf-16"),
            "is no text file (byte 0 is not UTF-8); save it as CSV, UTF-8",
        ),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "is no text file"),
        (gzip.compress(text(*ROWS).encode(), mtime=0), "is no text file"),
    ],
)
def test_a_file_that_cannot_be_prices_is_refused_with_its_name_and_row(data, says, csv):
    path = csv(data)
    said = refusal(path)
    assert said.startswith(str(path))
    assert says in said
    assert said.endswith(".")
    assert "\n" not in said
    assert len(said) < len(str(path)) + 220


def test_what_is_packed_or_looks_like_an_address_is_neither_unpacked_nor_fetched(csv):
    for name in ("prices.zip", "prices.csv.xz", "prices.tar.bz2"):
        assert len(prices.read_csv(csv(text(*ROWS), name))) == 3
    assert "does not exist" in refusal("http://127.0.0.1:9/prices.csv")


def test_a_path_that_cannot_be_read_is_refused(tmp_path, csv):
    assert (
        refusal(tmp_path / "none.csv")
        == f"{tmp_path}/none.csv does not exist; give the path of a CSV file."
    )
    assert "Is a directory" in refusal(tmp_path)
    assert "Not a directory" in refusal(csv(text(*ROWS)) / "under.csv")
    assert "File name too long" in refusal("x" * 300)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="root may read every file, and Windows asks otherwise",
)
def test_a_file_that_one_may_not_read_is_refused(csv):
    path = csv(text(*ROWS))
    path.chmod(0)
    assert "Permission denied" in refusal(path)


def test_a_file_corrupted_at_random_loads_or_is_refused_and_nothing_else(csv):
    """A fixed seed: the same 400 files each time."""
    chance = random.Random(2)
    whole = course_file("datasets/FB.csv").read_bytes()[:1500]
    whole = whole[: whole.rindex(b"\n") + 1]
    loaded, said = 0, []
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            place, kind = chance.randrange(len(data)), chance.randrange(4)
            if kind == 0:
                data[place] = chance.choice(b'0123456789,.-+eE"\n\r;\t \0\xff\xc3')
            elif kind == 1:
                del data[place : place + chance.randint(1, 40)]
            elif kind == 2:
                data[place:place] = chance.choice(
                    [b'"', b",", b"\n", b"nan", b"1e999", b"\xef\xbb\xbf", b"#", b"\x1a"]
                )
            else:
                data = data[:place] or data
        path = csv(bytes(data))
        try:
            frame = prices.read_csv(path)
        except CourseError as error:
            said.append(str(error))
        else:
            assert_the_shape(frame)
            loaded += 1
    assert all(str(path) in sentence for sentence in said)
    assert 20 < loaded < 380


# The fingerprint


def test_the_fingerprint_is_that_of_the_lines_its_docstring_names(csv):
    lines = b"2012-03-01,5.5\n2012-03-02,6.0\n2012-03-05,6.5\n"
    assert (
        prices.fingerprint(prices.read_csv(csv(text(*ROWS)))) == hashlib.sha256(lines).hexdigest()
    )


def test_the_fingerprint_changes_with_one_digit_of_what_models_use_and_with_nothing_else(csv):
    def of(data):
        return prices.fingerprint(prices.read_csv(csv(data)))

    assert of(changed(1, ",6,", ",6.0000001,")) != of(text(*ROWS))
    assert of(changed(1, "2012-03-02", "2012-03-03")) != of(text(*ROWS))
    assert of(changed(1, "200", "201")) == of(text(*ROWS))


# The live source, faked at its edge: yfinance.Ticker is where the network would be asked


class Yahoo:
    """Stands in yfinance's place: answers, or fails as often as it is told."""

    def __init__(self) -> None:
        self.asked, self.failures = [], []
        # the last one, while they trade
        days = pd.DatetimeIndex(
            ["2012-03-01", "2012-03-02", "2012-03-04", "2012-03-05 15:59:30"], tz="America/New_York"
        )
        self.answer = pd.DataFrame(
            {
                "Open": [10, 11, None, 12],
                "High": [12, 13, None, 14],
                "Low": [9, 10, None, 11],
                "Close": [11, 12, None, 13],
                "Adj Close": [5.5, 6, None, 6.5],
            }
            | {"Volume": [100, 200, 0, 0], "Dividends": 0.0, "Stock Splits": 0.0},
            index=days.rename("Date"),
        )

    def __call__(self, ticker: str) -> "Yahoo":
        self.ticker = ticker
        return self

    def history(self, **words: object) -> pd.DataFrame:
        self.asked.append((self.ticker, words))
        if self.failures:
            raise self.failures.pop(0)
        return self.answer.copy()


@pytest.fixture
def yahoo(monkeypatch, tmp_path):
    """Yahoo! Finance, a cache of its own, and a list of the seconds that were waited."""
    import yfinance

    fake = Yahoo()
    fake.waited = []
    fake.cache = tmp_path / "cache"
    monkeypatch.setattr(yfinance, "Ticker", fake)
    monkeypatch.setattr(prices, "user_cache_path", lambda name: fake.cache / name)
    monkeypatch.setattr(prices._download.retry, "sleep", fake.waited.append)
    return fake


def test_yahoo_gives_the_same_shape_as_the_bundled_series(yahoo, csv):
    frame = prices.load("MSFT", "2012-03-01", "2012-03-05", source="yahoo")
    assert_the_shape(frame)
    pd.testing.assert_frame_equal(frame, prices.read_csv(csv(text(*ROWS))))


def test_yahoo_is_asked_for_the_last_day_too_and_for_prices_as_they_are(yahoo):
    prices.load("msft", "2012-03-01", "2012-03-05", source="yahoo")
    (ticker, words), *_ = yahoo.asked
    assert ticker == "MSFT"
    assert (words["start"], words["end"]) == (date(2012, 3, 1), date(2012, 3, 6))
    assert words["auto_adjust"] is False


def test_yahoo_is_asked_once_for_the_same_days(yahoo):
    first = prices.load("MSFT", "2012-03-01", "2012-03-05", source="yahoo")
    yahoo.failures = [ConnectionError("no network")] * 9
    pd.testing.assert_frame_equal(
        prices.load("MSFT", "2012-03-01", "2012-03-05", source="yahoo"), first
    )
    assert len(yahoo.asked) == 1
    yahoo.failures = []
    prices.load("MSFT", "2012-03-01", "2012-03-06", source="yahoo")
    prices.load("MSFT", "2012-02-29", "2012-03-05", source="yahoo")
    prices.load("IBM", "2012-03-01", "2012-03-05", source="yahoo")
    assert len(yahoo.asked) == 4


def test_without_an_end_the_cache_is_of_today(yahoo):
    prices.load("MSFT", source="yahoo")
    prices.load("MSFT", source="yahoo")
    assert len(yahoo.asked) == 1


def test_yahoo_is_asked_again_after_growing_waits(yahoo):
    import yfinance

    yahoo.failures = [
        ConnectionError("reset"),
        yfinance.exceptions.YFRateLimitError(),
        TimeoutError(),
    ]
    assert len(prices.load("MSFT", "2012-03-01", "2012-03-05", source="yahoo")) == 3
    assert yahoo.waited == [1, 2, 4]


@pytest.mark.parametrize(
    "failure", [ConnectionError("no route to host\nsee the manual"), TimeoutError()]
)
def test_without_a_network_the_bundled_series_are_named(yahoo, failure, caplog):
    yahoo.failures = [failure] * 9
    with pytest.raises(
        CourseError,
        match=(
            rf"gave no prices of MSFT \({type(failure).__name__}.*--source bundled \(AAPL, FB,"
            r" GOOG, IBM, MSFT\)"
        ),
    ) as refused:
        prices.load("MSFT", "2012-03-01", "2012-03-05", source="yahoo")
    assert "see the manual" not in str(refused.value)
    assert len(yahoo.asked) == 4
    # one sentence is enough
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_what_will_not_pass_is_not_tried_again(yahoo):
    yahoo.failures = [KeyError("no such symbol")] * 9
    with pytest.raises(CourseError, match="check the ticker"):
        prices.load("NOPE", "2012-03-01", "2012-03-05", source="yahoo")
    assert len(yahoo.asked) == 1
    assert yahoo.waited == []


@pytest.mark.parametrize("ticker", ["../../x", "MS FT", "", "MSFT/x", "MSFT\n"])
def test_a_ticker_that_is_no_symbol_never_becomes_a_path(yahoo, ticker):
    with pytest.raises(CourseError, match="is no symbol"):
        prices.load(ticker, source="yahoo")
    assert yahoo.asked == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answer: answer.iloc[:0],
        lambda answer: answer * -1,
        lambda answer: answer.drop(columns="Adj Close"),
    ],
)
def test_an_answer_that_cannot_be_prices_is_refused_and_not_kept(yahoo, spoil):
    good = yahoo.answer
    yahoo.answer = spoil(good)
    with pytest.raises(
        CourseError, match=r"Yahoo! Finance gave no prices of MSFT.*--source bundled"
    ):
        prices.load("MSFT", "2012-03-01", "2012-03-05", source="yahoo")
    assert [path for path in yahoo.cache.rglob("*") if path.is_file()] == []
    yahoo.answer = good
    assert len(prices.load("MSFT", "2012-03-01", "2012-03-05", source="yahoo")) == 3


def test_prices_are_given_where_none_can_be_kept(yahoo):
    yahoo.cache.write_text("a file where the folder would be")
    assert len(prices.load("MSFT", "2012-03-01", "2012-03-05", source="yahoo")) == 3


def test_a_file_of_the_cache_appears_whole_or_not_at_all(tmp_path):
    """A write that is cut off leaves what was there before: nothing, or the whole older file."""
    kept = tmp_path / "MSFT.csv"
    cut_off = "2012-03-01,1\n" * 9 + "\ud800"  # no file can hold this letter
    with pytest.raises(UnicodeEncodeError):
        prices._keep(cut_off, kept)
    assert not kept.exists()
    prices._keep("whole", kept)
    with pytest.raises(UnicodeEncodeError):
        prices._keep(cut_off, kept)
    assert kept.read_text() == "whole"
