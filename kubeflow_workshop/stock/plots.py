"""One style for every figure of the course. These functions draw numbers and compute none.

The colours are those of Okabe and Ito (Color Universal Design, 2008), which people with any kind of
colour vision can tell apart. Lines differ in their dashes, too, so a greyscale print can be read.
Used in every notebook; shown in notebook 03.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
GREY, PALE = "#666666", "#BBBBBB"
_RANKS = ((PALE, 1.0), (BLUE, 1.5), (GREEN, 3.5))
"""Colour and weight of what is behind, of what matters, and of the one to look at."""
REFERENCE = "#000000"
"""Of persistence, in every figure, and of any other level that a forecast must beat."""
_CYCLE = list(zip((BLUE, RED, GREEN, ORANGE), ("-", "--", "-.", ":"), strict=True))


def style() -> None:
    """Set the style for all figures that follow. Call it once at the top of a notebook."""
    plt.rcParams.update(
        {
            "figure.figsize": (8, 3.5),
            "figure.dpi": 80,
            "savefig.dpi": 80,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "axes.titlesize": 12,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#E5E5E5",
            "font.size": 11,
            "date.converter": "concise",
        }
    )


def _frame(title: str, x: str, y: str, ax: Axes | None) -> Axes:
    ax = ax or plt.subplots()[1]
    ax.set(title=title, xlabel=x, ylabel=y)
    return ax


def lines(
    values: Mapping[str, Any],
    *,
    title: str,
    x: str,
    y: str,
    at: Any = None,
    log: bool = False,
    symlog: float | None = None,
    steps: bool = False,
    bands: Mapping[str, tuple[Any, Any]] | None = None,
    reference: tuple[str, float] | None = None,
    ax: Axes | None = None,
) -> None:
    """Draw up to four lines, and persistence if it is one more, each named at its right end.

    Args:
        values: name → numbers [points]; a pandas Series brings its own places on the x axis. A line
            named `persistence` has the colour of the reference.
        title: what the figure says, as a sentence.
        x, y: the names of the axes, with units.
        at: places on the x axis [points] for values that bring none; 0, 1, 2 … without it.
        log: True draws the y axis with powers of ten.
        symlog: draw the y axis straight from minus this number to this number, and with powers of
            ten beyond: for numbers around zero of which a few are far away.
        steps: True holds each number until the next one, for a value such as "the best so far".
        bands: name of a line → the lower and upper edge of a band around it, each [points].
        reference: name and height of a level line.
        ax: draw into these axes instead of a new figure.
    """
    ax = _frame(title, x, y, ax)
    ends = []
    cycle = iter(_CYCLE)
    for name, line in values.items():
        colour, dashes = (REFERENCE, "-") if name == "persistence" else next(cycle)
        places = (
            line.index if isinstance(line, pd.Series) else range(len(line)) if at is None else at
        )
        if bands and name in bands:
            ax.fill_between(places, *bands[name], color=colour, alpha=0.2, linewidth=0)
        ax.plot(
            places,
            np.asarray(line),
            color=colour,
            linestyle=dashes,
            linewidth=1.6,
            drawstyle="steps-post" if steps else "default",
        )
        ends.append((name, colour, float(np.asarray(line, dtype=float)[-1])))
    if reference:
        ax.axhline(reference[1], color=REFERENCE, linewidth=1.2)
        ends.append((reference[0], REFERENCE, reference[1]))
    if log:
        ax.set_yscale("log")
    if symlog:
        ax.set_yscale("symlog", linthresh=symlog)
        ax.yaxis.set_major_formatter("{x:g}")
    _names(ax, ends)


def _names(ax: Axes, ends: Sequence[tuple[str, str, float]]) -> None:
    """Write each name right of the axes, at the height where its line ends; names that would
    overlap are moved apart.
    """
    ax.margins(x=0.01)
    ax.figure.canvas.draw()
    to_share = ax.transData + ax.transAxes.inverted()
    names = sorted(
        (to_share.transform((0, height))[1], name, colour) for name, colour, height in ends
    )
    places: list[float] = []
    for wanted, _, _ in names:
        places.append(max(wanted, places[-1] + 0.075) if places else wanted)
    centred = sum(
        place - wanted for place, (wanted, _, _) in zip(places, names, strict=True)
    ) / len(names)
    for place, (_, name, colour) in zip(places, names, strict=True):
        ax.annotate(
            name,
            (1.01, place - centred),
            xycoords="axes fraction",
            color=colour,
            va="center",
            fontweight="bold",
            fontsize=10,
        )


def dots(
    values: Sequence[float] | Mapping[str, Sequence[float]],
    *,
    reference: tuple[str, float],
    title: str,
    label: str,
    rows: str = "run",
    log: bool = False,
    ax: Axes | None = None,
) -> None:
    """Draw one dot per run, beside the number that the runs must beat.

    Args:
        values: one number per run [runs], each in a row of its own; or name → numbers [runs], with
            one row per name, the first on top.
        reference: name and value of what the runs must beat.
        title: what the figure says, as a sentence.
        label: the name of the numbers, with units.
        rows: what one row is.
        log: True draws the axis of the numbers with powers of ten.
        ax: draw into these axes instead of a new figure.
    """
    ax = _frame(title, label, rows, ax)
    names = list(values) if isinstance(values, Mapping) else None
    runs = list(values.values()) if isinstance(values, Mapping) else [[value] for value in values]
    heights = [height for height, row in enumerate(runs) for _ in row]
    ax.plot(list(chain.from_iterable(runs)), heights, "o", color=BLUE, markersize=9, alpha=0.8)
    ax.set_yticks(range(len(runs)), names)
    ax.set_ylim(*((len(runs) - 0.5, -1) if names else (-0.5, len(runs))))
    if log:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter("{x:g}")
    _upright_reference(ax, reference)


def _upright_reference(ax: Axes, reference: tuple[str, float]) -> None:
    """Draw what must be beaten as an upright line, its name at the upper end."""
    ax.axvline(reference[1], color=REFERENCE, linewidth=1.2)
    ax.annotate(
        reference[0],
        (reference[1], 1.0),
        xycoords=("data", "axes fraction"),
        color=REFERENCE,
        fontweight="bold",
        xytext=(4, -12),
        textcoords="offset points",
    )


def bars(
    values: Mapping[str, float],
    *,
    title: str,
    y: str,
    x: str = "",
    reference: tuple[str, float] | None = None,
    ax: Axes | None = None,
) -> None:
    """Draw one bar per name, with its value written on it.

    Args:
        values: name → height.
        title: what the figure says, as a sentence.
        x, y: the names of the axes, with units.
        reference: name and height of a level line.
        ax: draw into these axes instead of a new figure.
    """
    ax = _frame(title, x, y, ax)
    drawn = ax.bar(list(values), list(values.values()), color=BLUE, width=0.6)
    ax.bar_label(drawn, fmt="{:.3g}", padding=2)
    ax.margins(y=0.12)
    ax.grid(axis="x", visible=False)
    if reference:
        ax.axhline(reference[1], color=REFERENCE, linewidth=1.2)
        _names(ax, [(reference[0], REFERENCE, reference[1])])


def intervals(
    rows: Mapping[str, tuple[float, float, float]],
    *,
    reference: tuple[str, float],
    title: str,
    label: str,
    ax: Axes | None = None,
) -> None:
    """Draw one row per name, a value with its interval, beside the number that it must beat.

    Args:
        rows: name → (low, value, high).
        reference: name and value of what the rows must beat.
        title: what the figure says, as a sentence.
        label: the name of the numbers, with units.
        ax: draw into these axes instead of a new figure.
    """
    ax = _frame(title, label, "", ax)
    for height, (low, value, high) in enumerate(rows.values()):
        ax.plot([low, high], [height, height], color=BLUE, linewidth=2)
        ax.plot([value], [height], "o", color=BLUE, markersize=8)
    _upright_reference(ax, reference)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(-0.5, len(rows))


def grid(
    values: object,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    label: str,
    x: str = "",
    y: str = "",
    ax: Axes | None = None,
) -> None:
    """Draw numbers from -1 to 1 (or 0 to 1) as coloured squares: blue below zero, orange above, and
    white at zero.

    Args:
        values: numbers [rows, columns].
        rows, columns: a name for each.
        title: what the figure says, as a sentence.
        label: what the colour means.
        x, y: the names of the axes.
        ax: draw into these axes instead of a new figure.
    """
    ax = _frame(title, x, y, ax)
    image = ax.imshow(
        np.asarray(values, dtype=float), cmap="PuOr_r", vmin=-1, vmax=1, aspect="auto"
    )
    ax.set_xticks(range(len(columns)), list(columns))
    ax.set_yticks(range(len(rows)), list(rows))
    ax.grid(visible=False)
    ax.figure.colorbar(image, ax=ax, label=label)


def points(
    groups: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    title: str,
    x: str,
    y: str,
    ax: Axes | None = None,
) -> None:
    """Up to three groups of points, the first pale and behind, the last large and in front.

    Args:
        groups: name → places on the x axis and heights, of the same length.
        title: what the figure says, as a sentence.
        x, y: the names of the axes, with units.
        ax: draw into these axes instead of a new figure.
    """
    ax = _frame(title, x, y, ax)
    for (name, (places, heights)), (colour, size) in zip(groups.items(), _RANKS, strict=False):
        ax.plot(places, heights, "o", color=colour, markersize=4 + 1.5 * size, label=name)
    ax.legend(frameon=False, fontsize=9)


def parallel(
    rows: pd.DataFrame,
    *,
    objective: str,
    title: str,
    label: str,
    log: Collection[str] = (),
    best: int = 10,
    largest: bool = False,
    ax: Axes | None = None,
) -> None:
    """Parallel coordinates, as in Katib's UI: one upright axis per column, and each row is a line
    that crosses every axis at its value.

    Lines that share a value lie side by side there, so that each can be followed.

    Args:
        rows: one column per axis, numbers or text; a row without an objective (NaN) is left out.
        objective: the column of the last axis. The best row is green and thick, the next ones are
            blue, and all others are grey.
        title: what the figure says, as a sentence.
        label: the name of the objective, with units.
        log: columns whose axis has powers of ten.
        best: how many rows are not grey.
        largest: True if the largest objective is the best.
        ax: draw into these axes instead of a new figure.
    """
    ax = _frame(title, "", "", ax)
    # the best is drawn last, on top
    rows = rows[rows[objective].notna()].sort_values(objective, ascending=largest)
    names = [name for name in rows.columns if name != objective] + [objective]
    ax.set(xlim=(0, len(names) - 1), ylim=(-0.06, 1.06), yticks=[])
    ax.xaxis.tick_top()
    ax.set_xticks(range(len(names)), [*names[:-1], label])
    ax.tick_params(axis="x", length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    heights = np.column_stack(
        [_upright(ax, place, rows[name], name in log) for place, name in enumerate(names)]
    )
    for place in range(len(names) - 1):
        heights[:, place] = _side_by_side(heights[:, place], heights[:, place + 1])
    for number, row in enumerate(heights, 1):
        rank = 2 if number == len(heights) else int(number > len(heights) - best)
        colour, width = _RANKS[rank]
        ax.plot(range(len(names)), row, color=colour, linewidth=width, clip_on=False)


def _side_by_side(heights: np.ndarray, towards: np.ndarray) -> np.ndarray:
    """Heights, those that are the same moved apart by a little, in the order of where they go."""
    moved = heights.copy()
    for height in np.unique(heights):
        (same,) = np.nonzero(heights == height)
        room = min(0.08, 0.01 * (len(same) - 1))
        order = same[np.argsort(towards[same], kind="stable")]
        moved[order] += np.linspace(-room / 2, room / 2, len(same)) if len(same) > 1 else 0
    return moved


def _upright(ax: Axes, place: int, values: pd.Series, log: bool) -> np.ndarray:
    """Draw one axis of parallel coordinates with its ticks, and return how high each value stands
    on it, from 0 to 1.
    """
    axis = ax.inset_axes((place, 0, 0.001, 1), transform=ax.transData)
    axis.spines[["left"]].set_visible(True)
    axis.set(xticks=[], facecolor="none")
    axis.grid(visible=False)
    if pd.api.types.is_numeric_dtype(values):
        numbers = values.to_numpy(dtype=float)
        if log:
            axis.set_yscale("log")
        few, whole = np.unique(numbers), bool((numbers == numbers.round()).all())
        axis.yaxis.set_major_locator(
            FixedLocator(few.tolist())
            if len(few) <= 5
            else (
                LogLocator(subs=(1, 3))
                if log
                else MaxNLocator(6, steps=[1, 2, 5, 10], integer=whole)
            )
        )
        axis.yaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_formatter("{x:g}")
    else:
        texts = sorted(set(values))
        numbers = np.array([texts.index(value) for value in values], dtype=float)
        axis.yaxis.set_major_locator(FixedLocator(range(len(texts))))
        axis.yaxis.set_ticklabels(texts)
    # lines cross them
    paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.8}
    plt.setp(axis.get_yticklabels(), bbox=paper, fontsize=9)
    low, high = numbers.min(), numbers.max()
    axis.set_ylim((low, high) if low < high else (low * 0.9 or -1, high * 1.1 or 1))
    to_share = axis.transData + axis.transAxes.inverted()
    return to_share.transform(np.column_stack([np.zeros(len(numbers)), numbers]))[:, 1]
