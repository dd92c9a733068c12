"""What notebooks need: a function's source on the page, and exercises that check themselves."""

import html
import inspect
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kubeflow_workshop import files, learn
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.stock.windows import Windows, windows

ROOT = Path(__file__).parents[1]
EXERCISES = sorted(
    {
        cell["metadata"]["exercise"]
        for path in ROOT.glob("tutorials/solutions/*.ipynb")
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if "exercise" in cell["metadata"]
    }
)
KEY = 'decimals = 2\nhint = "look again."\nmistakes = {"sign": (-answer, "Which sign?")}'


@pytest.fixture
def exercise(tmp_path, monkeypatch):
    """`exercise(solution, key)` makes exercise 99-1, in an installed package."""
    monkeypatch.setattr(files, "PACKAGE", tmp_path)

    def write(
        solution: str = "answer = 0.1349", key: str = KEY, explanation: str = "Because."
    ) -> None:
        sources = {
            "question": "What is it?",
            "solution": solution,
            "check": "",
            "explanation": explanation,
            "key": key,
        }
        cells = [
            {"metadata": {"exercise": f"99-{n}", "tags": ["x", role]}, "source": [source]}
            for n in (1, 2)
            for role, source in sources.items()
        ]
        folder = tmp_path / "course/tutorials/solutions"
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"cells": [{"metadata": {}, "source": "# Solutions"}, *cells]})
        (folder / "99-any.ipynb").write_text(text, encoding="utf-8")

    return write


@pytest.fixture
def said(capsys):
    """`said(exercise, answer)`: the words that `check` has for an answer, in one line, without the
    place of the solution.
    """

    def say(exercise: str, answer: object) -> str:
        learn.check(exercise, answer)
        return " ".join(capsys.readouterr().out.partition("\n\nThe solution is in ")[0].split())

    return say


@pytest.mark.parametrize("thing", [windows, Windows, Windows.__len__])
def test_what_is_shown_is_the_source_that_runs(thing):
    shown = learn.show(thing)
    assert shown.data == inspect.getsource(thing)
    assert "<span" in shown._repr_html_()  # coloured


class Shown:
    """Left out."""

    kept: str = """kept"""
    """Left out."""

    def only(self):
        """Left
        out.
        """

    def kept_whole(self):  # kept
        """Left out."""
        # kept
        return "kept"


def test_docstrings_can_be_left_out():
    assert learn.show(Shown, docstring=False).data == (
        'class Shown:\n    kept: str = """kept"""\n\n    def only(self):\n        ...\n\n'
        '    def kept_whole(self):  # kept\n        # kept\n        return "kept"\n'
    )
    assert learn.show(Shown.only, docstring=False).data == "    def only(self):\n        ...\n"
    whole, short = learn.show(windows).data, learn.show(windows, docstring=False).data
    assert "Args:" in whole
    assert short.splitlines()[1] == "    if length < 1:"
    assert whole.endswith(short.partition("\n")[2])


def test_a_function_and_what_was_made_of_it_stand_beside_each_other():
    shown = learn.beside(windows, "kind: Any")._repr_html_()
    left, right = shown.split('<div style="flex', 2)[1:]
    assert "windows" in left
    assert "kind" in right
    assert "kind" not in left


def test_a_page_is_kept_in_a_frame_whole_and_asleep(tmp_path):
    text = '<h1 title="a">Skill & more</h1>'
    (tmp_path / "page.html").write_text(text)
    shown = learn.page(tmp_path / "page.html")._repr_html_()
    frame = re.search('srcdoc="([^"]*)"', shown)[1]
    assert html.unescape(frame) == text
    assert "sandbox" in shown


# Every exercise of the course


def namespace(exercise: str) -> dict:
    return learn._run(*learn._cells(exercise))


