"""Every notebook follows the skeleton that CONTRIBUTING.md describes, and carries what others read
from it.
"""

import json
import re
from pathlib import Path

import nbformat
import pytest

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


def test_has_a_solution_that_is_not_printed_beside_the_exercise(document, path):
    number = path.name[:2]
    assert (TUTORIALS / "solutions" / f"{number}.py").is_file()
    assert any(
        f'check("{number}", answer)' in cell.source and "answer = ..." in cell.source
        for cell in document.cells
    )


def test_holds_claims_that_are_tested(path):
    tests = Path(__file__).with_name(f"test_claims_{path.name[:2]}.py")
    assert f'@claim("{path.name[:2]}", ' in tests.read_text()


def test_numbers_follow_each_other(path):
    numbers = [int(found.name[:2]) for found in sorted(TUTORIALS.glob("[0-9]*.ipynb"))]
    assert numbers == list(range(len(numbers)))
    assert json.loads(path.read_text())["nbformat"] == 4
