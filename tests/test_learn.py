"""What notebooks need: a function's source on the page, and exercises that check themselves."""

import inspect
from pathlib import Path

import numpy as np
import pytest

from kubeflow_workshop import learn
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.stock.windows import Windows, windows

SOLUTIONS = Path(__file__).parents[1] / "tutorials/solutions"


@pytest.fixture
def solution(tmp_path, monkeypatch):
    """`solution(text)` makes exercise 99."""
    monkeypatch.setattr(learn, "course_file", lambda path: tmp_path / Path(path).name)

    def write(text: str) -> None:
        (tmp_path / "99.py").write_text(f'HINT = "Look again."\n{text}')

    return write


@pytest.mark.parametrize("thing", [windows, Windows, Windows.__len__])
def test_what_is_shown_is_the_source_that_runs(thing):
    shown = learn.show(thing)
    assert shown.data == inspect.getsource(thing)
    assert "<span" in shown._repr_html_()  # coloured


@pytest.mark.parametrize("exercise", sorted(path.stem for path in SOLUTIONS.glob("*.py")))
def test_each_solution_of_the_course_is_right_and_has_a_hint(exercise, capsys):
    import runpy

    solution = runpy.run_path(str(SOLUTIONS / f"{exercise}.py"))
    assert solution["HINT"].endswith((".", "?"))
    right = np.asarray(solution["answer"](), dtype=float)
    learn.check(exercise, right)
    assert capsys.readouterr().out == "Right.\n"
    learn.check(exercise, right + 1)
    assert capsys.readouterr().out == f"Not yet. Hint: {solution['HINT']}\n"


@pytest.mark.parametrize("answer", [2, 2.0, "2", np.float32(2), np.array(2), 2.001, True + 1])
def test_a_right_answer_is_right_in_whatever_it_is_given(answer, solution, capsys):
    solution("answer = lambda: 2")
    learn.check("99", answer)
    assert capsys.readouterr().out == "Right.\n"


@pytest.mark.parametrize("answer", [1.99, -2, float("nan"), float("inf"), 0])
def test_a_wrong_answer_gets_the_hint(answer, solution, capsys):
    solution("answer = lambda: 2")
    learn.check("99", answer)
    assert capsys.readouterr().out == "Not yet. Hint: Look again.\n"


@pytest.mark.parametrize(
    ("answer", "shape"),
    [([2], "(1,)"), ([[2, 3]], "(1, 2)"), (2, "()"), ([], "(0,)"), ([1, 2, 3], "(3,)")],
)
def test_an_answer_of_another_shape_is_told_the_right_one(answer, shape, solution, capsys):
    solution("answer = lambda: [2, 3]")
    learn.check("99", answer)
    assert (
        capsys.readouterr().out
        == f"Not yet: the shape is {shape}, and it should be (2,). Hint: Look again.\n"
    )


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("two", "str"),
        ([1, [2, 3]], "list"),
        ({"a": 1}, "dict"),
        (1j, "complex"),
        (print, "builtin_function"),
    ],
)
def test_an_answer_that_is_no_number_is_told_so(answer, kind, solution, capsys):
    solution("answer = lambda: 2")
    learn.check("99", answer)
    assert capsys.readouterr().out.startswith(
        f"Not yet: the answer is a number (or several), and this is a {kind}"
    )


def test_an_exercise_that_waits_is_not_judged(solution, capsys):
    solution("def answer(): raise AssertionError('not asked yet')")
    learn.check("99", ...)
    assert (
        capsys.readouterr().out
        == "Not answered yet: put your own code in the place of the dots, and run the cell again.\n"
    )


def test_a_solution_may_say_how_close_is_right(solution, capsys):
    solution("TOLERANCE = 0.5\nanswer = lambda: 2")
    learn.check("99", 2.9)
    assert capsys.readouterr().out == "Right.\n"


def test_arrays_are_compared_number_by_number(solution, capsys):
    solution("answer = lambda: [1, float('nan'), 3]")
    learn.check("99", [1, np.nan, 3])
    learn.check("99", [3, np.nan, 1])
    assert capsys.readouterr().out == "Right.\nNot yet. Hint: Look again.\n"


@pytest.mark.parametrize("exercise", ["98", "", "3", "../../pyproject"])
def test_an_unknown_exercise_is_refused(exercise):
    with pytest.raises(
        CourseError,
        match="is no exercise of this course; use the number of the notebook, such as '03'",
    ):
        learn.check(exercise, 1)
