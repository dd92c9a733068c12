"""Draws the diagrams of the notebooks as SVG files into this folder: `python
tutorials/figures/draw.py`.

Standard library only, the same bytes at each run. The colours are those of Okabe and Ito (2008),
which people with any kind of colour vision can tell apart. Text is at least 15 units high on a page
900 units wide. What stands in `_{}` at the end of a text is lowered: c_{t}.
"""

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape

BLUE, ORANGE, GREEN, RED, SKY, PINK = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
)
INK, GREY, PALE, WHITE = "#222222", "#666666", "#F4F5F7", "#FFFFFF"
WIDTH = 900

Point = tuple[float, float]


def tint(colour: str, share: float = 0.14) -> str:
    """The colour thinned with white, to write on."""
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return "#" + "".join(f"{round(255 - share * (255 - part)):02X}" for part in parts)


class Picture:
    """An SVG page, drawn from back to front. The calls give back nothing; `svg()` is the file."""

    def __init__(self, height: float, title: str, description: str):
        """Begin an empty page; its title and description are what a screen reader says."""
        self.height, self.title, self.description = height, title, description
        self.parts: list[str] = []

    def svg(self) -> str:
        """The page as the text of an SVG file."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}"'
            f' width="{WIDTH}" height="{self.height}" role="img" aria-labelledby="title desc"'
            f' font-family="Helvetica, Arial, sans-serif" fill="{INK}">'
        )
        about = (
            f'<title id="title">{escape(self.title)}</title>\n<desc'
            f' id="desc">{escape(self.description)}</desc>'
        )
        return "\n".join(
            [
                head,
                about,
                f'<rect width="{WIDTH}" height="{self.height}" fill="{WHITE}"/>',
                *self.parts,
                "</svg>\n",
            ]
        )

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: int = 16,
        colour: str = INK,
        bold: bool = False,
        anchor: str = "middle",
    ) -> None:
        """One line; y is its middle."""
        weight = ' font-weight="bold"' if bold else ""
        low = rf'<tspan dy="{size * 0.28:.4g}" font-size="{size * 0.7:.4g}">\1</tspan>'
        spans = re.sub(r"_\{(.*)\}$", low, escape(words))
        self.parts.append(
            f'<text x="{x:g}" y="{y + size * 0.35:.4g}" font-size="{size}" text-anchor="{anchor}"'
            f' fill="{colour}"{weight}>{spans}</text>'
        )

    def lines(
        self,
        x: float,
        y: float,
        words: Sequence[str],
        *,
        size: int = 16,
        colour: str = INK,
        bold: bool = False,
        anchor: str = "middle",
    ) -> None:
        """Several lines around the middle y."""
        for number, line in enumerate(words):
            self.text(
                x,
                y + (number - (len(words) - 1) / 2) * size * 1.3,
                line,
                size=size,
                colour=colour,
                bold=bold,
                anchor=anchor,
            )

    def rect(
        self,
        x: float,
        y: float,
        w: float,
        h: float,
        *,
        fill: str = WHITE,
        stroke: str = "none",
        radius: float = 10,
        dashed: bool = False,
    ) -> None:
        """A rectangle with round corners."""
        dashes = ' stroke-dasharray="6 5"' if dashed else ""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="{radius:g}" fill="{fill}"'
            f' stroke="{stroke}" stroke-width="2"{dashes}/>'
        )

    def box(
        self,
        x: float,
        y: float,
        w: float,
        h: float,
        head: str,
        *below: str,
        colour: str = BLUE,
        dashed: bool = False,
        size: int = 18,
    ) -> None:
        """A box with a bold head and lines under it, all in the middle."""
        self.rect(x, y, w, h, fill=tint(colour), stroke=colour, dashed=dashed)
        middle, step = y + h / 2, 20
        self.text(x + w / 2, middle - len(below) * step / 2, head, size=size, bold=True)
        for number, line in enumerate(below):
            self.text(
                x + w / 2,
                middle - len(below) * step / 2 + size * 0.2 + (number + 1) * step,
                line,
                size=15,
            )

    def badge(
        self, x: float, y: float, words: str, *, colour: str = BLUE, width: float = 34
    ) -> None:
        """A filled pill with a number in it."""
        self.rect(x - width / 2, y - 13, width, 26, fill=colour, radius=13)
        self.text(x, y, words, size=16, colour=WHITE, bold=True)

    def circle(
        self, x: float, y: float, radius: float, *, fill: str = WHITE, stroke: str = "none"
    ) -> None:
        """A disc."""
        self.parts.append(
            f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{fill}" stroke="{stroke}"'
            ' stroke-width="2"/>'
        )

    def line(
        self,
        points: Sequence[Point],
        *,
        colour: str = GREY,
        width: float = 2.5,
        dashed: bool = False,
    ) -> None:
        """A line through the points."""
        path = " ".join(f"{x:.4g},{y:.4g}" for x, y in points)
        dashes = ' stroke-dasharray="6 5"' if dashed else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"'
            f' stroke-linejoin="round"{dashes}/>'
        )

    def arrow(
        self, *points: Point, colour: str = GREY, dashed: bool = False, width: float = 2.5
    ) -> None:
        """A line with a head at its last point."""
        (x0, y0), (x1, y1) = points[-2:]
        turn, size = math.atan2(y1 - y0, x1 - x0), 11
        neck = (x1 - size * math.cos(turn), y1 - size * math.sin(turn))
        self.line([*points[:-1], neck], colour=colour, width=width, dashed=dashed)
        wings = [
            (x1 - size * 1.15 * math.cos(turn + side), y1 - size * 1.15 * math.sin(turn + side))
            for side in (0.42, -0.42)
        ]
        head = " ".join(f"{x:.4g},{y:.4g}" for x, y in [(x1, y1), *wings])
        self.parts.append(f'<polygon points="{head}" fill="{colour}"/>')


CLOSES = (
    32.29,
    32.08,
    31.80,
    31.56,
    31.84,
    32.01,
    31.99,
    32.04,
    32.67,
    32.77,
    32.85,
    32.60,
    32.20,
    31.99,
    31.91,
    32.00,
)
"""Microsoft's closing prices from 2012-03-01 on, dollars, as traded: the curves in the pictures are
real.
"""


def curve(x: float, y: float, w: float, h: float, count: int = len(CLOSES)) -> list[Point]:
    """The first closing prices, scaled into a rectangle."""
    low, high = min(CLOSES[:count]), max(CLOSES[:count])
    return [
        (x + w * number / (count - 1), y + h - h * (close - low) / (high - low))
        for number, close in enumerate(CLOSES[:count])
    ]


def case_study() -> Picture:
    """What the whole course is about."""
    page = Picture(
        440,
        "The case study in one picture",
        "Prices are cut into windows of three days, an LSTM reads a window and forecasts tomorrow's"
        " close. The forecast 'tomorrow = today' takes the last price of the window and costs"
        " nothing. Both are judged on days that neither has seen. Three open questions: does"
        " yesterday determine tomorrow, does normalising help, is the parameter good enough?",
    )
    page.text(30, 30, "Is the forecast any good?", size=22, bold=True, anchor="start")
    page.rect(30, 62, 190, 128, fill=PALE)
    page.line(curve(48, 82, 154, 66), colour=BLUE, width=3)
    page.text(125, 170, "prices", bold=True, size=18)
    page.arrow((224, 126), (258, 126))
    page.rect(262, 62, 160, 128, fill=PALE)
    for x, y in ((284, 118), (312, 104), (340, 110)):
        page.circle(x, y, 10, fill=BLUE)
    page.arrow((356, 106), (384, 96))
    page.circle(398, 91, 9, fill=WHITE, stroke=RED)
    page.text(342, 170, "windows", bold=True, size=18)
    page.arrow((426, 126), (482, 126))
    page.box(486, 82, 130, 88, "LSTM", "learns", colour=BLUE)
    page.arrow((620, 126), (682, 126))
    page.box(686, 82, 184, 88, "tomorrow's close", "a forecast, dollars", colour=RED, size=17)
    page.arrow((342, 194), (342, 246), (452, 246), colour=ORANGE)
    page.text(352, 229, "the last price", size=15, anchor="start")
    page.box(456, 212, 190, 68, "tomorrow = today", "costs nothing", colour=ORANGE, size=17)
    page.arrow((650, 246), (682, 246), colour=ORANGE)
    page.arrow((778, 174), (778, 208), colour=RED)
    page.box(686, 212, 184, 68, "judge", "both on the same days", colour=GREEN)
    page.line([(30, 312), (870, 312)], colour="#D5D7DB", width=1.5)
    page.text(30, 338, "Open questions", size=16, bold=True, anchor="start", colour=GREY)
    for x, first, second in (
        (30, "Does yesterday", "determine tomorrow?"),
        (318, "Does normalising", "help?"),
        (606, "Is the parameter", "good enough?"),
    ):
        page.rect(x, 358, 264, 64, fill=tint(PINK), stroke=PINK)
        page.circle(x + 36, 390, 19, fill=WHITE, stroke=PINK)
        page.text(x + 36, 390, "?", size=24, bold=True)
        page.lines(x + 66, 390, [first, second], size=17, anchor="start")
    return page


def versions(page: Picture, x: float, y: float, latest: int, colour: str) -> None:
    """Three small cards, one behind the other; the front one bears the latest version."""
    for behind in (2, 1, 0):
        page.rect(x + behind * 7, y - behind * 6, 46, 26, fill=WHITE, stroke=colour, radius=5)
    page.text(x + 23, y + 13, f"v{latest}", size=15, bold=True)


def ml_system() -> Picture:
    """A traditional system beside an ML system."""
    page = Picture(
        430,
        "A traditional system and an ML system",
        "In a traditional system only code has versions: it is built and deployed, and the same"
        " code behaves in the same way. In an ML system code, data and model each have versions:"
        " code and data are trained into a model, the model is deployed, and each of the three can"
        " change the behaviour.",
    )
    page.rect(20, 20, 310, 390, fill=PALE)
    page.text(175, 48, "A traditional system", size=20, bold=True)
    page.box(80, 84, 150, 56, "code")
    versions(page, 244, 102, 7, BLUE)
    page.arrow((155, 144), (155, 178))
    page.box(80, 182, 150, 56, "build", colour=GREY)
    page.arrow((155, 242), (155, 276))
    page.box(80, 280, 150, 56, "deploy", colour=GREY)
    page.lines(175, 374, ["Same code, same behaviour:", "one thing to keep versions of."], size=16)
    page.rect(350, 20, 530, 390, fill=PALE)
    page.text(615, 48, "An ML system", size=20, bold=True)
    page.box(380, 84, 130, 56, "code")
    versions(page, 524, 102, 7, BLUE)
    page.box(660, 84, 130, 56, "data", colour=ORANGE)
    versions(page, 804, 102, 31, ORANGE)
    page.arrow((445, 144), (445, 210), (516, 210))
    page.arrow((725, 144), (725, 210), (654, 210))
    page.box(520, 182, 130, 56, "train", colour=GREY)
    page.arrow((585, 242), (585, 276))
    page.box(520, 280, 130, 56, "model", colour=GREEN)
    versions(page, 664, 298, 12, GREEN)
    page.arrow((516, 308), (478, 308))
    page.box(380, 280, 94, 56, "deploy", colour=GREY)
    page.lines(
        615,
        374,
        [
            "Each of the three can change the behaviour,",
            "so each needs versions, tests and a way back.",
        ],
        size=16,
    )
    page.lines(782, 316, ["the world", "moves on"], size=15, colour=GREY)
    page.arrow((776, 290), (776, 144), colour=ORANGE, dashed=True)
    return page


def life_cycle() -> Picture:
    """The loop of an ML system, with the notebooks on it."""
    page = Picture(
        430,
        "The life cycle of an ML system, with the notebook that teaches each stage",
        "A loop: data (notebook 03), explore (03), build and train (01, 02, 04), tune (05),"
        " pipeline (06, 07, 08), serve (09, 10), watch for drift (11), close the loop (12), and"
        " back to data. Notebook 00, start here, stands in the middle.",
    )
    stages = [
        (30, 50, "data", "prices of 13 years", ["03"], BLUE),
        (252, 50, "explore", "returns, windows", ["03"], BLUE),
        (474, 50, "build, train", "and judge", ["01", "02", "04"], BLUE),
        (696, 50, "tune", "Katib", ["05"], ORANGE),
        (696, 290, "pipeline", "KFP, Elyra, Tekton", ["06", "07", "08"], ORANGE),
        (474, 290, "serve", "KServe", ["09", "10"], GREEN),
        (252, 290, "watch", "has the data drifted?", ["11"], RED),
        (30, 290, "close the loop", "retrain, gate, deploy", ["12"], RED),
    ]
    for x, y, head, below, numbers, colour in stages:
        page.box(x, y, 174, 92, head, below, colour=colour)
        for place, number in enumerate(numbers):
            page.badge(
                x + 87 + (place - (len(numbers) - 1) / 2) * 40,
                y,
                number,
                colour=colour if colour != ORANGE else "#8A5F00",
            )
    for x in (208, 430, 652):
        page.arrow((x, 96), (x + 40, 96))
        page.arrow((x + 40, 336), (x, 336))
    page.arrow((783, 146), (783, 272))
    page.arrow((117, 272), (117, 146), colour=RED)
    page.text(130, 209, "and round again", size=16, anchor="start", colour=RED)
    page.badge(450, 189, "00", colour=INK)
    page.text(450, 221, "start here", size=18, bold=True)
    page.text(450, 412, "A number is the notebook that teaches the stage.", size=15, colour=GREY)
    return page


def platform() -> Picture:
    """What Kubeflow saves you from, and what it gives."""
    page = Picture(
        520,
        "Without Kubeflow and with it",
        "Without Kubeflow you would have to be an expert in containers, Kubernetes, storage,"
        " networking, GPUs, schedulers, service mesh, sign-in, monitoring, workflow engines, model"
        " servers and secrets. With it you use Notebooks, Trainer, Katib, Pipelines, KServe and"
        " Hub, on Kubernetes. It is composable, portable and scalable.",
    )
    page.rect(20, 20, 370, 340, fill=PALE)
    page.lines(
        205, 56, ["Without Kubeflow you would have", "to be an expert in"], size=18, bold=True
    )
    skills = [
        "containers",
        "Kubernetes",
        "storage",
        "networking",
        "GPUs",
        "schedulers",
        "service mesh",
        "sign-in",
        "monitoring",
        "workflow engines",
        "model servers",
        "secrets",
    ]
    for number, skill in enumerate(skills):
        x, y = 38 + number % 2 * 174, 98 + number // 2 * 42
        page.rect(x, y, 160, 34, fill=WHITE, stroke=GREY, radius=17)
        page.text(x + 80, y + 17, skill)
    page.arrow((398, 190), (442, 190), width=4)
    page.rect(450, 20, 430, 340, fill=PALE)
    page.text(665, 48, "With Kubeflow you use", size=19, bold=True)
    gives = [
        ("Notebooks", "write and explore", BLUE),
        ("Trainer", "train on many machines", BLUE),
        ("Katib", "tune", ORANGE),
        ("Pipelines", "automate", ORANGE),
        ("KServe", "serve", GREEN),
        ("Hub", "keep models and find them", PINK),
    ]
    for number, (name, what, colour) in enumerate(gives):
        y = 72 + number * 38
        page.rect(470, y, 390, 32, fill=tint(colour), stroke=colour)
        page.text(488, y + 16, name, size=17, bold=True, anchor="start")
        page.text(600, y + 16, what, anchor="start")
    page.rect(470, 306, 390, 40, fill=GREY)
    page.text(665, 326, "Kubernetes, on any machine or cloud", colour=WHITE, bold=True)
    cards = [
        ("composable", "take the parts you need,", "add your own"),
        ("portable", "the same objects on laptop,", "server room and cloud"),
        ("scalable", "more machines, or none,", "by changing a number"),
    ]
    for number, (head, *below) in enumerate(cards):
        page.box(20 + number * 292, 384, 276, 112, head, *below, colour=SKY)
    return page


def laptop_cluster() -> Picture:
    """One object, one switch, two places."""
    page = Picture(
        400,
        "One object, one switch, two places",
        "The same three objects, the Experiment, the pipeline YAML and the model with its"
        " InferenceService, pass one switch, WORKSHOP_TARGET. Set to laptop, they run as processes"
        " of this machine; set to cluster, they are sent to Kubeflow and run as Pods.",
    )
    page.text(140, 36, "the objects", size=19, bold=True)
    for y, head, below in (
        (62, "Experiment", "YAML, for Katib"),
        (158, "pipeline", "YAML, for Pipelines"),
        (254, "model", "with InferenceService"),
    ):
        page.box(30, y, 220, 76, head, below)
    page.text(140, 362, "the same for both", size=16, colour=GREY)
    page.line([(258, 100), (290, 100), (290, 292), (258, 292)])
    page.arrow((258, 196), (328, 196))
    page.rect(332, 150, 216, 92, fill=INK)
    page.text(440, 176, "WORKSHOP_TARGET", size=17, colour=WHITE, bold=True)
    page.rect(352, 196, 82, 30, fill=ORANGE, radius=15)
    page.text(393, 211, "laptop", bold=True)
    page.rect(442, 196, 86, 30, fill=INK, stroke=WHITE, radius=15)
    page.text(485, 211, "cluster", colour=WHITE)
    page.arrow((440, 146), (440, 106), (596, 106), colour=ORANGE)
    page.arrow((440, 246), (440, 286), (596, 286), colour=GREEN, dashed=True)
    for y, colour, head, rows in (
        (
            24,
            ORANGE,
            "this laptop",
            [
                "a trial is a process",
                "a step is a process",
                "the server is a process",
                "no network, no account",
            ],
        ),
        (
            208,
            GREEN,
            "a Kubeflow cluster",
            [
                "a trial is a Pod",
                "a step is a Pod",
                "the server is a Pod, or several",
                "many machines, many people",
            ],
        ),
    ):
        page.rect(600, y, 280, 168, fill=tint(colour), stroke=colour)
        page.text(624, y + 30, head, size=19, bold=True, anchor="start")
        for number, row in enumerate(rows):
            page.text(624, y + 64 + number * 27, row, anchor="start")
    return page


def dashboard() -> Picture:
    """The menu of Kubeflow's central dashboard, drawn."""
    page = Picture(
        610,
        "Kubeflow's central dashboard: a drawing, not a screenshot",
        "A side menu with each entry's name today, its name in the talk, and the notebook that uses"
        " it: Home; Notebooks; TensorBoards; Volumes; Snapshots, in the talk only; KServe"
        " Endpoints, in the talk Models; Model Registry, today only; Katib Experiments, in the talk"
        " Experiments (AutoML); Pipelines; Experiments, in the talk Experiments (KFP); Runs;"
        " Recurring Runs; Artifacts and Executions. At the top a namespace chooser, and beside the"
        " menu a page with cards that say what the entries hold.",
    )
    menu, dim = "#1F3A5F", "#C9D6E8"
    page.rect(20, 20, 860, 540, fill=WHITE, stroke=GREY)
    page.rect(21, 21, 456, 538, fill=menu, radius=9)
    page.text(40, 46, "Kubeflow", size=20, colour=WHITE, bold=True, anchor="start")
    for x, head, anchor in ((72, "today", "start"), (262, "in the talk", "start")):
        page.text(x, 82, head, size=15, colour=dim, anchor=anchor)
    page.text(464, 82, "notebook", size=15, colour=dim, anchor="end")
    entries = [
        ("Home", "Home", "–", SKY),
        ("Notebooks", "Notebooks", "all", SKY),
        ("TensorBoards", "Tensorboards", "06", SKY),
        ("Volumes", "Volumes", "06", "#B8BCC4"),
        ("–", "Snapshots", "–", "#B8BCC4"),
        ("KServe Endpoints", "Models", "09-10", GREEN),
        ("Model Registry", "–", "–", GREEN),
        ("Katib Experiments", "Experiments (AutoML)", "05", ORANGE),
        ("Pipelines", "Pipelines", "06-08", PINK),
        ("Experiments", "Experiments (KFP)", "06", PINK),
        ("Runs", "Runs", "06", PINK),
        ("Recurring Runs", "Recurring runs", "06, 12", PINK),
        ("Artifacts", "Artifacts", "06", PINK),
        ("Executions", "Executions", "06", PINK),
    ]
    for number, (today, talk, notebook, colour) in enumerate(entries):
        y = 112 + number * 32
        page.rect(40, y - 9, 18, 18, fill=colour, radius=5)
        renamed = today.lower() != talk.lower()
        page.text(72, y, today, size=16, colour=WHITE, anchor="start", bold=renamed)
        page.text(262, y, talk, size=15, colour=dim, anchor="start")
        page.text(464, y, notebook, size=15, colour=dim, anchor="end")
    page.rect(492, 36, 236, 36, fill=PALE, stroke="#C5C9D0", radius=6)
    page.text(506, 54, "namespace: your-name", anchor="start")
    page.text(714, 54, "▾")
    cards = [
        ("Notebooks, TensorBoards", "write, and watch a training", SKY),
        ("Volumes", "disks that outlive a Pod", GREY),
        ("KServe Endpoints", "what answers requests now", GREEN),
        ("Katib Experiments", "searches and their trials", ORANGE),
    ]
    for number, (head, below, colour) in enumerate(cards):
        page.box(492, 92 + number * 74, 372, 62, head, below, colour=colour, size=17)
    page.rect(492, 388, 372, 156, fill=tint(PINK), stroke=PINK)
    rows = [
        ("Pipelines", "recipes, with versions"),
        ("Experiments", "folders of runs"),
        ("Runs", "a recipe followed once"),
        ("Recurring Runs", "… or by the clock"),
        ("Artifacts", "what came out"),
        ("Executions", "which step made it"),
    ]
    for number, (head, below) in enumerate(rows):
        page.text(506, 404 + number * 25, head, bold=True, anchor="start")
        page.text(658, 404 + number * 25, below, anchor="start")
    page.text(
        450,
        587,
        "A drawing, not a screenshot. Numbers: the notebook that uses the entry.",
        size=15,
        colour=GREY,
    )
    return page


