"""The files in tutorials/artifacts are what the code makes today."""

import runpy

import pytest

from kubeflow_workshop import case_study
from kubeflow_workshop.files import course_file
from kubeflow_workshop.katib import plan, spec

ARTIFACTS = runpy.run_path(str(course_file("tutorials/artifacts/make.py")))["ARTIFACTS"]


def test_every_artifact_is_one_that_is_made():
    assert {
        path.name for path in course_file("tutorials/artifacts").iterdir() if path.is_file()
    } == {"make.py", *ARTIFACTS}


@pytest.mark.parametrize("name", ARTIFACTS)
def test_an_artifact_is_what_the_code_makes(name):
    assert course_file(f"tutorials/artifacts/{name}").read_text(encoding="utf-8") == ARTIFACTS[name]


def test_the_experiment_is_read_as_it_was_made_and_runs_here():
    read = spec.read(course_file("tutorials/artifacts/stock-lstm.yaml"))
    assert read == case_study.experiment()
    assert plan.plan(spec.check(read)).command[:3] == [
        "python",
        "-m",
        "kubeflow_workshop.stock.train",
    ]
