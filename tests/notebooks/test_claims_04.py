"""What notebook 04 says of the networks.

Trained numbers differ between processors in late digits, and for the unsteady network of the talk,
after 100 epochs, in early ones: the bands are as wide as the sentence can bear.
"""

import numpy as np
import pytest

from tests.notebooks.claims import claim


@claim("04", "A hundred weights for every example.")
def test_the_network_has_a_hundred_weights_an_example(notebook):
    assert notebook("slide.count_params() / len(parts.train)") == pytest.approx(100, rel=0.03)


@claim(
    "04",
    "With the same batches in the same order, its error is that of the two calls above, to the"
    " cent.",
)
def test_train_gives_the_error_of_keras_with_the_same_batches(notebook):
    ours, plain = notebook("""
import warnings
import tensorflow as tf

keras.utils.set_random_seed(0)
again = keras.models.clone_model(slide)
again.compile(loss="mse", optimizer=keras.optimizers.Adam(learning_rate=0.001))
batches = tf.data.Dataset.from_tensor_slices((parts.train.inputs, parts.train.targets))
batches = batches.shuffle(len(parts.train), seed=0).batch(32).repeat()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Keras says that it leaves the order to the batches
    _ = again.fit(batches, steps_per_epoch=7, epochs=100, verbose=0)
first.scores.mae, float(evaluate.mae(model.forecast(again, parts.test), parts.test.targets))
""")
    assert ours == pytest.approx(plain, abs=0.01)


@claim(
    "04",
    "The same network, the same first weights, and more than twice the error: 0.59 dollars, after"
    " 0.24.",
)
def test_the_order_of_the_batches_decides(notebook):
    slide, first = notebook(
        "evaluate.mae(model.forecast(slide, parts.validation), parts.validation.targets),"
        " first.progress[-1].validation_mae"
    )
    assert first > 2 * slide


@claim("04", "its training error of about one dollar is what the best single price would reach")
def test_the_plateau_is_a_constant_forecast(notebook):
    constant = notebook(
        "float(np.abs(parts.train.targets - np.median(parts.train.targets)).mean())"
    )
    assert constant == pytest.approx(1, abs=0.1)
    assert notebook(
        "[p.training_mae for p in first.progress if p.epochs in (20, 30, 40)]"
    ) == pytest.approx([constant] * 3, rel=0.1)


@claim("04", "0.97! Here many a blog post stops.")
def test_the_curve_looks_fine(notebook):
    assert notebook(
        "float(np.corrcoef(model.forecast(first.model, made), made.targets)[0, 1])"
    ) == pytest.approx(0.97, abs=0.015)


@claim(
    "04",
    "The network is 0.49 dollars off, persistence 0.18. Doing nothing is more than twice as good.",
)
def test_doing_nothing_is_better(notebook):
    network, nothing = notebook("first.scores.mae, doing_nothing")
    assert nothing == pytest.approx(0.177, abs=0.001)
    assert network > 2 * nothing


@claim(
    "04",
    "From 0.97 to 0.40, with an interval that reaches down to zero. Is that at least something?"
    " No: one and the same price every day reaches 0.46.",
)
def test_one_price_every_day_knows_the_change_as_well(notebook):
    network, low, one_price = notebook(
        "(r := stats.pearsonr(forecast_change, real_change)) and (float(r.statistic),"
        " float(r.confidence_interval()[0]), float(stats.pearsonr(same_price,"
        " real_change).statistic))"
    )
    assert network == pytest.approx(0.40, abs=0.1)
    assert low == pytest.approx(0, abs=0.1)
    assert one_price == pytest.approx(0.46, abs=0.005)
    assert one_price > network


@claim(
    "04",
    "in random walks of 25 days it is 0.29 on average, and nothing can be forecast there.",
)
def test_the_correlation_flatters_a_forecast_that_stands_still(notebook):
    walks = np.random.default_rng(0).normal(size=(20_000, 26)).cumsum(axis=1)
    found = [np.corrcoef(-walk[:-1], np.diff(walk))[0, 1] for walk in walks]
    assert np.mean(found) == pytest.approx(0.29, abs=0.01)


@claim("04", "the network's forecast runs along above them")
def test_the_forecast_runs_above_the_price(notebook):
    assert notebook("bool((forecast_change > 0).all())")


