"""What the drawn pipeline says of a run, in the few words that find room in a box."""

import re
from pathlib import Path

import pytest

from kubeflow_workshop.pipelines import graph, spec

FILE = Path(__file__).parents[2] / "tutorials/artifacts/stock-pipeline.yaml"


def task(state: str, turn: int = 0, seconds: int = 2, cached: bool = False) -> dict:
    return {
        "task_id": f"train.{turn}",
        "display_name": "train",
        "state": state,
        "cached": cached,
        "start_time": "2026-11-25T10:00:00Z",
        "end_time": f"2026-11-25T10:00:{seconds:02d}Z",
    }


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ([task("SUCCEEDED")], "done 2.0 s"),
        ([task("SUCCEEDED", cached=True)], "cached"),
        ([task("SUCCEEDED", 0, 2), task("SUCCEEDED", 1, 5)], "2 done 5.0 s"),
        ([task("SUCCEEDED", 0, cached=True), task("SUCCEEDED", 1)], "1 cached 1 done"),
        ([task("SUCCEEDED", 0), task("FAILED", 1), task("SUCCEEDED", 2)], "1 of 3 failed"),
    ],
)
def test_a_box_says_of_its_iterations_what_counts(tasks, said):
    pipeline = spec.read(FILE)
    assert graph.in_words(pipeline, tasks) == f"stock-pipeline: train {said}"


def test_a_notebook_gets_the_drawing_for_its_page_and_for_places_without_one():
    drawing = graph.Drawing(spec.read(FILE), [task("FAILED")])
    assert drawing._repr_html_() == drawing._repr_svg_()
    assert repr(drawing) == "stock-pipeline: train failed 2.0 s"
    assert re.search(r"<title>stock-pipeline: train failed 2.0 s</title>", drawing._repr_svg_())
