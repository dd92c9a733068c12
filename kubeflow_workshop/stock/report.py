"""What a person opens to see how good a model is: a page of HTML that holds its own figures.

Taught in notebook 06. Nothing on a page is loaded from elsewhere, so it can be sent, and opened
years later. No TensorFlow here: a forecast is an array of dollars.
"""

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from html import escape

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kubeflow_workshop.stock import evaluate, plots
from kubeflow_workshop.stock.evaluate import Scores
from kubeflow_workshop.stock.gate import Decision
from kubeflow_workshop.stock.windows import Windows

SHOWN = 60
"""Test days in the figure, the newest ones; a year of them could not be told apart."""
_NOTHING = "–"
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
.report {{ font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 52rem;
  margin: 0 auto; padding: 1rem; }}
.report h1 {{ font-size: 1.5rem; margin: 0.5rem 0; }}
.report h2 {{ font-size: 1.15rem; margin: 1.5rem 0 0.5rem; }}
.report p.decision {{ border-left: 0.4rem solid; padding: 0.5rem 1rem; background: #f6f6f6; }}
.report p.accepted {{ border-color: {accepted}; }}
.report p.refused {{ border-color: {refused}; }}
.report img {{ max-width: 100%; height: auto; }}
.report div {{ overflow-x: auto; }}
.report table {{ border-collapse: collapse; }}
.report th, .report td {{ text-align: left; padding: 0.25rem 1rem 0.25rem 0; vertical-align: top;
  border-bottom: 1px solid #ddd; }}
.report td {{ font-variant-numeric: tabular-nums; white-space: nowrap; }}
</style>
</head>
<body class="report">
{body}
</body>
</html>
"""


def evaluation(
    forecast: np.ndarray, windows: Windows, scores: Scores, decision: Decision, card: Mapping
) -> str:
    """The page about one model version: the decision, the newest test days in a figure, the
    scores, the data, the parameters.

    Taught in notebook 06.

    Args:
        forecast: the price forecast for each test day, dollars; [windows].
        windows: the test days.
        scores: of that forecast on these days.
        decision: of the gate.
        card: of the version, as `train.card` makes it.

    Returns:
        HTML.
    """
    data = card["data"]
    shown, told = windows[-SHOWN:], forecast[-SHOWN:]
    errors = [
        evaluate.mae(dollars, shown.targets) for dollars in (told, evaluate.persistence(shown))
    ]
    finding = (
        f"Over {len(shown)} days, the model is {errors[0]:.2f} dollars off on average,"
        f" persistence {errors[1]:.2f}"
    )

    def draw(ax: Axes) -> None:
        days = {"price": shown.targets, "model": told, "persistence": evaluate.persistence(shown)}
        plots.lines(
            {name: pd.Series(dollars, shown.dates) for name, dollars in days.items()},
            title=finding,
            x="",
            y="adjusted close, dollars",
            ax=ax,
        )

    about = f"The price on the newest {len(shown)} test days with both forecasts. {finding}."
    verdict = "Accepted" if decision.accepted else "Refused"
    return _page(
        f"{verdict}: {data['series']}, network {card['network']}",
        [
            _decision(decision),
            _figure(draw, about),
            "<h2>Scores on the test days</h2>",
            _table(["", "model", "persistence", "model's 95 % interval"], _scored(scores)),
            "<h2>Data</h2>",
            _table(
                [],
                [
                    ["series", data["series"]],
                    ["days", f"{data['rows']}, {data['first_day']} to {data['last_day']}"],
                    [
                        "test days",
                        f"{scores.days}, {windows.dates[0]:%Y-%m-%d} to"
                        f" {windows.dates[-1]:%Y-%m-%d}",
                    ],
                    ["SHA-256 of the prices", data["sha256"]],
                ],
            ),
            "<h2>Hyperparameters and libraries</h2>",
            _table(
                [],
                [
                    [name, f"{value}"]
                    for name, value in {**card["hyperparameters"], **card["libraries"]}.items()
                ],
            ),
        ],
    )


def comparison_table(judged: Mapping[str, tuple[Scores, Decision]]) -> pd.DataFrame:
    """Several models side by side.

    Taught in notebook 06.

    Args:
        judged: ticker → the scores of its model, and what the gate decided.

    Returns:
        One row per ticker (index `ticker`, in the order given), with the columns `days`, `mae`,
        `persistence_mae` (dollars), `skill`, `skill_low`, `skill_high` and `accepted` (bool).
    """
    columns = ["days", "mae", "persistence_mae", "skill", "skill_low", "skill_high"]
    rows = [asdict(scores) | {"accepted": made.accepted} for scores, made in judged.values()]
    return pd.DataFrame(rows, index=pd.Index(judged, name="ticker"), columns=[*columns, "accepted"])


def comparison(judged: Mapping[str, tuple[Scores, Decision]]) -> str:
    """The page about several tickers: their skills in a figure, a table, and the reasons.

    Taught in notebook 06.

    Args:
        judged: ticker → the scores of its model, and what the gate decided; the gate asked for the
            same skill each time.

    Returns:
        HTML.
    """
    table = comparison_table(judged)
    accepted = int(table["accepted"].sum())
    title = f"{accepted} of {len(table)} models accepted"
    if not len(table):
        return _page(title, ["<p>No model was judged.</p>"])
    asked = next(iter(judged.values()))[1].at_least

    def draw(ax: Axes) -> None:
        plots.intervals(
            # from below, so that the first row of the table is the highest here, too
            {
                row.Index: (row.skill_low, row.skill, row.skill_high)
                for row in reversed(list(table.itertuples()))
            },
            reference=(f"the gate: {asked:g}", asked),
            title=f"{accepted} of {len(table)} intervals begin at {asked:g} or above",
            label="skill against persistence (0 is as good), with its 95 % interval",
            ax=ax,
        )

    rows = [
        [
            f"{row.Index}",
            f"{row.days}",
            _number(row.mae, ".3f"),
            _number(row.persistence_mae, ".3f"),
            _number(row.skill),
            _interval(row.skill_low, row.skill_high),
            "accepted" if row.accepted else "refused",
        ]
        for row in table.itertuples()
    ]
    header = ["ticker", "test days", "model, MAE in dollars", "persistence", "skill"]
    return _page(
        title,
        [
            _figure(draw, f"The skill of each model with its interval. {title}."),
            _table([*header, "95 % interval", "gate"], rows),
            "<h2>Why</h2>",
            *(_decision(decision, ticker) for ticker, (_, decision) in judged.items()),
        ],
    )


def _scored(scores: Scores) -> list[list[str]]:
    """The rows of the table of scores."""
    return [
        [
            "mean absolute error, dollars",
            _number(scores.mae, ".3f"),
            _number(scores.persistence_mae, ".3f"),
            "",
        ],
        [
            "root mean squared error, dollars",
            _number(scores.rmse, ".3f"),
            _number(scores.persistence_rmse, ".3f"),
            "",
        ],
        [
            "skill (0 is persistence, 1 is perfect)",
            _number(scores.skill),
            _number(0),
            _interval(scores.skill_low, scores.skill_high),
        ],
        [
            f"right about up or down (“up” each day: {_number(scores.ups, '.0%')})",
            _number(scores.hits, ".0%"),
            "",
            _interval(scores.hits_low, scores.hits_high, ".0%"),
        ],
        ["Diebold-Mariano test, p", _number(scores.dm_p, ".3f"), "", ""],
    ]


def _number(value: float, form: str = "+.3f") -> str:
    return f"{value:{form}}" if math.isfinite(value) else _NOTHING


def _interval(low: float, high: float, form: str = "+.3f") -> str:
    ends = [_number(low, form), _number(high, form)]
    return _NOTHING if _NOTHING in ends else " to ".join(ends)


def _page(title: str, body: Sequence[str]) -> str:
    return _PAGE.format(
        title=escape(title),
        accepted=plots.GREEN,
        refused=plots.RED,
        body="\n".join([f"<h1>{escape(title)}</h1>", *body]),
    )


def _decision(decision: Decision, about: str = "") -> str:
    kind = "accepted" if decision.accepted else "refused"
    name = f"<b>{escape(about)}.</b> " if about else ""
    return f'<p class="decision {kind}">{name}{escape(decision.why)}</p>'


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column names its rows."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    lines = [
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for first, *cells in rows
    ]
    return "\n".join(
        ["<div><table>", *([f"<tr>{head}</tr>"] if header else []), *lines, "</table></div>"]
    )


def _figure(draw: Callable[[Axes], None], alt: str) -> str:
    """A drawing in the style of the course, as a picture within the page."""
    kept = io.BytesIO()
    with plt.rc_context({"svg.hashsalt": "report"}):  # the same drawing gives the same bytes
        plots.style()
        figure = Figure()  # not pyplot's: a notebook that makes a page must not show it as well
        FigureCanvasAgg(figure)  # `plots` asks it where the lines end
        draw(figure.subplots())
        figure.savefig(kept, format="svg", metadata={"Date": None})
    picture = base64.b64encode(kept.getvalue()).decode()
    return f'<p><img alt="{escape(alt)}" src="data:image/svg+xml;base64,{picture}"></p>'