def lstm_cell() -> Picture:
    """The cell of notebook 02, gate by gate."""
    page = Picture(
        484,
        "The LSTM cell",
        "The cell state runs along the top from c of the step before to c of this step: it is"
        " multiplied by the forget gate f, then the input gate i times the candidate is added. The"
        " gates are computed from x of this step and h of the one before. The output gate o times"
        " the tanh of the cell state is h of this step.",
    )
    page.rect(120, 44, 660, 364, fill=PALE)
    page.arrow((60, 100), (231, 100), colour=BLUE, width=4)
    page.arrow((269, 100), (511, 100), colour=BLUE, width=4)
    page.arrow((549, 100), (840, 100), colour=BLUE, width=4)
    page.text(390, 80, "cell state: what is remembered", size=15, colour=BLUE)
    page.line([(60, 340), (650, 340)], colour=GREY)
    page.arrow((170, 436), (170, 342))
    page.circle(170, 340, 5, fill=GREY)
    gates = (
        (250, "σ", "f_{t}", "forget gate"),
        (390, "σ", "i_{t}", "input gate"),
        (530, "tanh", "c̃_{t}", "candidate"),
        (650, "σ", "o_{t}", "output gate"),
    )
    for x, function, symbol, name in gates:
        page.line([(x, 340), (x, 306)])
        if x != 650:
            page.circle(x, 340, 5, fill=GREY)
        page.rect(x - 36, 262, 72, 44, fill=tint(ORANGE, 0.35), stroke=ORANGE, radius=6)
        page.text(x, 284, function, size=19, bold=True)
        page.text(x - 14, 240, symbol, size=20, anchor="end")
        page.text(x, 382, name, size=15)
    page.arrow((250, 262), (250, 119))
    page.arrow((390, 262), (390, 180), (511, 180))
    page.arrow((530, 262), (530, 199))
    page.arrow((530, 161), (530, 119))
    page.arrow((650, 262), (650, 225), (701, 225))
    page.line([(720, 100), (720, 136)], colour=BLUE)
    page.circle(720, 100, 5, fill=BLUE)
    page.rect(684, 136, 72, 38, fill=tint(SKY, 0.35), stroke=BLUE, radius=6)
    page.text(720, 155, "tanh", size=18, bold=True)
    page.arrow((720, 174), (720, 206))
    page.arrow((720, 244), (720, 340), (840, 340), colour=RED, width=4)
    for x, y, sign in ((250, 100, "×"), (530, 100, "+"), (530, 180, "×"), (720, 225, "×")):
        page.circle(x, y, 19, fill=WHITE, stroke=INK)
        page.text(x, y - 1, sign, size=26, bold=True)
    page.text(866, 100, "c_{t}", size=22, bold=True, colour=BLUE)
    page.text(866, 340, "h_{t}", size=22, bold=True, colour=RED)
    page.text(170, 456, "x_{t}", size=22, bold=True)
    page.text(30, 100, "c_{t-1}", size=22, bold=True, colour=BLUE)
    page.text(30, 340, "h_{t-1}", size=22, bold=True, colour=RED)
    return page


