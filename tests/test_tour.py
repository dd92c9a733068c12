"""The tour, on small networks: a line a step, a table, a figure."""

import functools
import re

import matplotlib.image
import pytest

from kubeflow_workshop import cli, tour
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.stock import train


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(
        train, "Hyperparameters", functools.partial(train.Hyperparameters, units=2, epochs=1)
    )
    monkeypatch.setattr(tour, "TRIALS", 2)
    monkeypatch.setattr(tour, "EPOCHS", 1)


@pytest.mark.slow
def test_the_tour_prints_a_line_a_step_a_table_and_where_the_figure_is(small, tmp_path, capsys):
    assert cli.main(["tour", "--output", str(tmp_path / "new" / "folder")]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    steps = [re.fullmatch(r"\[(\d)/5\] (.+?): .+ \(\d+\.\d s\)", line) for line in lines[:5]]
    assert [(int(step[1]), step[2]) for step in steps] == list(enumerate(tour.STEPS, 1))
    assert "251 days of Microsoft, 2012-03-01 to 2013-03-01" in lines[0]
    table = {
        line.split("  ")[0].strip(): line.split()
        for line in lines
        if re.match(r"(talk|relative|tuned|tomorrow)", line)
    }
    assert list(table) == ["talk", "relative", "tuned", "tomorrow = today"]
    assert float(table["tomorrow = today"][3]) == pytest.approx(0.177, abs=0.001)
    errors = {name: float(row[len(name.split())]) for name, row in table.items()}
    assert errors[re.search(r"the best is: (.+) \(", lines[4])[1]] == min(errors.values())
    assert lines[-1] == f"The figure: {tmp_path / 'new' / 'folder' / 'tour.png'}"
    assert matplotlib.image.imread(tmp_path / "new" / "folder" / "tour.png").shape[:2] == (304, 880)
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["tour.png"]
    assert printed.err == ""


@pytest.mark.parametrize("break_off", [KeyboardInterrupt(), RuntimeError("a bug")])
def test_a_tour_that_is_broken_off_leaves_the_figure_that_was_there(
    break_off, tmp_path, monkeypatch
):
    def stop(*_):
        raise break_off

    (tmp_path / "tour.png").write_bytes(b"an earlier one")
    monkeypatch.setattr(train, "train", stop)
    with pytest.raises(type(break_off)):
        tour.run(tmp_path)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [
        ("tour.png", b"an earlier one")
    ]


@pytest.mark.parametrize("name", ["file", "file/folder"])
def test_a_place_that_cannot_be_written_is_refused_before_anything_runs(name, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(
        CourseError, match=r"cannot be written \(.+\); give a directory where you may write"
    ):
        tour.run(tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"
