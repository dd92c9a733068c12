"""A pipeline's YAML: what is read, what is refused, and what its parameters take."""

import os
import shutil
from pathlib import Path

import pytest
import yaml

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.files import PACKAGE, course_file
from kubeflow_workshop.pipelines import spec


@pytest.fixture
def gate(files) -> spec.Pipeline:
    return spec.read(files["gate"])


def refusal(do, *arguments) -> str:
    with pytest.raises(CourseError) as caught:
        do(*arguments)
    return str(caught.value)


def written(path: Path, *documents: object) -> Path:
    path.write_text(yaml.safe_dump_all(documents))
    return path


def test_every_step_is_read_with_the_way_to_it(gate):
    assert {step.path for step in gate.steps()} == {
        ("say",),
        ("measure",),
        ("page",),
        ("judge",),
        ("condition-1", "note"),
    }
    (noted,) = [step for step in gate.steps() if step.name == "note"]
    assert noted.platform["pvcMount"][0]["mountPath"] == "/data"


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("just text", "holds a str, and no compiled pipeline"),
        ({"a": 1, "b": 2}, "is a mapping with a, b, and no compiled pipeline"),
        ({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow"}, "a workflow of Argo"),
        ({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun"}, "is a pipeline of Tekton"),
        ({"apiVersion": "kubeflow.org/v1beta1", "kind": "Experiment"}, "of the kind Experiment"),
    ],
)
def test_what_is_no_pipeline_is_told_what_it_is(tmp_path, document, says):
    told = refusal(spec.read, written(tmp_path / "some.yaml", document))
    assert says in told
    assert "compile it with kfp 2" in told


def test_a_missing_file_and_one_that_is_no_yaml_are_told(tmp_path):
    assert "cannot be read" in refusal(spec.read, tmp_path / "nothing.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1\nb: 2\n")
    assert "line 2 is no YAML" in refusal(spec.read, tmp_path / "broken.yaml")


def test_another_schema_version_is_told(tmp_path, files):
    changed = files["gate"].read_text().replace("schemaVersion: 2.1.0", "schemaVersion: 2.0.0")
    (tmp_path / "old.yaml").write_text(changed)
    told = refusal(spec.read, tmp_path / "old.yaml")
    assert "schema version 2.0.0, and 2.1.0 is read here" in told


def test_a_pipeline_with_a_part_missing_is_told(tmp_path, files):
    first, second = yaml.safe_load_all(files["gate"].read_text())
    del first["components"]["comp-say"]
    told = refusal(spec.read, written(tmp_path / "part.yaml", first, second))
    assert "is not a whole pipeline (KeyError: 'comp-say')" in told


def test_a_third_document_is_refused(tmp_path, files):
    documents = [*yaml.safe_load_all(files["gate"].read_text()), {"more": 1}]
    told = refusal(spec.read, written(tmp_path / "three.yaml", *documents))
    assert "holds 3 documents" in told


def test_text_is_read_as_the_parameters_type(gate):
    assert spec.bind(gate, {"skill": "0.25", "folder": "5"}) == {"skill": 0.25, "folder": "5"}


@pytest.mark.parametrize(
    ("kind", "value", "made"),
    [
        ("NUMBER_INTEGER", "3", 3),
        ("NUMBER_INTEGER", 3.0, 3),
        ("NUMBER_DOUBLE", 1, 1.0),
        ("BOOLEAN", "True", True),
        ("LIST", '["AAPL"]', ["AAPL"]),
        ("STRUCT", '{"a": 1}', {"a": 1}),
        ("STRING", "3", "3"),
    ],
)
def test_each_type_takes_what_it_should(kind, value, made):
    typed = spec._typed(value, kind, "it")
    assert (typed, type(typed)) == (made, type(made))


@pytest.mark.parametrize(
    ("kind", "value", "must"),
    [
        ("NUMBER_INTEGER", "2.5", "a whole number"),
        ("NUMBER_INTEGER", True, "a whole number"),
        ("NUMBER_DOUBLE", "many", "a number"),
        ("NUMBER_DOUBLE", "NaN", "a number"),
        ("BOOLEAN", "yes", "true or false"),
        ("LIST", "IBM", "a list"),
        ("STRUCT", "[]", "a mapping"),
        ("STRING", 3, "text"),
    ],
)
def test_each_type_refuses_what_it_should(kind, value, must):
    told = refusal(spec._typed, value, kind, "epochs")
    assert told.startswith(f"parameter epochs is {value!r}, and must be {must}")


def test_an_unknown_parameter_is_refused_and_the_near_one_named(gate):
    assert "has no parameter skil; did you mean skill?" in refusal(spec.bind, gate, {"skil": 1})
    assert "it has skill, folder, claim" in refusal(spec.bind, gate, {"zzz": 1}).replace(
        "claim, folder, skill", "skill, folder, claim"
    )


def test_a_needed_parameter_is_asked_for(gate):
    del gate.parameters["skill"]["defaultValue"]
    del gate.parameters["skill"]["isOptional"]
    told = refusal(spec.bind, gate, {})
    assert "needs the parameter skill; give it with --parameter skill=VALUE" in told


def test_the_fingerprint_changes_with_the_code_and_with_nothing_else(tmp_path, monkeypatch):
    before = spec.fingerprint()
    shutil.copytree(PACKAGE, tmp_path / "package", ignore=shutil.ignore_patterns("course"))
    monkeypatch.setattr(spec, "PACKAGE", tmp_path / "package")
    assert spec.fingerprint() == before
    with (tmp_path / "package/stock/gate.py").open("a") as source:
        source.write("# a remark\n")
    assert spec.fingerprint() != before


def test_a_pipeline_that_asks_for_the_code_gets_its_fingerprint():
    ours = spec.read(course_file("tutorials/artifacts/stock-pipeline.yaml"))
    assert spec.bind(ours, {})["code"] == spec.fingerprint()
    assert spec.bind(ours, {"code": "mine"})["code"] == "mine"


def test_compile_writes_the_same_bytes_in_whatever_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = spec.compile("deep/stock.yaml")
    assert made.read_bytes() == course_file("tutorials/artifacts/stock-pipeline.yaml").read_bytes()
    assert os.listdir("deep") == ["stock.yaml"]


def test_where_it_cannot_be_written_compile_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refusal(spec.compile, tmp_path / "file" / "stock.yaml")


def test_on_the_cluster_only_the_steps_that_need_it_mount_the_volume():
    ours = spec.read(course_file("tutorials/artifacts/stock-pipeline.yaml"))
    mounted = {step.name for step in ours.steps() if "pvcMount" in step.platform}
    assert mounted == {"edition", "fetch", "register"}


def test_what_must_not_come_from_a_cache_never_does():
    ours = spec.read(course_file("tutorials/artifacts/stock-pipeline.yaml"))

    def options(component: dict) -> dict[str, bool]:
        found = {}
        for name, task in component["dag"]["tasks"].items():
            called = ours.component(task)
            if "dag" in called:
                found |= options(called)
            else:
                found[name] = task.get("cachingOptions", {}).get("enableCache", False)
        return found

    never = {name for name, cached in options(ours.spec["root"]).items() if not cached}
    assert never == {"edition", "tune", "register"}


def test_every_cached_step_that_calls_the_package_takes_its_fingerprint():
    ours = spec.read(course_file("tutorials/artifacts/stock-pipeline.yaml"))
    for step in ours.steps():
        source = spec.source_of(step.executor["container"])
        calls = "kubeflow_workshop" in source
        assert ("code: str" in source) == (
            calls and step.name not in {"edition", "tune", "register"}
        )


def test_paths_and_image_are_parameters_and_no_directory_of_this_machine_is_in_the_file():
    text = course_file("tutorials/artifacts/stock-pipeline.yaml").read_text()
    assert str(Path.home()) not in text
    assert "{{$.inputs.parameters[''pipelinechannel--image'']}}" in text
