"""What notebook 04 says of the networks.

Trained numbers differ between processors in late digits, and for the unsteady network of the talk,
after 100 epochs, in early ones: the bands are as wide as the sentence can bear.
"""

import pytest

from tests.notebooks.claims import claim


@claim("04", "A hundred weights for every example.")
def test_the_network_has_a_hundred_weights_an_example(notebook):
    assert notebook("network.count_params() / len(parts.train)") == pytest.approx(100, rel=0.03)


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


@claim("04", "From 0.97 to about 0.1.")
def test_the_forecast_change_says_little_of_the_real_one(notebook):
    assert notebook("float(np.corrcoef(forecast_change, real_change)[0, 1])") == pytest.approx(
        0.1, abs=0.06
    )


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


@claim("04", "The whole range of the year, from 23 to 28 dollars, is a whisper of 0.07")
def test_dollars_saturate_the_gates(notebook):
    low, high = notebook("float(made.inputs[cheap].mean()), float(made.inputs[dear].mean())")
    assert (round(low), round(high)) == (23, 28)
    assert notebook("float(np.abs(states[0] - states[1]).max())") == pytest.approx(0.07, abs=0.02)


@claim("04", "an untrained `relative` *is* persistence")
def test_an_untrained_relative_network_is_persistence(notebook):
    assert (
        notebook(
            "float(np.abs(model.forecast(model.build('relative', 3, seed=7), made) -"
            " made.today).max())"
        )
        < 1e-5
    )


@claim("04", "from 4.3 times the error of persistence to 1.04 times")
def test_normalising_helps(notebook):
    talk, relative = notebook(
        "[float(np.mean(errors) / doing_nothing) for errors in (talk_errors, relative_errors)]"
    )
    assert 2.5 < talk < 6
    assert 1.0 < relative < 1.08


@claim(
    "04",
    "The five errors lie between 0.181 and 0.189 dollars, and the seed hardly matters any more."
    " **And still no run beats persistence.**",
)
def test_the_relative_network_ties_persistence(notebook):
    errors, nothing = notebook("relative_errors, doing_nothing")
    assert errors == pytest.approx([0.185] * 5, abs=0.008)
    assert min(errors) > nothing


@claim(
    "04",
    "its whole interval is far below zero. The relative one is about 5 % behind, a tie that is"
    " slightly lost.",
)
def test_what_the_intervals_say(notebook):
    talk, relative = notebook("first.scores.skill_high, second.scores.skill")
    assert talk < -0.5
    assert relative == pytest.approx(-0.05, abs=0.03)


@claim("04", "both intervals contain 0.5: neither is told apart from a coin")
def test_neither_knows_the_direction(notebook):
    assert all(low < 0.5 < high for low, _, high in notebook("list(rows.values())"))


@claim("04", "the talk's network is below it in every year")
def test_the_talks_network_loses_every_year(notebook):
    assert notebook("float(years['talk'].skill.max())") < 0


@claim(
    "04",
    "Over ten years the relative network is 0.236 dollars off and persistence 0.234: a tie, in no"
    " year further than five hundredths from it on either side.",
)
def test_the_relative_network_ties_over_ten_years(notebook):
    off, nothing = notebook(
        "[float(np.average(years['relative'][name], weights=years['relative'].days)) for name in"
        " ('mae', 'persistence_mae')]"
    )
    assert nothing == pytest.approx(0.234, abs=0.0005)
    assert off == pytest.approx(nothing, rel=0.03)
    assert notebook("float(years['relative'].skill.abs().max())") < 0.05


@claim("04", "The talk's network is 0.75 dollars off, three times as much; in 2007,")
def test_the_talks_network_is_three_times_as_far_off(notebook):
    off, nothing = notebook(
        "[float(np.average(years['talk'][name], weights=years['talk'].days)) for name in ('mae',"
        " 'persistence_mae')]"
    )
    assert 2 < off / nothing < 4.5
    assert notebook("float(years['talk'].skill[2007])") < -9


@claim("04", "The same call gives the same numbers on the same machine.")
def test_the_same_call_gives_the_same_numbers(notebook):
    assert notebook(
        "train.train(msft, train.Hyperparameters(network='relative', seed=0)).scores =="
        " second.scores"
    )
