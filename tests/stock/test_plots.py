"""Figures: what is drawn is what was given, named, with units, and told apart without colours."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from kubeflow_workshop.stock import plots

OKABE_ITO = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}


@pytest.fixture(autouse=True)
def room():
    """The style of the course, and nothing of it left afterwards."""
    with plt.rc_context():
        plots.style()
        yield
    plt.close("all")


def texts(ax) -> dict[str, str]:
    """Each text in the axes and its colour."""
    return {text.get_text(): text.get_color() for text in ax.texts}


def titled(ax, title: str, x: str, y: str) -> bool:
    return (ax.get_title(loc="left"), ax.get_xlabel(), ax.get_ylabel()) == (title, x, y)


def test_the_colours_are_okabe_and_itos():
    assert {plots.BLUE, plots.ORANGE, plots.GREEN, plots.RED} <= OKABE_ITO


def test_persistence_has_one_colour_in_every_figure():
    one = ("persistence", 1.0)
    plots.lines({"model": [1, 2], "persistence": [2, 1]}, title="", x="", y="")
    plots.lines({"model": [1, 2]}, title="", x="", y="", reference=one)
    plots.dots([1.0], title="", label="", reference=one)
    plots.bars({"model": 2}, title="", y="", reference=one)
    plots.intervals({"model": (0, 1, 2)}, title="", label="", reference=one)
    for number in plt.get_fignums():
        (ax,) = plt.figure(number).axes
        assert texts(ax)["persistence"] == plots.REFERENCE
        assert sum(line.get_color() == plots.REFERENCE for line in ax.lines) == 1
    assert plots.REFERENCE in OKABE_ITO - {colour for colour, _ in plots._CYCLE}


def test_persistence_takes_no_colour_from_the_four_lines():
    names = ["one", "persistence", "two", "three", "four"]
    plots.lines({name: [1, 2] for name in names}, title="", x="", y="")
    colours = dict(zip(names, (line.get_color() for line in plt.gca().lines), strict=True))
    assert len(set(colours.values())) == 5
    assert colours["one"] == plots.BLUE


def test_a_band_lies_around_its_line_in_its_colour():
    plots.lines(
        {"talk": [1, 2], "relative": [0, 0]},
        bands={"relative": ([-1, -2], [3, 4])},
        title="",
        x="",
        y="",
    )
    (band,) = plt.gca().collections
    assert {tuple(point) for point in band.get_paths()[0].vertices} >= {
        (0, -1),
        (1, -2),
        (0, 3),
        (1, 4),
    }
    assert to_rgb(band.get_facecolor()[0][:3]) == to_rgb(plt.gca().lines[1].get_color())


def test_an_axis_can_be_straight_near_zero_and_logarithmic_beyond():
    plots.lines({"skill": [-5, 0.01]}, symlog=0.1, title="", x="", y="")
    ax = plt.gca()
    assert ax.get_yscale() == "symlog"
    at = [ax.transData.transform((0, height))[1] for height in (0, 0.05, 0.1, 0.2, 2, 20)]
    near, far = np.diff(at)[:2], np.diff(at)[3:]
    assert near[0] == pytest.approx(near[1])
    assert far[0] == pytest.approx(far[1])
    assert {"−1", "0"} <= {label.get_text() for label in ax.get_yticklabels()}


def test_lines_are_drawn_where_they_are_and_named_in_their_colour():
    values = {"one": [1, 2, 3], "two": np.array([3.0, 2, 1]), "three": [2, 2, 2], "four": [0, 1, 0]}
    plots.lines(
        values, title="They cross.", x="day", y="dollars", at=[10, 20, 30], reference=("level", 2.5)
    )
    ax = plt.gca()
    assert titled(ax, "They cross.", "day", "dollars")
    *drawn, level = ax.lines
    for line, given in zip(drawn, values.values(), strict=True):
        assert line.get_xdata().tolist() == [10, 20, 30]
        assert line.get_ydata().tolist() == list(given)
    assert set(level.get_ydata()) == {2.5}
    assert texts(ax) == dict(zip(values, (line.get_color() for line in drawn), strict=True)) | {
        "level": level.get_color()
    }
    assert (
        len({line.get_color() for line in drawn})
        == len({line.get_linestyle() for line in drawn})
        == 4
    )


def test_a_series_brings_its_own_days():
    series = pd.Series([1.0, 2], pd.to_datetime(["2012-03-01", "2012-03-02"]))
    plots.lines({"price": series}, title="", x="", y="dollars")
    assert list(plt.gca().lines[0].get_xdata()) == list(series.index)


def test_a_log_axis_counts_in_powers_of_ten():
    plots.lines({"gradient": [1, 0.01]}, title="", x="", y="", log=True)
    assert plt.gca().get_yscale() == "log"


@pytest.mark.parametrize("log", [False, True])
def test_names_do_not_lie_on_each_other(log):
    plots.lines(
        {name: [1, end] for name, end in (("a", 2), ("b", 2), ("c", 2.001), ("d", 100))},
        title="",
        x="",
        y="",
        log=log,
    )
    heights = sorted(text.xy[1] for text in plt.gca().texts)
    assert np.diff(heights).min() > 0.07
    order = sorted(plt.gca().texts, key=lambda text: text.xy[1])
    assert order[-1].get_text() == "d"


def test_dots_of_named_rows_stand_in_their_rows_the_first_on_top():
    plots.dots(
        {"talk": [4, 5], "relative": [1.1]},
        reference=("persistence", 1),
        title="",
        label="times persistence",
        rows="",
        log=True,
    )
    ax = plt.gca()
    runs = ax.lines[0]
    assert list(zip(runs.get_xdata(), runs.get_ydata(), strict=True)) == [
        (4, 0),
        (5, 0),
        (1.1, 1),
    ]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["talk", "relative"]
    assert ax.yaxis_inverted()
    assert ax.get_xscale() == "log"
    assert {"1", "2", "5"} <= {label.get_text() for label in ax.get_xticklabels()}


def test_dots_are_one_per_run_beside_the_reference():
    plots.dots(
        [0.4, 0.2, 0.3],
        reference=("persistence", 0.18),
        title="Luck.",
        label="MAE, dollars",
        rows="seed",
    )
    ax = plt.gca()
    assert titled(ax, "Luck.", "MAE, dollars", "seed")
    runs, level = ax.lines
    assert runs.get_xdata().tolist() == [0.4, 0.2, 0.3]
    assert list(runs.get_ydata()) == [0, 1, 2]
    assert set(level.get_xdata()) == {0.18}
    assert texts(ax) == {"persistence": level.get_color()}


def test_bars_carry_their_numbers():
    plots.bars(
        {"talk": 0.4912, "relative": 0.185},
        title="Doing nothing wins.",
        y="MAE, dollars",
        reference=("persistence", 0.177),
    )
    ax = plt.gca()
    assert [bar.get_height() for bar in ax.patches] == [0.4912, 0.185]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["talk", "relative"]
    assert {"0.491", "0.185", "persistence"} <= set(texts(ax))
    assert titled(ax, "Doing nothing wins.", "", "MAE, dollars")


def test_intervals_run_from_low_to_high_with_the_value_on_them():
    plots.intervals(
        {"talk": (-2, -1.5, -1), "relative": (-0.1, 0, 0.05)},
        reference=("persistence", 0),
        title="Far below.",
        label="skill",
    )
    ax = plt.gca()
    drawn = [line.get_xdata() for line in ax.lines]
    assert [list(xs) for xs in drawn[:4]] == [[-2, -1], [-1.5], [-0.1, 0.05], [0]]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["talk", "relative"]
    assert "persistence" in texts(ax)


def test_a_grid_is_white_at_zero_and_the_same_scale_each_time():
    plots.grid(
        [[-1, 0], [0.5, 1]], rows=["a", "b"], columns=["x", "y"], title="Gates.", label="how open"
    )
    ax, bar = plt.gcf().axes
    (image,) = ax.images
    assert image.get_array().tolist() == [[-1, 0], [0.5, 1]]
    assert image.get_clim() == (-1, 1)
    assert image.to_rgba([[0.0]])[0, 0, :3] == pytest.approx([0.97] * 3, abs=0.01)
    assert bar.get_ylabel() == "how open"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["x", "y"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plots.lines({"a": [1, 2]}, title="t", x="", y="", ax=ax),
        lambda ax: plots.dots([1], reference=("r", 1), title="t", label="", ax=ax),
        lambda ax: plots.bars({"a": 1}, title="t", y="", ax=ax),
        lambda ax: plots.intervals(
            {"a": (0, 1, 2)}, reference=("r", 1), title="t", label="", ax=ax
        ),
        lambda ax: plots.grid([[0]], rows=["a"], columns=["b"], title="t", label="", ax=ax),
        lambda ax: plots.points({"a": ([1], [2])}, title="t", x="", y="", ax=ax),
        lambda ax: plots.parallel(TRIALS, objective="error", title="t", label="", ax=ax),
    ],
    ids=["lines", "dots", "bars", "intervals", "grid", "points", "parallel"],
)
def test_every_figure_can_be_a_part_of_another(draw):
    _, (left, right) = plt.subplots(1, 2)
    draw(right)
    assert left.get_title(loc="left") == ""
    assert right.get_title(loc="left") == "t"
    assert len(plt.get_fignums()) == 1


TRIALS = pd.DataFrame(
    {
        "rate": [0.001, 0.01, 0.1],
        "window": [10.0, 2, 6],
        "cell": ["lstm", "gru", "lstm"],
        "error": [0.3, 0.2, math.nan],
    }
)


def drawn(trials: pd.DataFrame, **options) -> tuple[plt.Axes, dict[float, object]]:
    """The axes, and each trial's line by where it ends, 0 to 1."""
    plots.parallel(trials, objective="error", title="One wins.", label="MAE, dollars", **options)
    ax = plt.gcf().axes[0]
    return ax, {round(float(line.get_ydata()[-1]), 6): line for line in ax.lines}


