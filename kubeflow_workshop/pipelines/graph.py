"""Draw a pipeline: its steps from left to right, each with its state and time, as SVG.

Taught in notebook 06. The picture is made from the YAML, so it can be drawn before anything runs,
and from the tasks of a run, on a laptop and on a cluster alike. Groups are boxes: a loop, the
branches of a condition, a pipeline in the pipeline.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from kubeflow_workshop.pipelines.spec import Pipeline
from kubeflow_workshop.pipelines.store import duration
from kubeflow_workshop.stock.plots import BLUE, GREEN, GREY, PALE, RED

STEP_WIDTH, STEP_HEIGHT = 88, 44
GAP, STACK = 20, 12
"""Between columns, and between what stands in one column."""
EDGE, TITLE = 8, 20
"""Around what is in a box, and above it for the box's title."""
LETTER = 5.6
"""Width of a letter of a title, on average."""
_COLOURS = {
    "RUNNING": BLUE,
    "SUCCEEDED": GREEN,
    "FAILED": RED,
    "CANCELED": RED,
    "SKIPPED": PALE,
}
_WORDS = {"SUCCEEDED": "done", "RUNNING": "running", "CANCELED": "stopped"}
_TURN = re.compile(r"-iteration-\d+")
_INPUT = re.compile(r"inputs\.parameter_values\['([^']*)'\]")


@dataclass
class Box:
    """A step, or a group of them, and where it is drawn.

    Attributes:
        name: of the task.
        path: the groups that it is in, and its name, with dots between them.
        title: of a group.
        inside: the boxes of a group.
        after: the names of the boxes beside it that it waits for.
        x, y, width, height: in pixels; the corner at the upper left is within the group.
    """

    name: str
    path: str
    title: str = ""
    inside: list["Box"] = field(default_factory=list)
    after: set[str] = field(default_factory=set)
    x: float = 0
    y: float = 0
    width: float = STEP_WIDTH
    height: float = STEP_HEIGHT

    def place(self) -> None:
        """Place what is inside, in columns: each box right of all that it waits for."""
        columns: dict[int, list[Box]] = {}
        by_name = {box.name: box for box in self.inside}
        depth: dict[str, int] = {}

        def column(box: Box) -> int:
            if box.name not in depth:
                waits = [column(by_name[name]) for name in box.after if name in by_name]
                depth[box.name] = max(waits, default=-1) + 1
            return depth[box.name]

        for box in self.inside:
            if box.inside:
                box.place()
            columns.setdefault(column(box), []).append(box)
        heights = {
            number: sum(box.height for box in boxes) + STACK * (len(boxes) - 1)
            for number, boxes in columns.items()
        }
        edge, top = (EDGE, TITLE) if self.title else (0, 0)
        x, tallest = float(edge), max(heights.values())
        for number in sorted(columns):
            y = top + (tallest - heights[number]) / 2
            widest = max(box.width for box in columns[number])
            for box in columns[number]:
                box.x, box.y = x + (widest - box.width) / 2, y
                y += box.height + STACK
            x += widest + GAP
        needed = x - GAP + edge
        self.width = max(needed, len(self.title) * LETTER + 2 * edge)
        self.height = top + tallest + edge
        for box in self.inside:  # a long title makes room at both sides
            box.x += (self.width - needed) / 2


def layout(pipeline: Pipeline) -> Box:
    """The boxes of a pipeline, placed."""

    def group(name: str, path: str, title: str, component: Mapping) -> Box:
        tasks = component["dag"]["tasks"]
        box = Box(name, path, title)
        for each, task in tasks.items():
            called = pipeline.component(task)
            way, title = f"{path}.{each}".lstrip("."), _title(each, task, tasks)
            one = group(each, way, title, called) if "dag" in called else Box(each, way)
            one.after = {other for other in task.get("dependentTasks", []) if other in tasks}
            box.inside.append(one)
        _leave_out_what_is_implied(box.inside)
        return box

    whole = group("", "", "", pipeline.spec["root"])
    whole.place()
    return whole


