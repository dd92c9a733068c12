"""What the notebooks need as notebooks: the source of a function on the page, and exercises that
check themselves.
"""

import ast
import contextlib
import functools
import inspect
import io
import json
import linecache
import math
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from IPython.display import HTML, Code

from kubeflow_workshop import REPOSITORY
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.files import course_file

SOLUTIONS = "tutorials/solutions"
_COLUMN = "flex: 1 1 24em; overflow-x: auto; font-family: monospace"
ROLES = ("question", "solution", "check", "explanation", "key")
"""Of the cells of an exercise in its solutions notebook, in this order; each cell has its role as a
tag. CONTRIBUTING.md says what each holds.
"""


def show(thing: object, docstring: bool = True) -> Code:
    """The source of a function, method or class, coloured, for the page.

    What a notebook shows in this way is what the package runs, so the two cannot drift apart. Used
    from notebook 03 on.

    Args:
        thing: a function, method or class written in Python.
        docstring: whether the docstrings are shown, too; without them, more of the code fits on the
            screen.
    """
    source = inspect.getsource(thing)  # type: ignore[arg-type]
    return Code(source if docstring else _without_docstrings(source), language="python")


def beside(thing: object, yaml: str) -> HTML:
    """The source of a function on the left, and what was made of it on the right, for the page.

    Used in notebook 06, for a pipeline and its YAML.

    Args:
        thing: a function written in Python.
        yaml: a text.
    """
    columns = "".join(
        f'<div style="{_COLUMN}">{code._repr_html_()}</div>'
        for code in (show(thing), Code(yaml, language="yaml"))
    )
    return HTML(f'<div style="display: flex; flex-wrap: wrap; gap: 1.5em">{columns}</div>')


def page(path: str | Path, height: int = 640) -> HTML:
    """A page of HTML, such as a pipeline's step has written, in a frame of its own.

    Used in notebook 06. The page is kept in the notebook, and its style stays within the frame.

    Args:
        path: of the file.
        height: of the frame, in pixels.
    """
    text = escape(Path(path).read_text(encoding="utf-8"))
    frame = f'<iframe srcdoc="{text}" width="100%" height="{height}" sandbox></iframe>'
    return HTML(f"<div>{frame}</div>")  # IPython warns of what begins with a frame


def _without_docstrings(source: str) -> str:
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(textwrap.dedent(source))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        for text in node.body:  # a class may have them below its fields, too
            if not (isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)):
                continue
            begin, end = text.lineno - 1, text.end_lineno or text.lineno
            instead = re.sub(r"\S.*", "...", lines[begin]) if len(node.body) == 1 else ""
            lines[begin:end] = [instead, *[""] * (end - begin - 1)]
            if text is node.body[0] and not instead and lines[end] == "\n":
                lines[end] = ""  # it parted the docstring from the code
    return "".join(lines)


@dataclass(frozen=True)
class _Exercise:
    """What `check` needs to know of an exercise."""

    where: str
    explanation: str
    judge: Callable[[Any], str | None]
    """Takes an answer, and returns None where it is right, or else a hint."""


def check(exercise: str, answer: object) -> None:
    """Say whether the answer to a notebook's exercise is right: if it is, why; if not, a hint.

    What is right is computed by the solution, in the notebook of the same name in
    `tutorials/solutions/`. A number is right if it agrees with the solution's to as many decimals
    as the question asks for. Used at the end of every notebook.

    Args:
        exercise: the number of the notebook and of the exercise in it, such as `"03-1"`.
        answer: what the question asks for. A number may also be a NumPy scalar, a text, or a list
            or array with nothing else in it. `...` while the exercise waits for its answer.

    Raises:
        CourseError: if there is no such exercise.
    """
    path, cells = _cells(exercise)
    if answer is ...:
        print(
            "Not answered yet: put your own code in the place of the dots, and run the cell again."
        )
        return
    known = _solve(exercise, path, cells)
    wrong = known.judge(answer)
    for paragraph in (f"Not yet. {wrong}" if wrong else f"Right. {known.explanation}").split(
        "\n\n"
    ):
        # A page does not break the lines of what is printed; a list or code stays as it is.
        listed = re.search(r"^([-*|>`]|\d+\.| {4})", paragraph, re.MULTILINE)
        print(paragraph if listed else textwrap.fill(paragraph, 100))
    print(f"\nThe solution is in {known.where}")