def rnn_unrolled() -> Picture:
    """A recurrent cell over a sentence."""
    page = Picture(
        350,
        "An RNN cell unrolled over the words I am a good guy",
        "Five copies of one cell with the same weights stand side by side. Each reads one word, I,"
        " am, a, good, guy, and hands its state h to the next. The last one answers: what comes"
        " next?",
    )
    page.text(
        450,
        30,
        "One cell, drawn once for each word: all five have the same weights",
        size=19,
        bold=True,
    )
    words = ["I", "am", "a", "good", "guy"]
    for number, word in enumerate(words, start=1):
        x = 24 + number * 142
        page.text(x, 322, f"“{word}”", size=22, bold=True)
        page.text(x, 290, f"x_{{{number}}}", size=18, colour=GREY)
        page.arrow((x, 272), (x, 230))
        page.rect(x - 42, 162, 84, 64, fill=tint(BLUE), stroke=BLUE)
        page.text(x, 194, "RNN", size=19, bold=True)
        if number < len(words):
            page.arrow((x + 46, 194), (x + 96, 194), colour=BLUE)
            page.text(x + 70, 174, f"h_{{{number}}}", size=18, colour=BLUE)
    page.arrow((74, 194), (120, 194), colour=BLUE)
    page.text(96, 174, "h_{0}", size=18, colour=BLUE)
    page.arrow((734, 158), (734, 112), colour=RED)
    page.text(752, 136, "h_{5}", size=18, colour=RED, anchor="start")
    page.circle(734, 84, 24, fill=tint(RED), stroke=RED)
    page.text(734, 84, "?", size=28, bold=True)
    page.text(698, 84, "what comes next", size=18, anchor="end")
    return page


