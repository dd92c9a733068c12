"""A pipeline's file, run on the laptop."""

import json
import shutil
import time
from pathlib import Path

import pytest

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.objects import AbsentError
from kubeflow_workshop.pipelines import graph, spec, table
from kubeflow_workshop.pipelines.laptop import Laptop

pytestmark = pytest.mark.xdist_group("laptop")


@pytest.fixture(scope="module")
def notes(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("notes dir")  # a blank, as in many a home


@pytest.fixture(scope="module")
def door(tmp_path_factory, notes) -> Laptop:
    return Laptop(tmp_path_factory.mktemp("state"), {"notes": notes})


@pytest.fixture(scope="module")
def accepted(door, files) -> dict:
    return door.wait(door.create(files["gate"], name="first"))


@pytest.fixture(scope="module")
def refused(door, files, accepted) -> dict:
    """The same again, with a gate that says no."""
    return door.wait(door.create(files["gate"], {"skill": "-0.5"}))


@pytest.fixture(scope="module")
def broken(door, files) -> dict:
    return door.wait(door.create(files["breaks"]))


def by_name(door: Laptop, run: dict) -> dict[str, dict]:
    return {task["task_id"]: task for task in door.tasks(run["run_id"])}


def test_a_run_is_shown_as_kfps_api_shows_it(accepted):
    from kfp_server_api import V2beta1Run

    assert accepted["state"] == "SUCCEEDED"
    assert accepted["display_name"] == "first"
    assert accepted["created_at"] < accepted["finished_at"]
    assert set(accepted) <= set(V2beta1Run.openapi_types)


def test_a_task_is_shown_as_kfps_api_shows_it_and_three_things_more(door, accepted):
    from kfp_server_api import V2beta1PipelineTaskDetail

    for task in by_name(door, accepted).values():
        assert set(task) - set(V2beta1PipelineTaskDetail.openapi_types) == {
            "iteration",
            "cached",
            "path",
        }


def test_what_runs_is_the_file_byte_for_byte(door, files, accepted):
    assert door.pipeline(accepted["run_id"]).read_bytes() == files["gate"].read_bytes()


def test_a_gate_that_says_yes_lets_the_step_run_in_the_folder_of_its_claim(door, accepted, notes):
    assert by_name(door, accepted)["note"]["state"] == "SUCCEEDED"
    assert (notes / "notes.txt").read_text() == "python3 it's\n"


def test_a_gate_that_says_no_skips_the_step(door, accepted, refused, notes):
    assert refused["state"] == "SUCCEEDED"
    assert by_name(door, refused)["note"]["state"] == "SKIPPED"
    assert "start_time" not in by_name(door, refused)["note"]
    assert (notes / "notes.txt").read_text() == "python3 it's\n"


def test_a_step_with_the_same_inputs_comes_from_the_cache_also_one_with_metrics(door, refused):
    cached = {name: task.get("cached") for name, task in by_name(door, refused).items()}
    assert cached["say"]
    assert cached["measure"]
    assert not cached["judge"]


def test_each_step_has_a_log_of_its_own(door, accepted):
    assert "I say python3 it's\n" in door.logs(accepted["run_id"], "say")
    assert "I say" not in door.logs(accepted["run_id"], "judge")
    with pytest.raises(AbsentError, match=r"it has .*judge"):
        door.logs(accepted["run_id"], "nothing")


def test_metrics_are_a_table(door, accepted):
    assert table.metrics(door.tasks(accepted["run_id"])).to_dict("index") == {
        "measure": {"number": 2.5}
    }


def test_a_page_is_kept_where_a_browser_takes_it_for_one(door, accepted):
    assert {name: path.name for name, path in door.pages(accepted["run_id"]).items()} == {
        "page": "page.html"
    }
    assert door.pages(accepted["run_id"])["page"].read_text() == "<p>hello</p>"


def test_a_failed_step_is_told_with_its_name_its_exception_and_its_log(door, broken):
    assert broken["state"] == "FAILED"
    told = broken["error"]["message"]
    before, _, log = told.partition("; its log: ")
    assert before == "step fail failed: ValueError: seven is not right"
    assert "Traceback" in Path(log).read_text()
    assert {name: task["state"] for name, task in by_name(door, broken).items()} == {
        "say": "SUCCEEDED",
        "fail": "FAILED",
    }


def test_runs_are_listed_the_newest_first_and_found_by_the_first_letters(door, accepted, refused):
    created = [run["created_at"] for run in door.runs()]
    assert created == sorted(created, reverse=True)
    assert door.get(accepted["run_id"][:8]) == accepted
    with pytest.raises(AbsentError, match="keeps no run nobody"):
        door.get("nobody")


def test_a_pipeline_that_the_laptop_cannot_run_is_refused_before_anything_starts(door, files):
    before = len(door.runs())
    with pytest.raises(CourseError) as refused:
        door.create(files["platform"])
    told = str(refused.value)
    assert "shell is a container (image busybox:1.36)" in told
    assert "say asks for an accelerator (nvidia.com/gpu)" in told
    assert "say-2 needs a secret of the cluster" in told
    assert "needs-package needs the package no-such-package==1.0, which is not installed" in told
    assert "needs-old-pandas needs the package pandas<2, and" in told
    assert "packaging" not in told
    assert len(door.runs()) == before


def test_a_run_whose_runner_was_killed_has_failed(door, files, accepted, tmp_path):
    """Seen from another process: the record says RUNNING, and nobody runs it."""
    folder = door.state / "runs" / accepted["run_id"]
    other = tmp_path / "state" / "runs" / accepted["run_id"]
    shutil.copytree(folder, other)
    (other / "run.json").write_text(json.dumps(accepted | {"state": "RUNNING"}))
    found = Laptop(tmp_path / "state").get(accepted["run_id"])
    assert found["state"] == "FAILED"
    assert "ended from outside" in found["error"]["message"]


def test_a_state_that_cannot_be_written_is_told_in_one_sentence(files, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CourseError, match="cannot be written"):
        Laptop(tmp_path / "file").create(files["gate"])


def test_the_graph_shows_each_step_with_its_state(door, files, refused):
    drawn = graph.svg(spec.read(files["gate"]), door.tasks(refused["run_id"]))
    assert "if verdict == accepted" in drawn
    assert "note skipped" in drawn
    assert "say cached" in drawn


def test_a_run_that_failed_goes_on_from_the_cache_and_what_is_deleted_is_gone(door, files, broken):
    again = door.wait(door.create(files["breaks"]))["run_id"]
    states = {task["task_id"]: task for task in door.tasks(again)}
    assert states["say"]["cached"]
    assert states["fail"]["state"] == "FAILED"
    door.delete(again)
    assert not (door.state / "runs" / again).exists()
    with pytest.raises(AbsentError):
        door.get(again)


def test_without_a_shell_and_the_cache_every_step_runs(door, files, monkeypatch, tmp_path):
    """As on Windows, where there is no sh."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("sh") is None
    seen = []
    run = door.create(files["gate"], {"skill": -1}, cache=False)
    door.wait(run, lambda run, tasks: seen.append((run["state"], len(tasks))))
    assert not any(task.get("cached") for task in door.tasks(run))
    assert "RUNNING" in {state for state, _ in seen}
    assert seen[-1] == ("SUCCEEDED", 5)


def test_ctrl_c_ends_the_run_and_its_steps(tmp_path):
    import psutil
    from kfp import compiler, dsl

    @dsl.component(base_image="python:3.11", install_kfp_package=False)
    def linger(started: str):
        import time
        from pathlib import Path

        Path(started).write_text("yes")
        time.sleep(600)

    @dsl.pipeline(name="lingers")
    def lingers(started: str):
        linger(started=started)

    def interrupt(run: dict, tasks: list[dict]) -> None:
        raise KeyboardInterrupt

    file, started = tmp_path / "lingers.yaml", tmp_path / "started"
    compiler.Compiler().compile(lingers, str(file))
    door = Laptop(tmp_path / "state")
    run = door.create(file, {"started": str(started)})
    deadline = time.monotonic() + 60
    while not started.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(KeyboardInterrupt):
        door.wait(run, interrupt)
    assert door.get(run)["state"] == "CANCELED"
    assert [task["state"] for task in door.tasks(run)] == ["CANCELED"]
    mine = [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(tmp_path) in " ".join(process.info["cmdline"] or [])
    ]
    assert not psutil.wait_procs(mine, timeout=10)[1]


def test_exit_handlers_retries_imports_and_pipelines_in_the_pipeline_work(door, files, tmp_path):
    (tmp_path / "given.txt").write_text("given")
    arguments = {"folder": str(tmp_path), "given": str(tmp_path / "given.txt"), "fails": True}
    run = door.wait(door.create(files["more"], arguments))
    made = by_name(door, run)
    assert run["error"]["message"].startswith("step fail failed: ValueError: ")
    assert (tmp_path / "last").read_text() == "FAILED"
    assert made["try-twice"]["state"] == "SUCCEEDED"
    assert "not the first time" in door.logs(run["run_id"], "try-twice")
    inner = "exit-handler-1.inner.read", "exit-handler-1.inner-2.read"
    assert [made[name]["outputs"]["Output"] for name in inner] == ["first", "second"]
    assert made["exit-handler-1.read"]["outputs"]["Output"] == "given"
    drawn = graph.svg(spec.read(files["more"]), list(made.values()))
    assert "4 done" in drawn
    assert "3 done" not in drawn  # three steps are called read, and each is drawn with its own
    turns = [task["iteration"] for task in made.values() if task["display_name"] == "say"]
    assert sorted(turns) == ["0.0", "0.1", "1.0", "1.1"]