def test_the_course_has_exercises():
    assert {"00-1", "03-1"} <= set(EXERCISES)


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_right_answer_is_right_in_every_honest_form(exercise, said, capsys):
    key = namespace(exercise)
    forms = [key["answer"]]
    if "judge" not in key:
        right, decimals = float(key["answer"]), key["decimals"]
        forms += [round(right, places) for places in range(decimals, decimals + 4)]
        forms += [[right], np.float32(right), np.array(right), str(right), f"{right:.{decimals}f}"]
    _, cells = learn._cells(exercise)
    explanation = " ".join(next(text for role, text in cells if role == "explanation").split())
    capsys.readouterr()  # what the solution prints is not the verdict
    for form in forms:
        assert said(exercise, form) == f"Right. {explanation}", form


@pytest.mark.parametrize("exercise", EXERCISES)
def test_each_mistake_gets_a_hint_of_its_own(exercise, said):
    key = namespace(exercise)
    assert key["hint"].endswith((".", "?"))
    mistakes = key.get("mistakes", {})
    assert "judge" in key or len(mistakes) >= 3
    for wrong, hint in mistakes.values():
        forms = [wrong, [wrong]]
        if "judge" not in key:
            rounded = [round(float(wrong), key["decimals"] + more) for more in range(3)]
            forms += [form for form in rounded if form or not wrong]
        for form in forms:
            assert said(exercise, form) == f"Not yet. {' '.join(hint.split())}", form


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize(
    "answer", [None, "no idea", -1e9, math.nan, print, [], [1, 2], {}, object()]
)
def test_any_other_answer_gets_a_hint_and_no_traceback(exercise, answer, said):
    assert said(exercise, answer).startswith("Not yet. ")


# How `check` judges


@pytest.mark.parametrize(
    "answer",
    [
        *(0.1349, 0.13, 0.135, 0.1345, 0.1254, "0.13", " 0.13 ", [0.13], [[0.13]], (0.13,)),
        *(np.float32(0.135), np.array(0.13), np.array([0.13])),
        *(pd.Series([0.13]), pd.DataFrame([0.13])),
    ],
)
def test_a_number_is_right_to_the_decimals_that_the_question_asks_for(answer, exercise, said):
    exercise()
    assert said("99-1", answer) == "Right. Because."


@pytest.mark.parametrize("answer", [0.14, 0.12, 0.1, 0.1401, 0.1249, 13.49, 1, 0, math.inf])
def test_a_number_that_rounds_to_another_is_wrong(answer, exercise, said):
    exercise()
    assert said("99-1", answer) == "Not yet. Hint: look again."


@pytest.mark.parametrize(("right", "answer"), [(-0.5967, -0.60), (-0.5967, "−0.60"), (0.6, 0.60)])
def test_a_rounded_answer_may_be_larger_than_the_right_one(right, answer, exercise, said):
    exercise(f"answer = {right}")
    assert said("99-1", answer) == "Right. Because."