def test_steps_hold_a_number_until_the_next():
    plots.lines({"tpe": [3, 2, 1]}, title="", x="", y="", steps=True)
    plots.lines({"tpe": [3, 2, 1]}, title="", x="", y="", ax=plt.figure().subplots())
    assert [
        figure.axes[0].lines[0].get_drawstyle() for figure in map(plt.figure, plt.get_fignums())
    ] == ["steps-post", "default"]


def test_each_line_crosses_every_axis_at_its_value():
    _, lines = drawn(TRIALS, log=["rate"])
    assert set(lines) == {0, 1}  # the trial without an error is left out
    # 0.01 of 0.001 to 0.01; 2 of 2 to 10; gru of gru, lstm; 0.2 of 0.2 to 0.3
    assert lines[0].get_ydata().tolist() == pytest.approx([1, 0, 0, 0])
    assert lines[1].get_ydata().tolist() == pytest.approx([0, 1, 1, 1])


def test_a_log_axis_gives_each_power_of_ten_the_same_room():
    trials = TRIALS.assign(error=[0.3, 0.25, 0.2])
    _, straight = drawn(trials)
    _, log = drawn(trials, log=["rate"])
    assert straight[0.5].get_ydata()[0] == pytest.approx(1 / 11)
    assert log[0.5].get_ydata()[0] == pytest.approx(1 / 2)


