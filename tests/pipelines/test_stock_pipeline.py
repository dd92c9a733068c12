"""The case study's pipeline: the file of the repository, run once with few epochs, then again from
the cache.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kubeflow_workshop import case_study, pipeline, repository, tuning
from kubeflow_workshop.cli import main
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.files import course_file
from kubeflow_workshop.pipelines import graph, lineage, spec
from kubeflow_workshop.pipelines.laptop import Laptop
from kubeflow_workshop.stock import prices

pytestmark = pytest.mark.slow

FILE = course_file(pipeline.YAML)
FEW = {"epochs": 2, "start": "2011-03-01", "at_least": -0.99}


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("room")


@pytest.fixture(scope="module")
def door(room) -> Laptop:
    return Laptop(room / "state")


@pytest.fixture(scope="module")
def arguments(room) -> dict:
    return case_study.pipeline_arguments(["IBM", "MSFT"], room / "models") | FEW


@pytest.fixture(scope="module")
def first(door, arguments) -> dict:
    run = door.wait(door.create(FILE, arguments, name="the first"))
    assert run["state"] == "SUCCEEDED", run
    return run


@pytest.fixture(scope="module")
def two_at_once(door, arguments, first) -> list[dict]:
    begun = [door.create(FILE, arguments) for _ in range(2)]
    return [door.wait(run) for run in begun]


@pytest.fixture(scope="module")
def refused(door, arguments, first, two_at_once) -> dict:
    return door.wait(door.create(FILE, arguments | {"at_least": 0.9}))


def steps(door: Laptop, run: dict) -> dict[str, dict]:
    return {task["task_id"]: task for task in door.tasks(run["run_id"])}


def test_each_ticker_has_its_steps_and_the_table_comes_after_them(door, first):
    made = steps(door, first)
    each = ("edition", "fetch", "check", "given", "train", "evaluate", "gate", "register")
    assert {name for name, task in made.items() if task["state"] == "SUCCEEDED"} == {
        *(f"{name}.{ticker}" for name in each for ticker in (0, 1)),
        "compare",
    }
    assert {name for name, task in made.items() if task["state"] == "SKIPPED"} == {
        "tune.0",
        "tune.1",
    }
    last = max(made["register.0"]["end_time"], made["register.1"]["end_time"])
    assert made["compare"]["start_time"] > last


def test_the_versions_are_in_the_repository_and_say_where_they_are_from(room, first):
    card = repository.whole(room / "models" / "ibm" / "1")
    assert (card["name"], card["version"]) == ("ibm", 1)
    assert card["run"] == {"id": first["run_id"], "name": "the first"}
    assert card["decision"]["accepted"]
    assert card["hyperparameters"]["epochs"] == 2
    assert card["data"]["series"] == "IBM (bundled)"
    assert card["data"]["sha256"] == prices.fingerprint(prices.load("IBM", "2011-03-01"))


def test_two_runs_into_one_repository_at_once_get_two_numbers_each(door, room, two_at_once):
    assert [run["state"] for run in two_at_once] == ["SUCCEEDED"] * 2
    assert repository.versions(room / "models", "ibm") == [1, 2, 3]
    assert repository.versions(room / "models", "msft") == [1, 2, 3]
    cards = [repository.whole(room / "models" / "ibm" / number) for number in ("2", "3")]
    assert {card["run"]["id"] for card in cards} == {run["run_id"] for run in two_at_once}


def test_from_the_cache_comes_all_but_the_edition_and_the_registering(door, two_at_once):
    for run in two_at_once:
        ran = {
            name
            for name, task in steps(door, run).items()
            if task["state"] == "SUCCEEDED" and not task["cached"]
        }
        assert ran == {"edition.0", "edition.1", "register.0", "register.1"}


def test_a_gate_that_refuses_registers_nothing_and_only_it_and_the_table_run_anew(
    door, room, refused
):
    made = steps(door, refused)
    assert refused["state"] == "SUCCEEDED"
    assert [made[f"register.{ticker}"]["state"] for ticker in (0, 1)] == ["SKIPPED"] * 2
    assert made["gate.0"]["outputs"]["verdict"] == "refused"
    assert "0.9" in made["gate.0"]["outputs"]["decision"]["why"]
    assert repository.versions(room / "models", "ibm") == [1, 2, 3]
    assert made["train.0"]["cached"]
    assert not made["gate.0"]["cached"]


def test_the_pages_open_without_the_network(door, first):
    pages = door.pages(first["run_id"])
    assert set(pages) == {"gate.0", "gate.1", "compare"}
    for page in pages.values():
        text = page.read_text(encoding="utf-8")
        assert text.lstrip().lower().startswith("<!doctype html>")
        assert 'src="http' not in text
    assert "IBM" in pages["compare"].read_text(encoding="utf-8")


def test_the_training_has_logs_for_tensorboard(door, first):
    logs = Path(steps(door, first)["train.0"]["outputs"]["logs"]["uri"])
    assert list(logs.glob("train/events.out.tfevents.*"))


def test_back_from_a_version_to_its_run(door, room, first):
    told = lineage.origin(room / "models" / "ibm" / "1", door)
    assert told.run["run_id"] == first["run_id"]
    assert told.run["runtime_config"]["parameters"]["epochs"] == 2
    lines = dict(told.lines())
    assert "epochs=2" in lines["trained with"]
    assert "persistence" in lines["test error"]
    assert "train.0 SUCCEEDED" in lines["steps"]


def test_forward_from_a_data_file_to_the_versions_made_of_it(room, refused, tmp_path):
    bundled = course_file("datasets/IBM.csv")
    made = [room / "models" / "ibm" / number for number in ("1", "2", "3")]
    assert lineage.descendants(bundled, room / "models") == made
    changed = tmp_path / "IBM.csv"
    *rows, last = bundled.read_text().splitlines()
    day, *_, volume = last.split(",")
    changed.write_text("\n".join([*rows, f"{day},1,1,1,1,1,{volume}"]) + "\n")
    assert lineage.descendants(changed, room / "models") == []


def test_where_the_run_is_gone_the_card_still_tells(room, first, tmp_path):
    told = lineage.origin(room / "models" / "ibm" / "1", Laptop(tmp_path))
    assert told.run is None
    assert dict(told.lines())["run"] == f"the first ({first['run_id']})"


def test_the_command_tells_where_the_model_is_and_why(door, room, arguments, refused, capsys):
    """The same run again, from the command line, then everything that is kept."""
    words = [f"--parameter={name}={value}" for name, value in FEW.items()]
    state = f"--state={room / 'state'}"
    tickers = ["--ticker=IBM", "--ticker=MSFT"]
    models = f"--models={room / 'models'}"
    assert main(["pipeline", "run", *tickers, models, state, *words]) == 0
    said = capsys.readouterr().err
    assert f"the model is in {room / 'models' / 'ibm' / '4'}" in said
    assert "gate.0: Accepted: on" in said
    assert "gate.0.html in a browser" in said
    assert "train.0: SUCCEEDED, cached" in said
    run = door.runs()[0]["run_id"]
    assert main(["pipeline", "list", state]) == 0
    assert run[:8] in capsys.readouterr().out
    assert main(["pipeline", "show", run[:8], state, "-o", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert len(shown["run_details"]["task_details"]) == 19
    assert main(["pipeline", "logs", run[:8], "register.0", state]) == 0
    assert "executor" in capsys.readouterr().out
    assert main(["pipeline", "lineage", str(room / "models" / "ibm" / "4"), state]) == 0
    assert run in capsys.readouterr().out.replace("\n", "").replace(" ", "")
    assert main(["pipeline", "delete", run[:8], state]) == 0
    assert main(["pipeline", "show", run[:8], state]) == 2


def test_a_wrong_file_of_ones_own_is_stopped_by_the_check(door, arguments, first, tmp_path):
    wrong = tmp_path / "wrong.csv"
    header, *rows = course_file("datasets/IBM.csv").read_text().splitlines()[:400]
    day, opened, high, _, close, *rest = rows[200].split(",")
    rows[200] = ",".join([day, opened, high, f"{float(high) + 5}", close, *rest])
    wrong.write_text("\n".join([header, *rows]) + "\n")
    given = {"tickers": ["IBM"], "source": str(wrong), "start": ""}
    run = door.wait(door.create(FILE, arguments | given))
    assert run["state"] == "FAILED"
    assert run["error"]["message"].startswith("step check.0 failed: ")
    assert day in run["error"]["message"]
    assert set(steps(door, run)) == {"edition.0", "fetch.0", "check.0"}


def test_the_check_does_not_import_tensorflow(tmp_path):
    ours = spec.read(FILE)
    (check,) = [step for step in ours.steps() if step.name == "check"]
    code = (
        spec.source_of(check.executor["container"])
        + "\nimport sys\nfrom types import SimpleNamespace\n"
        + f"check(SimpleNamespace(path={str(course_file('datasets/IBM.csv'))!r},"
        " metadata={'series': 'IBM'}), '')\n"
        + "print(sorted({'tensorflow', 'keras', 'pandera'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == "['pandera']"


def test_the_step_that_tunes_runs_an_experiment_here_and_keeps_it(tmp_path, monkeypatch):
    from kubeflow_workshop.katib.laptop import STATE
    from kubeflow_workshop.katib.laptop import Laptop as Katib

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKSHOP_TARGET", "laptop")
    found = tuning.search("IBM", "bundled", "2012-03-01", "", "relative", 1, 1)
    (kept,) = Katib(STATE).experiments()
    best = {
        one["name"]: float(one["value"])
        for one in kept["status"]["currentOptimalTrial"]["parameterAssignments"]
    }
    assert found["window"] == best["window"]
    assert found["units"] == best["units"]
    assert found["learning_rate"] == best["learning-rate"]


@pytest.mark.parametrize(
    ("tickers", "says"),
    [
        (["XYZ"], "ticker 'XYZ' is not among the bundled series"),
        ([], "give at least one"),
        (["IBM", "IBM"], "each of them once"),
    ],
)
def test_tickers_that_cannot_be_are_refused_before_anything_starts(tickers, says):
    with pytest.raises(CourseError, match=says):
        case_study.pipeline_arguments(tickers)


def test_a_repository_that_cannot_be_written_is_told_before_anything_starts(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(["pipeline", "run", "--models", "file"]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--parameter", "epochs=many"], "parameter epochs is 'many', and must be a whole number"),
        (["--parameter", "epoch=3"], "has no parameter epoch; did you mean epochs?"),
        (["--parameter", "epochs"], "is not of the form NAME=VALUE"),
        (["nothing.yaml"], "nothing.yaml cannot be read"),
        (["nothing.yaml", "--ticker", "IBM"], "are for the course's own pipeline"),
        (["--parameter", "source=google"], "source 'google' is unknown"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_sentence(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["pipeline", "run", *words]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert not (tmp_path / "build").exists()


def test_the_graph_is_readable(first, door):
    """Boxes that stand in one group do not overlap, and no arrow leads to the left."""
    whole = graph.layout(spec.read(FILE))

    def check(group: graph.Box) -> None:
        by_name = {box.name: box for box in group.inside}
        for box in group.inside:
            assert box.x >= 0
            assert box.y >= 0
            assert box.x + box.width <= group.width
            assert box.y + box.height <= group.height
            for name in box.after:
                assert by_name[name].x + by_name[name].width < box.x
            for other in group.inside:
                apart = (
                    other is box
                    or other.x >= box.x + box.width
                    or box.x >= other.x + other.width
                    or other.y >= box.y + box.height
                    or box.y >= other.y + other.height
                )
                assert apart, (box.name, other.name)
            check(box)

    check(whole)
    assert whole.width < 1100  # so that its letters are not too small on a page
    drawn = graph.svg(spec.read(FILE), door.tasks(first["run_id"]))
    for words in ("for each of tickers", "if search", "if verdict == accepted", "2 skipped"):
        assert words in drawn