@pytest.mark.parametrize(
    ("answer", "verdict"), [(59, "Right."), ("59", "Right."), (58, "Not yet.")]
)
def test_a_whole_number_has_no_decimals(answer, verdict, exercise, said):
    exercise("answer = 59", KEY.replace("2", "0"))
    assert said("99-1", answer).startswith(verdict)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (-0.13, "Which sign?"),
        (-0.135, "Which sign?"),
        (13, "Not percent."),
        (13.5, "Not percent."),
        (0, "Not nothing."),
        (12, "Hint: look again."),
    ],
)
def test_a_mistake_is_recognised_as_roughly_as_it_was_rounded(answer, words, exercise, said):
    mistakes = '"sign": (-answer, "Which sign?"), "%": (answer * 100, "Not percent."), "0": (0, "Not nothing.")'
    exercise(key=f'decimals = 2\nhint = "look again."\nmistakes = {{{mistakes}}}')
    assert said("99-1", answer) == f"Not yet. {words}"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (0.97, "That is the gate."),  # of 0.9659, with the decimals that the question asks for
        ("0.97", "That is the gate."),
        (0.966, "That is the gate."),
        (0.961, "Hint: look again."),
        (0.96, "Hint: look again."),
        (1, "Hint: look again."),
        (0.01, "That is the step."),
        (0, "Hint: look again."),
    ],
)
def test_a_small_mistake_is_recognised_as_it_is_typed(answer, words, exercise, said):
    mistakes = '"the gate": (0.9659, "That is the gate."), "a step": (0.0099, "That is the step.")'
    exercise("answer = 3.3449", KEY.replace('"sign": (-answer, "Which sign?")', mistakes))
    assert said("99-1", answer) == f"Not yet. {words}"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("two", "The answer should be a number, and yours is of the type str."),
        ([1, [2, 3]], "The answer should be a number, and yours is of the type list."),
        (1j, "The answer should be a number, and yours is of the type complex."),
        (None, "The answer should be a number, and yours is None: does your function return one?"),
        ([1, 2, 3], "The answer should be one number, and yours holds 3."),
        ([], "The answer should be one number, and yours holds 0."),
        (float("nan"), "Your answer is nan, which is no number."),
    ],
)
def test_an_answer_that_is_no_number_is_told_so(answer, words, exercise, said):
    exercise()
    assert said("99-1", answer) == f"Not yet. {words} Hint: look again."


JUDGE = """
hint = "look again."
def judge(given):
    return None if given(2) == answer(2) else "Try it with 2."
"""


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: 2 * x, "Right. Because."),
        (lambda x: x, "Not yet. Try it with 2."),
        (
            lambda x: x / 0,
            "Not yet. Your answer ended with ZeroDivisionError: division by zero. Hint: look again.",
        ),
        (
            "two",
            "Not yet. Your answer ended with TypeError: 'str' object is not callable. Hint: look again.",
        ),
    ],
)
def test_an_exercise_may_judge_by_a_function_of_its_own(answer, words, exercise, said):
    exercise("def answer(x):\n    return x + x", JUDGE)
    assert said("99-1", answer) == words


def test_long_lines_are_wrapped_and_lists_are_left_alone(exercise, capsys):
    exercise(explanation="word " * 50 + "\n\n- first\n- second")
    learn.check("99-1", 0.13)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines[:3])) <= 100
    assert lines[3:5] == ["- first", "- second"]


def test_an_exercise_that_waits_is_not_judged(exercise, capsys):
    exercise("raise AssertionError('not asked yet')")
    learn.check("99-1", ...)
    assert (
        capsys.readouterr().out
        == "Not answered yet: put your own code in the place of the dots, and run the cell again.\n"
    )


def test_the_solution_runs_once_and_is_not_heard(exercise, tmp_path, capsys):
    log = tmp_path / "ran"
    exercise(f"print('a secret')\nopen({str(log)!r}, 'a').write('x')\nanswer = 1")
    for answer in (1, 2):
        learn.check("99-2", answer)
    assert "secret" not in capsys.readouterr().out
    assert log.read_text() == "x"


def test_both_verdicts_say_where_the_solution_is(exercise, capsys, monkeypatch):
    exercise()
    for answer in (0.13, 0.14):
        learn.check("99-1", answer)
        where = capsys.readouterr().out.splitlines()[-1].removeprefix("The solution is in ")
        assert where.startswith("https://github.com/")
        assert where.endswith("/tutorials/solutions/99-any.ipynb")
    monkeypatch.undo()
    learn.check("00-1", 0)
    where = capsys.readouterr().out.splitlines()[-1].removeprefix("The solution is in ")
    assert (ROOT / where).is_file()


@pytest.mark.parametrize(
    "exercise", ["98-1", "00-9", "00", "3", "", "03-", "../../pyproject-1", "/etc-1", "*-1"]
)
def test_an_unknown_exercise_is_refused(exercise):
    with pytest.raises(CourseError, match=r"is no exercise of this course; use .* such as '03-1'"):
        learn.check(exercise, 1)