def _title(name: str, task: Mapping, beside: Iterable[str]) -> str:
    """What stands above a group: what it loops over, or its condition in few words."""
    if items := task.get("parameterIterator", task.get("artifactIterator", {})).get("items"):
        of = items.get("inputParameter") or items.get("inputArtifact") or "a list"
        return f"for each of {_channel(f'{of}', beside)}"
    if condition := task.get("triggerPolicy", {}).get("condition"):
        if condition.startswith("!"):
            return "else"
        said = _INPUT.sub(lambda found: _channel(found[1], beside), condition)
        return f"if {said.removesuffix(' == true').replace(chr(39), '')}"
    return "" if name.startswith("condition-branches") else name


def _channel(name: str, beside: Iterable[str]) -> str:
    """How a reader would call what kfp calls `pipelinechannel--gate-verdict`: `verdict`."""
    name = name.removeprefix("pipelinechannel--")
    for task in beside:
        if name.startswith(f"{task}-"):
            output = name.removeprefix(f"{task}-")
            return task if output == "Output" else output
    return name


def _leave_out_what_is_implied(boxes: list[Box]) -> None:
    """Where B waits for A, and C for B, that C waits for A needs no line."""
    before = {box.name: set(box.after) for box in boxes}

    def above(name: str) -> set[str]:
        return {far for near in before[name] for far in {near, *above(near)}}

    for box in boxes:
        box.after = {
            one for one in box.after if not any(one in above(other) for other in box.after)
        }


def svg(pipeline: Pipeline, tasks: Sequence[Mapping] = ()) -> str:
    """A pipeline as SVG, with the states and times of a run.

    Taught in notebook 06.

    Args:
        pipeline: from its YAML (`spec.read`).
        tasks: of a run, as a door's `tasks` returns them; without them, the pipeline alone.
    """
    whole = layout(pipeline)
    width, height = whole.width + 2 * EDGE, whole.height + 2 * EDGE
    drawn = [*_group(whole, EDGE, EDGE, _by_step(pipeline, tasks))]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
        f' width="{width:g}" height="{height:g}" style="max-width: 100%; height: auto"'
        ' font-family="sans-serif" role="img">'
        f"<title>{escape(in_words(pipeline, tasks))}</title>"
        f'<rect width="100%" height="100%" fill="white"/>{"".join(drawn)}</svg>'
    )


def in_words(pipeline: Pipeline, tasks: Sequence[Mapping] = ()) -> str:
    """What `svg` shows, for those who do not see it: the steps, and the states and times of a
    run.
    """
    said = [f"{name} {' '.join(_says(of))}" for name, of in _by_step(pipeline, tasks).items()]
    return f"{pipeline.name}: {', '.join(said or [step.name for step in pipeline.steps()])}"


def _by_step(pipeline: Pipeline, tasks: Sequence[Mapping]) -> dict[str, list[Mapping]]:
    ways = {".".join(step.path) for step in pipeline.steps()}
    found: dict[str, list[Mapping]] = {}
    for task in tasks:
        # where several steps have one name, the task's id has the way to it
        way = _TURN.sub("", task["task_id"])
        found.setdefault(way if way in ways else task["display_name"], []).append(task)
    return found


@dataclass(frozen=True)
class Drawing:
    """What a notebook shows of a pipeline, and of the tasks of a run.

    Taught in notebook 06. It is HTML, which the page shrinks to its width, and an SVG for places
    that show no HTML of a notebook, such as GitHub.
    """

    pipeline: Pipeline
    tasks: Sequence[Mapping] = ()

    def _repr_svg_(self) -> str:
        return svg(self.pipeline, self.tasks)

    _repr_html_ = _repr_svg_

    def __repr__(self) -> str:
        """In words."""
        return in_words(self.pipeline, self.tasks)


