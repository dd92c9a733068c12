"""One style for every figure of the course. Nothing is computed here: what is drawn comes in
finished.

Colours are those of Okabe and Ito (Color Universal Design, 2008), which people with any kind of
colour vision can tell apart; lines differ in their dashes too, so a greyscale print can be read.
Used in every notebook; shown in notebook 03.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
GREY = "#666666"
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
    steps: bool = False,
    reference: tuple[str, float] | None = None,
    ax: Axes | None = None,
) -> None:
    """Up to four lines, each named at its right end.

    Args:
        values: name → numbers [points]; a pandas Series brings its own places on the x axis.
        title: what the figure says, as a sentence.
        x, y: the names of the axes, with units.
        at: places on the x axis [points] for values that bring none; 0, 1, 2 … without it.
        log: True draws the y axis with powers of ten.
        steps: True holds each number until the next one, as for what is best so far.
        reference: name and height of a level line.
        ax: draw into these axes instead of a new figure.
    """
    ax = _frame(title, x, y, ax)
    ends = []
    for (name, line), (colour, dashes) in zip(values.items(), _CYCLE, strict=False):
        places = (
            line.index if isinstance(line, pd.Series) else range(len(line)) if at is None else at
        )
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
        ax.axhline(reference[1], color=GREY, linewidth=1.2)
        ends.append((reference[0], GREY, reference[1]))
    if log:
        ax.set_yscale("log")
    _names(ax, ends)


def _names(ax: Axes, ends: Sequence[tuple[str, str, float]]) -> None:
    """Write each name right of the axes at the height where its line ends, moved apart where two
    would overlap.
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
    values: Sequence[float],
    *,
    reference: tuple[str, float],
    title: str,
    label: str,
    rows: str = "run",
    ax: Axes | None = None,
) -> None:
    """One dot a run along a line, beside a reference that needs no run.

    Args:
        values: one number a run [runs].
        reference: name and value of what the runs are held against.
        title: what the figure says, as a sentence.
        label: the name of the numbers, with units.
        rows: what one dot is.
        ax: draw into these axes instead of a new figure.
    """
    ax = _frame(title, label, rows, ax)
    ax.plot(values, range(len(values)), "o", color=BLUE, markersize=9)
    ax.axvline(reference[1], color=RED, linestyle="--")
    ax.annotate(
        reference[0],
        (reference[1], 1.0),
        xycoords=("data", "axes fraction"),
        color=RED,
        fontweight="bold",
        xytext=(4, -12),
        textcoords="offset points",
    )
    ax.set_yticks(range(len(values)))
    ax.set_ylim(-0.5, len(values))


def bars(
    values: Mapping[str, float],
    *,
    title: str,
    y: str,
    x: str = "",
    reference: tuple[str, float] | None = None,
    ax: Axes | None = None,
) -> None:
    """A bar a name, its value written on it.

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
        ax.axhline(reference[1], color=RED, linestyle="--")
        _names(ax, [(reference[0], RED, reference[1])])


def intervals(
    rows: Mapping[str, tuple[float, float, float]],
    *,
    reference: tuple[str, float],
    title: str,
    label: str,
    ax: Axes | None = None,
) -> None:
    """A value and its interval a row, beside a reference.

    Args:
        rows: name → (low, value, high).
        reference: name and value of what the rows are held against.
        title: what the figure says, as a sentence.
        label: the name of the numbers, with units.
        ax: draw into these axes instead of a new figure.
    """
    ax = _frame(title, label, "", ax)
    for height, (low, value, high) in enumerate(rows.values()):
        ax.plot([low, high], [height, height], color=BLUE, linewidth=2)
        ax.plot([value], [height], "o", color=BLUE, markersize=8)
    ax.axvline(reference[1], color=RED, linestyle="--")
    ax.annotate(
        reference[0],
        (reference[1], 1.0),
        xycoords=("data", "axes fraction"),
        color=RED,
        fontweight="bold",
        xytext=(4, -12),
        textcoords="offset points",
    )
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
    """Numbers from -1 to 1 (or 0 to 1) as coloured squares: blue below zero, orange above, white at
    zero.

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


def parallel(
    rows: pd.DataFrame,
    *,
    objective: str,
    title: str,
    label: str,
    log: Collection[str] = (),
    largest: bool = False,
    ax: Axes | None = None,
) -> None:
    """Parallel coordinates, as in Katib's UI: an upright axis a column, and each row a line that
    crosses every axis at its value.

    Args:
        rows: a column an axis, numbers or text; a row without an objective (NaN) is left out.
        objective: the column that is the last axis, and the colour: the darker, the better. The
            best row is drawn thick.
        title: what the figure says, as a sentence.
        label: the name of the objective, with units.
        log: columns whose axis has powers of ten.
        largest: True if the largest objective is the best.
        ax: draw into these axes instead of a new figure.
    """
    ax = _frame(title, "", "", ax)
    # the best is drawn last, on top
    rows = rows[rows[objective].notna()].sort_values(objective, ascending=largest)
    names = [name for name in rows.columns if name != objective] + [objective]
    ax.set(xlim=(0, len(names) - 1), ylim=(0, 1), yticks=[])
    ax.set_xticks(range(len(names)), [*names[:-1], label])
    ax.tick_params(axis="x", length=0, pad=10)
    ax.set_title(title, pad=14)  # the highest ticks stand at the upper edge
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    heights = np.column_stack(
        [_upright(ax, place, rows[name], name in log) for place, name in enumerate(names)]
    )
    colours = plt.get_cmap("cividis")(heights[:, -1] if not largest else 1 - heights[:, -1])
    for row, colour in zip(heights[:-1], colours[:-1], strict=True):
        ax.plot(range(len(names)), row, color=colour, linewidth=1.4)
    ax.plot(range(len(names)), heights[-1], color=RED, linewidth=3)


def _upright(ax: Axes, place: int, values: pd.Series, log: bool) -> np.ndarray:
    """Draw one axis of parallel coordinates with its ticks; returns how high each value stands on
    it, 0 to 1.
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
    plt.setp(axis.get_yticklabels(), path_effects=[withStroke(linewidth=3, foreground="white")])
    low, high = numbers.min(), numbers.max()
    axis.set_ylim((low, high) if low < high else (low * 0.9 or -1, high * 1.1 or 1))
    to_share = axis.transData + axis.transAxes.inverted()
    return to_share.transform(np.column_stack([np.zeros(len(numbers)), numbers]))[:, 1]