@claim(
    "04",
    "The five runs spread from 0.36 to 1.27 dollars; persistence needs no run at all, and sits at"
    " 0.18.",
)
def test_the_seed_decides(notebook):
    errors, nothing = notebook("talk_errors, doing_nothing")
    assert min(errors) > 1.3 * nothing
    assert max(errors) > 2 * min(errors)
    assert max(errors) < 2


@claim(
    "04",
    "That is the luckiest of the six, and it only reaches what doing nothing reaches.",
)
def test_the_slides_own_run_was_lucky(notebook):
    slide, errors, nothing = notebook("slide_error, talk_errors, doing_nothing")
    assert slide < min(errors)
    assert slide > 0.95 * nothing


@claim("04", "The whole range of the year, from 23 to 28 dollars, is a whisper of 0.07")
def test_dollars_saturate_the_gates(notebook):
    low, high = notebook("float(averages[cheap]), float(averages[dear])")
    assert (round(low), round(high)) == (23, 28)
    assert notebook("float(np.abs(states[0] - states[1]).max())") == pytest.approx(0.07, abs=0.02)


@pytest.fixture
def times(notebook):
    """The five errors of each variant, as multiples of persistence's."""
    return notebook(
        "{name: [float(error / doing_nothing) for error in some] for name, some in errors.items()}"
    )


@claim(
    "04",
    "Scaling alone takes the error from 4.3 to 1.14 times that of persistence: it helps a lot. The"
    " link alone takes it to 1.01, with dollars going in as they are.",
)
def test_each_cure_alone_helps_and_the_link_most(times):
    talk, scaled, linked = (
        np.mean(times[name])
        for name in ("talk: dollars in, a price out", "scaled", "linked to today")
    )
    assert 2.5 < talk < 6
    assert 1.07 < scaled < 1.25
    assert linked == pytest.approx(1.01, abs=0.02)


@claim("04", "And once the link is there, scaling helps no more: 1.04.")
def test_with_the_link_scaling_no_longer_helps(times):
    scaled, linked = np.mean(times["scaled and linked"]), np.mean(times["linked to today"])
    assert scaled == pytest.approx(1.04, abs=0.03)
    assert scaled > linked


@claim("04", "With its random first weights, the linked network is already near today's price")
def test_the_linked_network_begins_near_todays_price(notebook):
    untrained = notebook(
        "float(np.mean([(keras.utils.set_random_seed(seed), evaluate.mae(model.forecast("
        "variant(linked=True), parts.test), parts.test.targets))[1] for seed in range(5)]))"
    )
    assert untrained < 0.5  # of a price of 27 dollars


@claim("04", "all linked networks crowd around persistence")
def test_all_linked_networks_are_near_persistence(times):
    for name in ("linked to today", "scaled and linked", "linked, begins at zero", "relative"):
        assert times[name] == pytest.approx([1] * 5, abs=0.13)
        assert max(times[name]) < min(times["talk: dollars in, a price out"]) / 1.5


@claim(
    "04",
    "Two linked runs lie left of the line, by 1 to 2 %. What did they find? Nothing that varies:"
    " each adds one or two cents to every price, in a month in which the price rose more often than"
    " it fell. The other three subtract a cent or two.",
)
def test_the_linked_network_adds_the_same_every_day(notebook, times):
    assert min(times["linked to today"]) > 0.97
    added = notebook("""
added = []
for seed in range(5):
    keras.utils.set_random_seed(seed)
    network = variant(linked=True)
    _ = model.fit(network, parts.train, seed=seed)
    said = model.forecast(network, parts.test)
    scored = evaluate.score(said, parts.test)
    change = said - parts.test.today
    added.append((float(change.mean()), float(change.std()), scored.skill_low, scored.skill_high))
added
""")
    for (mean, spread, low, high), error in zip(added, times["linked to today"], strict=True):
        assert 0.005 < abs(mean) < 0.03
        assert spread < 0.008
        assert (error < 1) == (mean > 0)
        assert low < 0 < high
    assert sum(mean > 0 for mean, *_ in added) == 2


@claim("04", "`relative` untrained stands at 1.00: it *is* persistence.")
def test_an_untrained_relative_network_is_persistence(notebook, times):
    assert times["relative, untrained"] == pytest.approx([1] * 5, abs=1e-3)
    assert (
        notebook(
            "float(np.abs(model.forecast(model.build('relative', 3, seed=7), made) -"
            " made.today).max())"
        )
        < 1e-5
    )


@claim(
    "04",
    "A hundred epochs take it to 1.04, and none of its five runs is better than where it began.",
)
def test_training_makes_relative_worse(times):
    assert np.mean(times["relative"]) == pytest.approx(1.04, abs=0.03)
    assert min(times["relative"]) > 1


