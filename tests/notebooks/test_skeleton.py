"""Every notebook follows the skeleton that CONTRIBUTING.md describes, and carries what others read
from it.
"""

import itertools
import json
import re
from pathlib import Path

import nbformat
import pytest

from kubeflow_workshop import learn
from tutorials import colab

TUTORIALS = Path(__file__).parents[2] / "tutorials"
BANNED = re.compile(r"\b(simply|just|obviously|as we can see)\b", re.IGNORECASE)
HOLDS = {"read_minutes", "machine_minutes", "exercise_minutes", "extras", "targets"}


@pytest.fixture
def document(path):
    return nbformat.read(path, as_version=4)


@pytest.fixture
def prose(document):
    return [cell.source for cell in document.cells if cell.cell_type == "markdown"]


def test_opens_with_title_badges_and_what_you_will_do_learn_and_need(document, path):
    first = document.cells[0].source
    title, badges, do, learn, need, rule = [" ".join(part.split()) for part in first.split("\n\n")]
    assert re.fullmatch(r"# [A-Z][^.:]+", title)
    on_colab = document.metadata["workshop"]["extras"] == ["core"]
    assert badges == colab.badges(path.name, on_colab)  # make notebooks writes them
    assert on_colab or re.search(r"Not on Colab, because ", need), "say why under What you'll need"
    assert do.startswith("You'll ")
    assert learn.startswith("**What you'll learn** · ")
    assert 3 <= learn.count(" · ") <= 7
    assert need.startswith("**What you'll need** · ")
    assert rule == "---"


def test_a_notebook_of_the_core_installs_the_course_on_colab_and_no_other_does(document):
    on_colab = document.metadata["workshop"]["extras"] == ["core"]
    assert [cell.source for cell in document.cells[1:3]] == [
        colab.PROSE,
        colab.CODE,
    ] or not on_colab
    assert sum("google.colab" in cell.source for cell in document.cells) == on_colab


def test_closes_with_check_yourself_in_practice_and_further_reading(prose):
    headings = re.findall(r"^## (.+)$", "\n".join(prose), re.MULTILINE)
    closing = [
        heading
        for heading in headings
        if heading in ("Laptop or cluster", "Check yourself", "In practice", "Further reading")
    ]
    assert closing in (
        ["Check yourself", "In practice", "Further reading"],
        ["Laptop or cluster", "Check yourself", "In practice", "Further reading"],
    )
    assert headings[-len(closing) :] == closing


def test_carries_its_metadata_and_says_the_same_minutes(document):
    holds = document.metadata["workshop"]
    assert set(holds) == HOLDS
    assert set(holds["targets"]) <= {"laptop", "cluster"}
    need = re.search(
        r"(\d+) minutes? to read, (\d+)(?: minutes?)? of machine",
        " ".join(document.cells[0].source.split()),
    )
    assert [int(need[1]), int(need[2])] == [holds["read_minutes"], holds["machine_minutes"]]


def test_every_code_cell_has_prose_before_it_and_is_short(document):
    for before, cell in zip(document.cells, document.cells[1:], strict=False):
        if cell.cell_type == "code":
            assert before.cell_type == "markdown", f"no prose before:\n{cell.source}"
            assert len(cell.source.splitlines()) <= 15, f"a long cell:\n{cell.source}"


def test_a_figure_is_announced_in_the_prose_before_it(document):
    for before, cell in zip(document.cells, document.cells[1:], strict=False):
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            assert re.search(r"\bfigure\b", before.source), f"no caption for:\n{cell.source}"


