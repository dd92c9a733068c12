"""Figures of a search: steps hold until the next number, and a line crosses each upright axis at its value."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from kubeflow_workshop.stock import plots


@pytest.fixture(autouse=True)
def room():
    """The style of the course, and nothing of it left afterwards."""
    with plt.rc_context():
        plots.style()
        yield
    plt.close("all")


TRIALS = pd.DataFrame({"rate": [0.001, 0.01, 0.1], "window": [10.0, 2, 6], "cell": ["lstm", "gru", "lstm"], "error": [0.3, 0.2, math.nan]})


def drawn(trials: pd.DataFrame, **options) -> tuple[plt.Axes, dict[float, object]]:
    """The axes, and each trial's line by where it ends, 0 to 1."""
    plots.parallel(trials, objective="error", title="One wins.", label="MAE, dollars", **options)
    ax = plt.gcf().axes[0]
    return ax, {round(float(line.get_ydata()[-1]), 6): line for line in ax.lines}


def test_steps_hold_a_number_until_the_next():
    plots.lines({"tpe": [3, 2, 1]}, title="", x="", y="", steps=True)
    plots.lines({"tpe": [3, 2, 1]}, title="", x="", y="", ax=plt.figure().subplots())
    assert [figure.axes[0].lines[0].get_drawstyle() for figure in map(plt.figure, plt.get_fignums())] == ["steps-post", "default"]


def test_each_line_crosses_every_axis_at_its_value():
    _, lines = drawn(TRIALS, log=["rate"])
    assert set(lines) == {0, 1}  # the trial without an error is left out
    assert lines[0].get_ydata().tolist() == pytest.approx([1, 0, 0, 0])  # 0.01 of 0.001 to 0.01; 2 of 2 to 10; gru of gru, lstm; 0.2 of 0.2 to 0.3
    assert lines[1].get_ydata().tolist() == pytest.approx([0, 1, 1, 1])


def test_a_log_axis_gives_each_power_of_ten_the_same_room():
    trials = TRIALS.assign(error=[0.3, 0.25, 0.2])
    _, straight = drawn(trials)
    _, log = drawn(trials, log=["rate"])
    assert straight[0.5].get_ydata()[0] == pytest.approx(1 / 11)
    assert log[0.5].get_ydata()[0] == pytest.approx(1 / 2)


@pytest.mark.parametrize(("largest", "best"), [(False, 0), (True, 1)])
def test_the_best_is_red_thick_and_on_top_and_the_better_the_darker(largest, best):
    trials = pd.DataFrame({"window": [1, 2, 3, 4], "error": [0.4, 0.3, 0.2, 0.1]})
    ax, lines = drawn(trials, largest=largest)
    assert ax.lines[-1] is lines[best]
    assert lines[best].get_color() == plots.RED
    assert lines[best].get_linewidth() > 2 * lines[1 - best].get_linewidth()
    others = sorted((end for end in lines if end != best), reverse=largest)
    lightness = [np.dot(to_rgb(lines[end].get_color()), (0.2126, 0.7152, 0.0722)) for end in others]
    assert lightness == sorted(lightness)
    assert lightness[0] < lightness[-1]


def test_the_axes_are_named_and_carry_the_values_that_were_given():
    ax, _ = drawn(TRIALS.dropna(), log=["rate"])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["rate", "window", "cell", "MAE, dollars"]
    assert ax.get_title(loc="left") == "One wins."
    ax.figure.canvas.draw()
    ticks = [[text.get_text() for text in axis.get_yticklabels()] for axis in ax.child_axes]
    assert ticks == [["0.001", "0.01"], ["2", "10"], ["gru", "lstm"], ["0.2", "0.3"]]


def test_a_parameter_that_never_changed_stands_in_the_middle():
    _, lines = drawn(pd.DataFrame({"units": [64, 64], "error": [0.1, 0.2]}))
    assert lines[0].get_ydata()[0] == pytest.approx(0.5)


def test_a_parameter_that_was_always_zero_or_below_is_drawn_too():
    for value in (0, -3):
        _, lines = drawn(pd.DataFrame({"shift": [value, value], "error": [0.1, 0.2]}))
        assert 0 < lines[0].get_ydata()[0] < 1
