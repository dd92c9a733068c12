"""What notebook 03 says of the prices."""

import numpy as np
import pytest

from tests.notebooks.claims import claim

ROWS = "{name: tuple(map(float, row)) for name, row in rows.items()}"


@claim("03", "251 days is very little data")
def test_the_last_bundled_year_has_251_days(notebook):
    assert notebook("len(msft)") == 251


@claim(
    "03",
    "The price had its peak on 2012-03-15, and the average of 50 days had its own on 2012-05-03,"
    " seven weeks later.",
)
def test_the_longer_the_average_the_later_it_turns(notebook):
    peaks = notebook("[str(line.idxmax().date()) for line in [msft.close, *averages.values()]]")
    assert peaks == sorted(peaks)
    assert (peaks[0], peaks[-1]) == ("2012-03-15", "2012-05-03")


@claim(
    "03",
    "it seems that today's price tells tomorrow's almost perfectly (0.97), and that today's return"
    " tells nothing about tomorrow's (−0.01)",
)
def test_prices_repeat_themselves_and_returns_do_not(notebook):
    of_prices, of_returns = notebook(
        "[float(with_the_next_day(series)) for series in (msft.adj_close, returns)]"
    )
    assert of_prices == pytest.approx(0.97, abs=0.005)
    assert of_returns == pytest.approx(-0.01, abs=0.005)


@claim(
    "03",
    "its correlation is 0.98 in the median of our worlds: higher than ours in about three of four."
    " So 0.97 is no evidence that prices can be predicted.",
)
def test_a_random_walk_repeats_itself_as_well(notebook):
    the_years_steps = "np.cumprod(1 + coin_worlds(returns, 500, seed), axis=1)"
    other_steps = "np.random.default_rng(seed).normal(size=(500, 250)).cumsum(axis=1)"
    for walks in (the_years_steps, other_steps):
        found = notebook(
            f"[[float(with_the_next_day(walk)) for walk in {walks}] for seed in range(5)]"
        )
        assert np.median(found, axis=1) == pytest.approx([0.98] * 5, abs=0.006)
        assert np.mean(np.array(found) > 0.972, axis=1) == pytest.approx([0.75] * 5, abs=0.08)


@claim("03", "on which tomorrow equals today. On the right, returns form a cloud")
def test_what_the_two_clouds_show(notebook):
    slope = notebook(
        "float(np.polyfit(msft.adj_close.to_numpy()[:-1], msft.adj_close.to_numpy()[1:], 1)[0])"
    )
    assert slope == pytest.approx(1, abs=0.05)
    after_a_rise, after_a_fall = notebook(
        "[float((returns.to_numpy()[1:][rose] > 0).mean()) for rose in"
        " (returns.to_numpy()[:-1] > 0, returns.to_numpy()[:-1] < 0)]"
    )
    assert (after_a_rise, after_a_fall) == pytest.approx((0.5, 0.5), abs=0.08)


@claim("03", "In 95 of 100 worlds, luck alone gives at most ±0.12, and our −0.01 is far inside.")
def test_luck_moves_a_year_by_a_tenth(notebook):
    widths = notebook(
        "[float(np.percentile([abs(with_the_next_day(one)) for one in coin_worlds(returns, 1000,"
        " seed)], 95)) for seed in range(5)]"
    )
    assert widths == pytest.approx([0.12] * 5, abs=0.01)


@claim("03", "All five lie between −0.05 and +0.05, and none is clearly different from zero.")
def test_no_bundled_share_is_clearly_different_from_zero(notebook):
    assert notebook("sorted(rows)") == notebook("sorted(prices.cards())")
    assert all(abs(value) < 0.05 for _, value, _ in notebook(ROWS).values())
    for seed in range(3):
        for ticker, (low, value, high) in notebook(ROWS).items():
            assert low < 0 < high
            change = f"prices.load({ticker!r}).adj_close.pct_change().dropna()"
            reached = notebook(
                f"float(np.mean([abs(with_the_next_day(one)) >= {abs(value)} for one in"
                f" coin_worlds({change}, 1000, {seed})]))"
            )
            assert reached > 0.05, (ticker, seed)


@claim("03", "Microsoft comes closest: −0.048, where luck gives ±0.051.")
def test_which_share_comes_closest(notebook):
    rows = notebook(ROWS)
    closest = max(rows, key=lambda name: abs(rows[name][1]) / (rows[name][2] - rows[name][1]))
    assert closest == "MSFT"
    low, value, high = rows["MSFT"]
    assert value == pytest.approx(-0.048, abs=0.0005)
    assert (high - low) / 2 == pytest.approx(0.051, abs=0.003)


