"""What kfp.local gets wrong alone, and that the laptop gets it right.

A test that is called `…_alone…` turns red when kfp mends the trap: then the function in
`pipelines/local_traps.py` can go.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kfp import compiler, dsl

from kubeflow_workshop.pipelines import spec
from tests.pipelines.small import join, judge, make_list, measure, read, say, write

pytestmark = pytest.mark.xdist_group("traps")


@dsl.pipeline(name="float-condition")
def float_condition():
    judged = judge(skill=0.5)
    with dsl.If(judged.outputs["skill"] > 0):
        say(text="above zero")


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def number() -> float:
    return 0.5


@dsl.pipeline(name="integer-literal")
def integer_literal():
    made = number()
    with dsl.If(made.output > 0):
        say(text="above zero")


@dsl.pipeline(name="quote")
def quote():
    said = say(text="it's")
    with dsl.If(said.output != "nothing"):
        say(text="something")


@dsl.pipeline(name="outer-output")
def outer_output():
    outer = say(text="outer")
    with dsl.ParallelFor(["a", "b"]) as letter:
        write(text=letter)
        inner = say(text=outer.output)
    join(texts=dsl.Collected(inner.output))


@dsl.pipeline(name="empty-loop")
def empty_loop():
    empty = make_list(count=0)
    with dsl.ParallelFor(empty.output) as item:
        never = say(text=item.letter)
    join(texts=dsl.Collected(never.output))


@dsl.pipeline(name="one-of-artifacts")
def one_of_artifacts(skill: float = 1.5):
    with dsl.If(skill == 1.5):
        first = write(text="first")
    with dsl.Else():
        second = write(text="second")
    read(file=dsl.OneOf(first.outputs["file"], second.outputs["file"]))


@dsl.pipeline(name="metrics")
def metrics():
    measure(number=2.5)


TRAPS = {
    one.name: one
    for one in (
        float_condition,
        integer_literal,
        quote,
        outer_output,
        empty_loop,
        one_of_artifacts,
        metrics,
    )
}


@pytest.fixture(scope="module")
def trap_files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("traps")
    for name, one in TRAPS.items():
        compiler.Compiler().compile(one, str(folder / f"{name}.yaml"))
    return {name: folder / f"{name}.yaml" for name in TRAPS}


@pytest.fixture(scope="module")
def alone(trap_files, tmp_path_factory) -> dict[str, dict]:
    """What kfp.local makes of each of them, without us; the one with metrics is run twice."""
    words = [f"{name}={file}" for name, file in trap_files.items()]
    done = subprocess.run(
        [
            sys.executable,
            str(Path(__file__).with_name("plain.py")),
            str(tmp_path_factory.mktemp("alone")),
            *words,
            f"metrics-again={trap_files['metrics']}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return {(one := json.loads(line))["name"]: one for line in done.stdout.splitlines()}


@pytest.fixture(scope="module")
def ours(files, laptop) -> list[dict]:
    """The tasks of a pipeline with all of that in it, on the laptop."""
    run = laptop.create(files["values"])
    assert laptop.wait(run)["state"] == "SUCCEEDED", laptop.get(run)
    return laptop.tasks(run)


def outputs(tasks: list[dict], name: str) -> list:
    return [task["outputs"]["Output"] for task in tasks if task["display_name"] == name]


def states(tasks: list[dict]) -> dict[str, str]:
    return {task["task_id"]: task["state"] for task in tasks}


@pytest.mark.parametrize("name", ["float-condition", "integer-literal", "quote"])
def test_alone_a_condition_is_false_without_a_word(alone, name):
    assert not alone[name]["error"]
    assert "above zero" not in str(alone[name]["returned"])
    assert "something" not in str(alone[name]["returned"])


def test_a_condition_that_holds_lets_its_step_run(ours):
    assert outputs(ours, "say") == ["above zero"]  # a named output, with a decimal point
    assert states(ours)["write"] == "SUCCEEDED"  # a text with a quote in it


def test_alone_a_loop_puts_its_item_in_the_place_of_an_earlier_output(alone):
    assert alone["outer-output"]["returned"]["join"] == [{"Output": "a b"}]


def test_a_loop_leaves_earlier_outputs_as_they_are(ours):
    assert outputs(ours, "join") == ["outer outer"]


def test_alone_an_empty_loop_before_a_collected_raises(alone):
    assert "not found" in alone["empty-loop"]["error"]


def test_an_empty_loop_collects_nothing(ours):
    assert outputs(ours, "join-3") == [""]
    assert states(ours)["say-6"] == "SKIPPED"


def test_the_fields_of_items_that_a_task_has_made_are_theirs(ours):
    assert outputs(ours, "join-2") == ["n0 n1"]


def test_alone_one_of_artifacts_raises(alone):
    error = alone["one-of-artifacts"]["error"]
    assert "artifact" in error


def test_one_of_artifacts_is_the_branch_that_was_taken(ours):
    assert outputs(ours, "read") == ["first"]
    assert states(ours)["write-3"] == "SKIPPED"


def test_alone_a_step_with_metrics_is_never_cached(alone):
    first, again = (alone[name]["returned"]["measure"][0] for name in ("metrics", "metrics-again"))
    assert first["metrics"] != again["metrics"]


# What is seen in kfp's own code


def test_alone_the_key_of_the_cache_does_not_know_what_a_step_calls():
    """So the case study's steps take the fingerprint of the package."""
    import inspect

    from kfp.local.cache import LocalCache

    known = set(inspect.signature(LocalCache.compute_key).parameters) - {"self"}
    assert known == {
        "component_name",
        "image",
        "full_command",
        "arguments",
        "env_vars",
        "custom_cache_key",
    }


def test_alone_each_compiled_step_starts_with_a_shell(trap_files):
    """So the laptop runs the same source without it, and needs no sh."""
    for step in spec.read(trap_files["quote"]).steps():
        assert step.executor["container"]["command"][:2] == ["sh", "-ec"]
        assert "mktemp" in step.executor["container"]["command"][2]


def test_alone_the_workspace_is_deleted_after_the_run():
    """So the runner gives one of its own."""
    import inspect

    from kfp.local import pipeline_orchestrator

    source = inspect.getsource(pipeline_orchestrator._run_local_pipeline_implementation)
    assert "shutil.rmtree(workspace_root)" in source


def test_alone_python3_is_replaced_in_what_a_step_is_given():
    from kfp.local.subprocess_task_handler import replace_python_executable

    script = '"$program_path/ephemeral_component.py" "$@"'
    made = replace_python_executable(
        ["sh", script, "code", '{"text": "python3"}'], "/my env/python"
    )
    assert made[-1] == '{"text": "/my env/python"}'