@claim(
    "04",
    "`relative` is about 5 % worse than persistence. That is a small loss, but not a tie: its"
    " interval lies below zero, too, and *p* is 0.027.",
)
def test_what_the_intervals_say(notebook):
    talk, skill, high, p = notebook(
        "scores['talk'].skill_high, scores['relative'].skill, scores['relative'].skill_high,"
        " scores['relative'].dm_p"
    )
    assert talk < -0.5
    assert skill == pytest.approx(-0.05, abs=0.03)
    assert high < 0
    assert p < 0.05


@claim("04", 'both intervals contain the 0.58 of "up" every day.')
def test_neither_knows_the_direction(notebook):
    assert notebook("first.scores.ups") == pytest.approx(0.58, abs=0.005)
    assert notebook("[s.hits_low < s.ups < s.hits_high for s in scores.values()]") == [True, True]


@claim("04", 'it says "up" on all 25 days.')
def test_the_talks_network_says_up_every_day(notebook):
    assert notebook("len(parts.test), int((forecast_change > 0).sum())") == (25, 25)


@pytest.fixture
def nine_years(notebook):
    """Of each run of the walk-forward: the skill, and its interval."""
    return notebook(
        "{name: [(s.skill, s.skill_low, s.skill_high) for s in (evaluate.score(each, judged) for"
        " each in forecasts)] for name, forecasts in walked.items()}"
    )


@claim("04", "And over all nine years together, 2,265 days,")
def test_all_nine_years_are_judged(notebook):
    assert notebook("len(judged), sorted(set(judged.dates.year.tolist()))") == (
        2265,
        list(range(2004, 2013)),
    )


@claim("04", "The network of the talk is 42 to 61 % worse than persistence, depending on the seed.")
def test_the_talks_network_loses_by_far(nine_years):
    for skill, _, high in nine_years["talk"]:
        assert -0.9 < skill < -0.25
        assert high < 0


@claim(
    "04",
    "`relative` is 1.5 to 1.7 % worse, and all three of its intervals lie below zero: it loses a"
    " little, and nine years say so clearly.",
)
def test_the_relative_network_loses_a_little(nine_years):
    for skill, _, high in nine_years["relative"]:
        assert skill == pytest.approx(-0.016, abs=0.004)
        assert high < 0


@claim(
    "04",
    "The two weights are 0.5 % worse, and their interval reaches barely above zero: a tie.",
)
def test_two_weights_tie(nine_years):
    ((skill, low, high),) = nine_years["two weights"]
    assert skill == pytest.approx(-0.005, abs=0.0005)
    assert low < 0 < high < 0.001


@claim(
    "04",
    "**Two weights, found in one step, do at least as well as 20,065 that took a hundred epochs.**",
)
def test_two_weights_do_as_well_as_twenty_thousand(nine_years):
    ((skill, _, _),) = nine_years["two weights"]
    assert all(skill > other for other, _, _ in nine_years["relative"] + nine_years["talk"])


@claim(
    "04",
    "The two weights stay close to the line, `relative` joins them after two worse years, and the talk's network drops far below.",
)
def test_the_years_lie_near_the_line_but_for_the_talks_network(notebook):
    lowest, highest = notebook(
        "{name: float(table.min().min()) for name, table in skills.items()}, {name:"
        " float(table.max().max()) for name, table in skills.items()}"
    )
    assert lowest["two weights"] > -0.025
    assert lowest["relative"] > -0.11
    later = notebook("float(skills['relative'].loc[:, 2006:].min().min())")
    assert later > -0.04
    assert lowest["talk"] < -1
    assert max(highest.values()) < 0.03  # "by more than a hair"


@claim("04", "two past changes gave a skill of −0.005 over nine years")
def test_two_past_changes_do_not_help(nine_years):
    assert nine_years["two weights"][0][0] == pytest.approx(-0.005, abs=0.0005)


@claim("04", "Over 3 days the skill is −0.16, because that mean is younger")
def test_a_shorter_average_loses_less(notebook):
    assert notebook(
        "evaluate.score(evaluate.window_mean(parts.test), parts.test).skill"
    ) == pytest.approx(-0.16, abs=0.005)


@claim("04", "The same call gives the same numbers on the same machine.")
def test_the_same_call_gives_the_same_numbers(notebook):
    assert notebook("train.train(msft, chosen).scores == scores['relative']")