def windows() -> Picture:
    """Windows along the prices, and the split."""
    page = Picture(
        520,
        "Windows of three prices, and the chronological split",
        "A window of three prices slides along the price series one day at a time; the price after"
        " each window is its target. The windows are then split in the order of time: the oldest 80"
        " percent to train, the next 10 to validate, the newest 10 to test.",
    )
    page.text(
        30, 32, "Three prices in, the next one is the target", size=20, bold=True, anchor="start"
    )
    points = curve(80, 70, 760, 90, count=12)
    for number, (x, y) in enumerate(points[:6]):
        page.line([(x, y), (x, min(206 + 40 * number, 286))], colour="#E3E5E9", width=1.5)
    page.line(points, colour="#B8BCC4", width=3)
    for x, y in points:
        page.circle(x, y, 7, fill=INK)
    for number, row in enumerate((206, 246, 286)):
        xs = [x for x, _ in points[number : number + 4]]
        page.rect(
            xs[0] - 20,
            row - 15,
            xs[2] - xs[0] + 40,
            30,
            fill=tint(BLUE, 0.25),
            stroke=BLUE,
            radius=15,
        )
        for x in xs[:3]:
            page.circle(x, row, 7, fill=BLUE)
        page.circle(xs[3], row, 9, fill=WHITE, stroke=RED)
        page.circle(xs[3], row, 4, fill=RED)
    after = points[5][0]
    page.text(after + 46, 206, "window 1 and its target", size=17, anchor="start")
    page.text(after + 46, 246, "a day later: window 2", size=17, anchor="start")
    page.text(after + 46, 286, "and so on, to the last price", size=17, anchor="start")
    page.line([(30, 330), (870, 330)], colour="#D5D7DB", width=1.5)
    page.text(
        30,
        360,
        "The windows, split in the order of time: nothing is shuffled",
        size=20,
        bold=True,
        anchor="start",
    )
    for x, w, share, head, below, colour in (
        (30, 612, "80 %", "train", "the network learns from these", BLUE),
        (650, 106, "10 %", "validate", "to choose", ORANGE),
        (764, 106, "10 %", "test", "to judge once", RED),
    ):
        page.rect(x, 388, w, 62, fill=tint(colour, 0.25), stroke=colour)
        page.text(x + w / 2, 408, head, size=18, bold=True)
        page.text(x + w / 2, 432, share, size=16)
        page.text(x + w / 2, 468, below, size=15)
    page.arrow((30, 498), (870, 498))
    page.rect(408, 486, 84, 24, radius=0)
    page.text(450, 498, "time", size=16, colour=GREY)
    return page