@claim(
    "03",
    "±0.034 for 3,269 days. It assumes that all days are equally wild, and would call Microsoft's"
    " −0.048 a discovery.",
)
@claim("03", "the *heteroskedasticity-robust* standard error")
def test_the_robust_interval_is_that_of_the_coins(notebook):
    from statsmodels.api import OLS, add_constant

    from kubeflow_workshop.stock import prices

    change = prices.load("MSFT").adj_close.pct_change().dropna().to_numpy()
    assert len(change) == 3269
    assert 1.96 / len(change) ** 0.5 == pytest.approx(0.034, abs=0.0005)
    fitted = OLS(change[1:], add_constant(change[:-1])).fit(cov_type="HC1")
    low, high = fitted.conf_int()[1]
    assert (high - low) / 2 == pytest.approx(0.053, abs=0.0005)
    assert low < 0 < high


@claim("03", "0.25 is not much, but it is there: wild days follow wild days.")
def test_the_size_of_a_move_carries_over(notebook):
    assert notebook("float(with_the_next_day(size))") == pytest.approx(0.25, abs=0.01)
    assert notebook("float(by_luck)") < 0.05


@claim("03", "`adj_close` lowers all *earlier* prices in the same proportion")
@claim("03", "the newest `close`, 27.95, and its `adj_close`, 24.68, differ")
def test_the_two_closing_prices(notebook):
    assert notebook("[float(history[name].iloc[-1]) for name in ('close', 'adj_close')]") == (
        pytest.approx([27.95, 24.68], abs=0.005)
    )
    # the proportion is one number from one event to the next, and never falls with time
    share = "(history.adj_close / history.close)"
    assert notebook(f"bool({share}.diff().min() > -1e-6)")


@claim("03", "most days lie around 45 million shares, and that a few days tower above them")
def test_most_days_trade_some_45_million_shares(notebook):
    middle, often, high = notebook(
        "[float(msft.volume.median() / 1e6), float((msft.volume < 1.5 * msft.volume.median()).mean()),"
        " int((msft.volume > 2 * msft.volume.median()).sum())]"
    )
    assert middle == pytest.approx(45, abs=4)
    assert often > 0.85
    assert 2 <= high <= 10


@claim("03", "The crash of −48.3 % was a gain of +3.4 %.")
def test_the_crash_was_a_split(notebook):
    assert notebook("float(history.close.pct_change()['2003-02-18'])") == pytest.approx(
        -0.483, abs=0.0005
    )
    assert notebook("float(history.adj_close.pct_change()['2003-02-18'])") == pytest.approx(
        0.034, abs=0.0005
    )


@claim(
    "03",
    "Shuffled, it is 0.25 dollars off in the median, less than half of its error in the order of"
    ' time. It seems as good as "tomorrow = today" on the same days (0.24)',
)
def test_shuffling_makes_a_calendar_look_wise(notebook):
    calendar, today = notebook(
        "[[float(each) for each in errors] for errors in (by_calendar, by_today)]"
    )
    assert len(calendar) == 100
    assert np.median(calendar) == pytest.approx(0.25, abs=0.01)
    assert np.median(today) == pytest.approx(0.24, abs=0.01)
    assert max(calendar) < notebook("float(error(parts))")
    assert np.median(calendar) < notebook("float(error(parts))") / 2
    assert 0.25 < np.mean(np.array(calendar) < np.array(today)) < 0.6  # now one, now the other


@claim("03", "(Notebook 00 showed `adj_close`, which fell by 11 % in that year.")
def test_the_two_falls_of_the_year(notebook):
    falls = notebook(
        "[float(msft[name].iloc[-1] / msft[name].iloc[0] - 1) for name in ('close', 'adj_close')]"
    )
    assert falls == pytest.approx([-0.134, -0.108], abs=0.001)


@claim("03", "Their mean is −0.041.")
@claim("03", "luck gives at most ±0.037 in 95 of 100")
@claim("03", "it would explain 0.2 % of tomorrow's variance")
def test_three_shares_together_show_a_trace(notebook):
    both = notebook("""
together = np.stack(
    [prices.load(name).adj_close.pct_change().dropna().to_numpy() for name in ("AAPL", "IBM", "MSFT")]
)
links = lambda worlds: float(np.mean([with_the_next_day(one) for one in worlds]))
found = []
for seed in range(3):
    rng = np.random.default_rng(seed)
    coins = rng.choice([-1, 1], size=(1000, together.shape[1]))
    found.append(float(np.percentile([abs(links(coin * together)) for coin in coins], 95)))
links(together), [float(with_the_next_day(one)) for one in together], found
""")
    mean, each, luck = both
    assert mean == pytest.approx(-0.041, abs=0.0005)
    assert max(each) < 0
    assert luck == pytest.approx([0.037] * 3, abs=0.003)
    assert mean**2 == pytest.approx(0.002, abs=0.0005)


@claim("03", "110 of 3,269, about one day in thirty. `close` counts three more")
def test_what_the_solution_counts(notebook):
    large = "(history.{}.pct_change().abs() > 0.05)"
    counts = [notebook(f"int({large.format(name)}.sum())") for name in ("adj_close", "close")]
    assert counts == [110, 113]
    assert notebook(
        f"[str(day.date()) for day in history.index[{large.format('adj_close')} !="
        f" {large.format('close')}]]"
    ) == ["2003-02-18", "2004-11-15", "2009-02-17"]