@pytest.mark.parametrize(("largest", "best"), [(False, 0), (True, 1)])
def test_the_best_is_thick_and_on_top_the_next_are_blue_and_the_others_pale(largest, best):
    trials = pd.DataFrame({"window": [1, 2, 3, 4], "error": [0.4, 0.3, 0.2, 0.1]})
    ax, lines = drawn(trials, largest=largest, best=2)
    assert ax.lines[-1] is lines[best]
    assert [line.get_color() for line in ax.lines] == [plots.PALE] * 2 + [plots.BLUE, plots.GREEN]
    assert lines[best].get_linewidth() > 2 * max(line.get_linewidth() for line in ax.lines[:-1])
    lightness = [
        np.dot(to_rgb(colour), (0.2126, 0.7152, 0.0722)) for colour in (plots.BLUE, plots.PALE)
    ]
    assert lightness[1] > 1.5 * lightness[0]  # to be told apart in grey


def test_lines_that_share_a_value_lie_side_by_side_and_do_not_cross():
    trials = pd.DataFrame({"units": [8, 8, 8, 64], "error": [0.3, 0.1, 0.2, 0.4]})
    _, lines = drawn(trials)
    places = [float(lines[end].get_ydata()[0]) for end in sorted(lines)]
    assert places[:3] == pytest.approx([-0.01, 0, 0.01])
    assert places[3] == 1


def test_points_are_where_they_are_and_the_last_group_is_the_largest():
    groups = {"others": ([1, 2], [3, 4]), "ten best": ([5], [6]), "best": ([7], [8])}
    plots.points(groups, title="One wins.", x="days", y="dollars")
    ax = plt.gca()
    assert titled(ax, "One wins.", "days", "dollars")
    assert [line.get_xydata().tolist() for line in ax.lines] == [
        [[1, 3], [2, 4]],
        [[5, 6]],
        [[7, 8]],
    ]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(groups)
    sizes = [line.get_markersize() for line in ax.lines]
    assert sizes == sorted(set(sizes))


def test_the_axes_are_named_and_carry_the_values_that_were_given():
    ax, _ = drawn(TRIALS.dropna(), log=["rate"])
    assert [text.get_text() for text in ax.get_xticklabels()] == [
        "rate",
        "window",
        "cell",
        "MAE, dollars",
    ]
    assert ax.get_title(loc="left") == "One wins."
    ax.figure.canvas.draw()
    ticks = [[text.get_text() for text in axis.get_yticklabels()] for axis in ax.child_axes]
    assert ticks == [["0.001", "0.01"], ["2", "10"], ["gru", "lstm"], ["0.2", "0.3"]]


def test_a_parameter_that_never_changed_stands_in_the_middle():
    _, lines = drawn(pd.DataFrame({"units": [64, 64], "error": [0.1, 0.2]}))
    assert [float(line.get_ydata()[0]) for line in lines.values()] == pytest.approx(
        [0.5, 0.5], abs=0.01
    )


def test_a_parameter_that_was_always_zero_or_below_is_drawn_too():
    for value in (0, -3):
        _, lines = drawn(pd.DataFrame({"shift": [value, value], "error": [0.1, 0.2]}))
        assert 0 < lines[0].get_ydata()[0] < 1