def two_kinds() -> Picture:
    """What is chosen before the training, and what the training finds."""
    page = Picture(
        330,
        "Hyperparameters and the parameters of the model",
        "On the left three knobs, window, learning rate and units, the hyperparameters: chosen"
        " before the training begins. An arrow leads to the training, and from there to a net of"
        " weights, the 20,065 parameters of the model, which the training finds. The finished model"
        " gives one number, the validation error. A dashed arrow leads from it back to the knobs:"
        " the search chooses again, and each round is a trial.",
    )
    page.rect(20, 20, 250, 220, fill=tint(ORANGE), stroke=ORANGE)
    page.text(145, 46, "hyperparameters", size=20, bold=True)
    page.text(145, 72, "chosen before the training", size=15)
    for y, turn, name, value in (
        (112, -0.9, "window", "3"),
        (158, -1.9, "learning rate", "0.001"),
        (204, -2.6, "units", "64"),
    ):
        page.circle(52, y, 15, fill=WHITE, stroke=ORANGE)
        page.line([(52, y), (52 + 13 * math.cos(turn), y + 13 * math.sin(turn))], colour=INK)
        page.text(78, y, name, size=17, anchor="start")
        page.text(256, y, value, size=17, bold=True, anchor="end")
    page.arrow((274, 130), (304, 130))
    page.box(308, 96, 134, 68, "training", "from the prices", colour=GREY)
    page.arrow((446, 130), (476, 130))
    page.rect(480, 20, 224, 220, fill=tint(BLUE), stroke=BLUE)
    page.text(592, 46, "model parameters", size=20, bold=True)
    page.text(592, 72, "found by the training", size=15)
    columns = [
        [(530, y) for y in (112, 142, 172)],
        [(590, y) for y in (100, 128, 156, 184)],
        [(650, y) for y in (142,)],
    ]
    for left, right in pairwise(columns):
        for start in left:
            for end in right:
                page.line([start, end], colour=BLUE, width=1.2)
    for column in columns:
        for x, y in column:
            page.circle(x, y, 9, fill=WHITE, stroke=BLUE)
    page.text(590, 218, "20,065 weights", size=17, bold=True)
    page.arrow((708, 130), (738, 130))
    page.box(742, 88, 138, 84, "one number", "the error on the", "validation days", colour=GREEN)
    page.arrow((812, 176), (812, 290), (145, 290), (145, 244), colour=ORANGE, dashed=True)
    page.rect(318, 274, 324, 32, radius=0)
    page.text(480, 290, "the search chooses again: the next trial", size=16)
    return page


PICTURES = {
    "case-study": case_study,
    "ml-system": ml_system,
    "life-cycle": life_cycle,
    "platform": platform,
    "laptop-cluster": laptop_cluster,
    "dashboard": dashboard,
    "lstm-cell": lstm_cell,
    "rnn-unrolled": rnn_unrolled,
    "windows": windows,
    "two-kinds-of-parameters": two_kinds,
}


def main() -> None:
    """Write every picture beside this file."""
    for name, draw in PICTURES.items():
        Path(__file__).with_name(f"{name}.svg").write_text(
            draw().svg(), encoding="utf-8", newline="\n"
        )


if __name__ == "__main__":
    main()