def test_is_stored_as_run_from_top_to_bottom(document):
    cells = [cell for cell in document.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        assert not any(
            output.output_type == "error" or output.get("name") == "stderr"
            for output in cell.outputs
        )


def test_images_have_alt_text_and_links_lead_to_files(prose, path):
    text = "\n".join(prose)
    for alt, target in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", text):
        assert len(alt) >= 10, f"alt text of {target}: {alt!r}"
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http", "#")):
            assert (path.parent / target.split("#")[0]).exists(), target


def test_avoids_words_that_make_a_learner_feel_slow(prose):
    assert not BANNED.findall("\n".join(prose))


def test_shows_no_path_of_the_machine_that_ran_it(path):
    assert not re.search(r"/(home|root|work|Users|tmp)/", path.read_text())


def test_is_light(path):
    assert path.stat().st_size < 1_500_000


@pytest.fixture
def solutions(path):
    """The solutions notebook of the same name."""
    return nbformat.read(TUTORIALS / "solutions" / path.name, as_version=4)


def exercises(document):
    """Of a solutions notebook: the cells of each exercise, in their order."""
    return {
        exercise: list(cells)
        for exercise, cells in itertools.groupby(
            document.cells[1:], lambda cell: cell.metadata["exercise"]
        )
    }


def role(cell):
    (found,) = set(learn.ROLES) & set(cell.metadata["tags"])
    return found


def test_the_solutions_say_whose_they_are_and_number_the_exercises(document, solutions, path):
    title = document.cells[0].source.splitlines()[0].removeprefix("# ")
    assert solutions.cells[0].source.startswith(f"# Solutions of notebook {path.name[:2]}: ")
    assert title.lower() in solutions.cells[0].source.lower()
    assert f"](../{path.name})" in solutions.cells[0].source
    ids = list(exercises(solutions))
    assert ids == [f"{path.name[:2]}-{number}" for number in range(1, len(ids) + 1)]
    assert solutions.metadata["kernelspec"] == document.metadata["kernelspec"]


def test_each_exercise_has_its_cells_in_order(solutions):
    for exercise, cells in exercises(solutions).items():
        roles = [found for found, _ in itertools.groupby(map(role, cells))]
        assert roles == list(learn.ROLES), exercise
        for cell in cells:
            prose = role(cell) in ("question", "explanation")
            assert cell.cell_type == ("markdown" if prose else "code")
        sources = {role(cell): cell.source for cell in cells}  # of several cells the last
        assert sources["question"].startswith(f"## Exercise {exercise}: ")
        assert re.search("^answer = ", sources["solution"], re.MULTILINE)
        assert f'check("{exercise}", answer)' in sources["check"]


def test_each_exercise_is_asked_in_the_notebook_and_waits_for_its_answer(
    document, solutions, prose
):
    asked = re.findall(
        r"^answer = \.\.\.\ncheck\(\"(.+)\", answer\)$",
        "\n".join(cell.source for cell in document.cells if cell.cell_type == "code"),
        re.MULTILINE,
    )
    assert asked == list(exercises(solutions))
    here = " ".join("\n".join(prose).split())
    for cells in exercises(solutions).values():
        question = cells[0].source.split("\n", 1)[1]
        assert " ".join(question.split()) in here, "the question is not that of the notebook"


def test_nothing_of_a_solution_stands_beside_the_exercise(document, solutions):
    here = " ".join("\n".join(cell.source for cell in document.cells).split())
    for cell in solutions.cells[1:]:
        if role(cell) == "solution":
            for line in re.findall("^answer = .+", cell.source, re.MULTILINE):
                assert line not in here
        elif role(cell) in ("explanation", "key"):
            assert " ".join(cell.source.split()) not in here


def test_the_solutions_are_stored_as_run_and_right(solutions):
    cells = [cell for cell in solutions.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        assert not any(output.output_type == "error" for output in cell.outputs)
        if role(cell) == "check":
            assert cell.outputs[0].text.startswith("Right. ")


def test_every_solutions_notebook_belongs_to_a_notebook():
    names = {path.name for path in TUTORIALS.glob("[0-9]*.ipynb")}
    assert {path.name for path in (TUTORIALS / "solutions").iterdir() if path.is_file()} == names


def test_holds_claims_that_are_tested(path):
    tests = Path(__file__).with_name(f"test_claims_{path.name[:2]}.py")
    assert f'@claim("{path.name[:2]}", ' in tests.read_text()


def test_numbers_follow_each_other(path):
    numbers = [int(found.name[:2]) for found in sorted(TUTORIALS.glob("[0-9]*.ipynb"))]
    assert numbers == list(range(len(numbers)))
    assert json.loads(path.read_text())["nbformat"] == 4
