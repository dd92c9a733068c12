"""What the notebooks need as notebooks: a function's source on the page, and exercises that check
themselves.
"""

import inspect
import runpy

import numpy as np
from IPython.display import Code

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.files import course_file


def show(thing: object) -> Code:
    """The source of a function, method or class, coloured, for the page.

    What a notebook shows in this way is what the package runs, so the two cannot drift apart. Used
    from notebook 03 on.

    Args:
        thing: a function, method or class written in Python.
    """
    return Code(inspect.getsource(thing), language="python")  # type: ignore[arg-type]


def check(exercise: str, answer: object) -> None:
    """Say whether the answer to a notebook's exercise is right, and give a hint when it is not.

    What is right is computed by the solution, `tutorials/solutions/EXERCISE.py`, when `check` is
    called. Used at the end of every notebook.

    Args:
        exercise: the number of the notebook, such as `"03"`.
        answer: a number, or an array or list of numbers; `...` while the exercise waits for its
            answer.

    Raises:
        CourseError: if there is no such exercise.
    """
    path = course_file(f"tutorials/solutions/{exercise}.py")
    if not path.is_file():
        raise CourseError(
            f"{exercise!r} is no exercise of this course; use the number of the notebook, such as"
            " '03'."
        )
    if answer is ...:
        print(
            "Not answered yet: put your own code in the place of the dots, and run the cell again."
        )
        return
    solution = runpy.run_path(str(path))
    expected = np.asarray(solution["answer"](), dtype=float)
    try:
        given = np.asarray(answer, dtype=float)
    except (TypeError, ValueError):
        print(
            f"Not yet: the answer is a number (or several), and this is a {type(answer).__name__}."
            f" Hint: {solution['HINT']}"
        )
        return
    if given.shape == expected.shape and np.allclose(
        given, expected, rtol=solution.get("TOLERANCE", 1e-3), equal_nan=True
    ):
        print("Right.")
    elif given.shape != expected.shape:
        print(
            f"Not yet: the shape is {given.shape}, and it should be {expected.shape}. Hint:"
            f" {solution['HINT']}"
        )
    else:
        print(f"Not yet. Hint: {solution['HINT']}")