def _group(box: Box, x: float, y: float, tasks: Mapping) -> Iterator[str]:
    by_name = {one.name: one for one in box.inside}
    for one in box.inside:
        for name in sorted(one.after):
            yield _line(by_name[name], one, x, y)
    for one in box.inside:
        left, top = x + one.x, y + one.y
        if not one.inside:
            yield from _step(one, left, top, tasks.get(one.path) or tasks.get(one.name, []))
            continue
        if one.title:
            yield (
                f'<rect x="{left:g}" y="{top:g}" width="{one.width:g}" height="{one.height:g}"'
                f' rx="8" fill="none" stroke="{GREY}" stroke-dasharray="4 3"/>'
                f'<text x="{left + EDGE:g}" y="{top + 14:g}" font-size="11" fill="{GREY}"'
                f' font-style="italic">{escape(one.title)}</text>'
            )
        yield from _group(one, left, top, tasks)


def _line(before: Box, after: Box, x: float, y: float) -> str:
    x1, y1 = x + before.x + before.width, y + before.y + before.height / 2
    x2, y2 = x + after.x, y + after.y + after.height / 2
    bend = max((x2 - x1) / 2, 8)
    return (
        f'<path d="M {x1:g} {y1:g} C {x1 + bend:g} {y1:g}, {x2 - bend:g} {y2:g}, {x2 - 5:g}'
        f' {y2:g}" fill="none" stroke="{GREY}"/>'
        f'<path d="M {x2 - 6:g} {y2 - 4:g} L {x2:g} {y2:g} L {x2 - 6:g} {y2 + 4:g} Z"'
        f' fill="{GREY}"/>'
    )


def _step(box: Box, x: float, y: float, tasks: Sequence[Mapping]) -> Iterator[str]:
    states = [task["state"] for task in tasks]
    kind = next((one for one in _COLOURS if one in ("RUNNING", "FAILED") and one in states), "")
    kind = kind or next((one for one in ("SUCCEEDED", "CANCELED", "SKIPPED") if one in states), "")
    colour = _COLOURS.get(kind, PALE)
    dashes = ' stroke-dasharray="5 4"' if kind == "SKIPPED" else ""
    ink = GREY if kind in ("", "SKIPPED") else "black"
    yield (
        f'<rect x="{x:g}" y="{y:g}" width="{box.width:g}" height="{box.height:g}" rx="6"'
        f' fill="white" stroke="{colour}" stroke-width="{2 if kind else 1}"{dashes}/>'
        f'<text x="{x + box.width / 2:g}" y="{y + 19:g}" font-size="13" text-anchor="middle"'
        f' fill="{ink}" font-weight="{"bold" if kind == "FAILED" else "normal"}"'
        f"{_fit(box.name, 13)}>{escape(box.name)}</text>"
    )
    if tasks:
        said = " · ".join(_says(tasks))
        yield (
            f'<text x="{x + box.width / 2:g}" y="{y + 36:g}" font-size="10.5" text-anchor="middle"'
            f' fill="{GREY if kind == "SKIPPED" else colour}"{_fit(said, 10.5)}>{escape(said)}'
            "</text>"
        )


def _fit(text: str, size: float) -> str:
    """Squeeze a text that is wider than a step."""
    room = STEP_WIDTH - 12
    wide = len(text) * size * 0.55 > room
    return f' textLength="{room}" lengthAdjust="spacingAndGlyphs"' if wide else ""


def _says(tasks: Sequence[Mapping]) -> Iterator[str]:
    """What is to be said of the iterations of a step, in so few words that they find room: how many
    have failed, or else the states, and how long the longest took if all are in the same state.
    """
    states: dict[str, int] = {}
    for task in tasks:
        state = task["state"]
        word = "cached" if task.get("cached") else _WORDS.get(state, state.lower())
        states[word] = states.get(word, 0) + 1
    if len(tasks) > 1 and "failed" in states:
        yield f"{states['failed']} of {len(tasks)} failed"
        return
    for word, count in states.items():
        yield word if len(tasks) == 1 else f"{count} {word}"
    times = [seconds for task in tasks if not task.get("cached") and (seconds := duration(task))]
    if times and len(states) == 1:
        yield f"{max(times):.1f} s"