def _cells(exercise: str) -> tuple[Path, tuple[tuple[str, str], ...]]:
    """The solutions notebook of an exercise, and its cells: the role and the source of each."""
    number = exercise.partition("-")[0]
    found = (
        sorted(course_file(SOLUTIONS).glob(f"{number}-*.ipynb"))
        if re.fullmatch(r"\d\d-\d+", exercise)
        else []
    )
    for path in found:
        cells = tuple(
            (
                next(role for role in ROLES if role in cell["metadata"]["tags"]),
                "".join(cell["source"]),
            )
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
            if cell["metadata"].get("exercise") == exercise
        )
        if cells:
            return path, cells
    raise CourseError(
        f"{exercise!r} is no exercise of this course; use the number of the notebook and that of"
        " the exercise, such as '03-1'."
    )


def _run(path: Path, cells: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """What the solution and the key of an exercise set."""
    found: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):  # what it prints would give it away
        for place, (role, source) in enumerate(cells):
            if role in ("solution", "key"):
                name = f"{path.name}, {role}, cell {place} of {hash(cells)}"
                # a function that becomes a pipeline's step is asked for its source
                linecache.cache[name] = len(source), None, source.splitlines(True), name
                exec(compile(source, name, "exec"), found)
    return found


@functools.cache
def _solve(exercise: str, path: Path, cells: tuple[tuple[str, str], ...]) -> _Exercise:
    """Run the solution, once: some take seconds."""
    key = _run(path, cells)
    return _Exercise(
        where=(
            f"{SOLUTIONS}/{path.name}"
            if course_file("pyproject.toml").is_file()  # else the learner has the package alone
            else f"{REPOSITORY}/blob/v{version('kubeflow-workshop')}/{SOLUTIONS}/{path.name}"
        ),
        explanation="\n\n".join(source for tag, source in cells if tag == "explanation"),
        judge=functools.partial(_try_out, key) if "judge" in key else functools.partial(_hint, key),
    )


def _try_out(key: dict[str, Any], answer: object) -> str | None:
    """The hint for an answer that the exercise judges by a function of its own."""
    try:
        return key["judge"](answer)
    except Exception as error:  # the learner's code, or an answer of an unexpected kind
        return f"Your answer ended with {type(error).__name__}: {error}. Hint: {key['hint']}"


def _hint(key: dict[str, Any], answer: object) -> str | None:
    """The hint for an answer that should be a number."""
    right, decimals = float(key["answer"]), int(key["decimals"])
    given = _number(answer)
    if isinstance(given, str):
        return f"{given} Hint: {key['hint']}"
    if _agree(given, right, decimals):
        return None
    exponent = Decimal(repr(given)).normalize().as_tuple().exponent
    written = -exponent if isinstance(exponent, int) else decimals  # infinity has a letter
    recognised = {}
    for wrong, hint in key.get("mistakes", {}).values():
        # Percent are a hundred times as large as a share, and rounded two digits earlier. What is
        # smaller than the right answer has more digits, but not all need to be given.
        scale = abs(wrong / right) if right and wrong else 1
        places = min(decimals - round(math.log10(scale)), max(decimals, written))
        if _agree(given, float(wrong), places) and (given or not wrong):  # 0 is no rounded mistake
            recognised[abs(given - wrong)] = hint
    return recognised[min(recognised)] if recognised else f"Hint: {key['hint']}"


def _number(answer: object) -> float | str:
    """The number that an answer holds, or a sentence that says why it holds none."""
    if isinstance(answer, str):
        answer = answer.strip().replace("−", "-")  # as the notebooks print a minus in prose
    try:
        numbers = np.asarray(answer, dtype=float)
    except (TypeError, ValueError):
        return f"The answer should be a number, and yours is of the type {type(answer).__name__}."
    if answer is None:
        return "The answer should be a number, and yours is None: does your function return one?"
    if numbers.size != 1:
        return f"The answer should be one number, and yours holds {numbers.size}."
    if math.isnan(number := numbers.item()):
        return "Your answer is nan, which is no number."
    return number


def _agree(given: float, right: float, decimals: int) -> bool:
    """Whether two numbers are the same to so many decimals: they round to the same number, or one
    is the other, rounded there or later.
    """
    close = abs(given - right) <= 0.5 * 10**-decimals * (1 + 1e-9) + 1e-12
    return close or round(given, decimals) == round(right, decimals)
