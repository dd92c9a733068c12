"""What notebook 03 says of the prices."""

import pytest

from tests.notebooks.claims import claim


@claim("03", "251 days is very little data")
def test_the_last_bundled_year_has_251_days(notebook):
    assert notebook("len(msft)") == 251


@claim("03", "a calm level around 45 million shares, and a few days that tower above it")
def test_most_days_trade_some_45_million_shares(notebook):
    median, busiest = notebook("float(msft.volume.median() / 1e6), float(msft.volume.max() / 1e6)")
    assert median == pytest.approx(45, abs=4)
    assert busiest > 2.5 * median


@claim(
    "03",
    "The price had its peak on 2012-03-15, and the average of 50 days its own on 2012-05-03, seven"
    " weeks later.",
)
def test_the_longer_the_average_the_later_it_turns(notebook):
    peaks = notebook("[str(line.idxmax().date()) for line in [msft.close, *averages.values()]]")
    assert peaks == sorted(peaks)
    assert (peaks[0], peaks[-1]) == ("2012-03-15", "2012-05-03")


@claim("03", "Today's price tells tomorrow's almost perfectly (0.97)")
def test_a_price_repeats_itself(notebook):
    assert notebook("float(msft.adj_close.autocorr(1))") == pytest.approx(0.97, abs=0.01)


@claim("03", "Today's *change* tells nothing about tomorrow's (−0.01)")
def test_a_change_does_not(notebook):
    assert abs(notebook("float(returns.autocorr(1))")) < 0.02


@claim("03", "All five lie between −0.05 and +0.05.")
def test_nor_does_the_change_of_any_other_bundled_share(notebook):
    every = notebook(
        "[float(prices.load(ticker).adj_close.pct_change().autocorr(1)) for ticker in"
        " prices.cards()]"
    )
    assert len(every) == 5
    assert max(map(abs, every)) < 0.05


@claim("03", "0.25 is not much, but it is there.")
def test_the_size_of_a_move_carries_over(notebook):
    assert notebook("float(size.autocorr(1))") == pytest.approx(0.25, abs=0.01)


@claim("03", "The crash of −48.3 % was a gain of +3.4 %.")
def test_the_crash_was_a_split(notebook):
    assert notebook("float(history.close.pct_change()['2003-02-18'])") == pytest.approx(
        -0.483, abs=0.0005
    )
    assert notebook("float(history.adj_close.pct_change()['2003-02-18'])") == pytest.approx(
        0.034, abs=0.0005
    )


@claim("03", "Shuffled, it seems three times as good, and it has learnt nothing")
def test_shuffling_makes_a_calendar_look_wise(notebook):
    ordered = notebook(
        "float(np.abs(nearest_day(parts.train, parts.test) - parts.test.targets).mean())"
    )
    shuffled = notebook(
        "float(np.abs(nearest_day(mixed.train, mixed.test) - mixed.test.targets).mean())"
    )
    assert 2.5 < ordered / shuffled < 3.5
