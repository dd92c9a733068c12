"""The exercise in which the learner writes an Experiment: what it takes, and what it says of the
usual mistakes.
"""

import copy

import pytest

from kubeflow_workshop import case_study, objects
from kubeflow_workshop.katib import spec
from kubeflow_workshop.learn import check


@pytest.fixture(scope="module")
def right() -> dict:
    """An Experiment that answers the question, its YAML written by hand."""
    return case_study.experiment(
        "tpe",
        name="mine",
        parameters=[
            spec.integer("window", 2, 20),
            spec.double("learning-rate", 0.0001, 0.01, logarithmic=True),
        ],
        max_trials=8,
        parallel=2,
        arguments=[
            "--start=2010-03-01",
            "--end=2012-02-29",
            "--validation-from=2011-10-05",
            "--test-from=2011-12-15",
            "--epochs=20",
        ],
    )


def said(answer: object, capsys: pytest.CaptureFixture) -> str:
    check("05-1", answer)
    return " ".join(capsys.readouterr().out.split())


def test_an_experiment_is_taken_as_a_document_and_as_text(right, capsys):
    assert said(right, capsys).startswith("Right. ")
    assert said(objects.as_text(right), capsys).startswith("Right. ")


def test_the_days_may_stand_in_words_of_their_own(right, capsys):
    answer = copy.deepcopy(right)
    container = answer["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
    words = container["containers"][0]["command"]
    container["containers"][0]["command"] = [part for word in words for part in word.split("=")]
    assert said(answer, capsys).startswith("Right. ")


def test_what_is_no_experiment_is_told_so(capsys):
    assert "should be an Experiment: a dictionary, or its YAML as text" in said(59, capsys)
    assert "The text is no YAML" in said("spec: [", capsys)
    for none in ({}, {"spec": "hello"}, "hello", "spec: 3", None):
        assert not said(none, capsys).startswith("Right. ")


def changed(document: dict, path: str, value: object) -> dict:
    """A copy with one field set, or taken away by `...`."""
    made = copy.deepcopy(document)
    *way, last = [int(step) if step.isdecimal() else step for step in path.split(".")]
    place = made["spec"]
    for step in way:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return made


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("objective.type", "maximize", "the objective is an error, so the smaller, the better"),
        ("objective.type", "minimise", "refuses it: spec.objective.type: is 'minimise'"),
        ("objective.objectiveMetricName", "Test-MAE", "the test days are for the last judgement"),
        ("objective.objectiveMetricName", "Training-MAE", "it always falls with more training"),
        (
            "objective.objectiveMetricName",
            "val_loss",
            "no trial prints a metric of that name",
        ),
        ("objective.metricStrategies", ..., "metricStrategies asks for its end"),
        ("algorithm.algorithmName", "random", "the question asks for tpe, not random"),
        ("parameters.0.feasibleSpace.min", 2, 'write it in quotes: "2"'),
        ("parameters.0.feasibleSpace.max", "10", "window should run from 2 to 20"),
        ("parameters.0.parameterType", "double", "window is a whole number"),
        ("parameters.1.feasibleSpace.distribution", ..., "not drawn on a logarithmic scale yet"),
        ("maxTrialCuont", 8, "did you mean maxTrialCount?"),
        ("maxTrialCount", 12, "maxTrialCount should be 8, and is 12"),
        ("parallelTrialCount", ..., "parallelTrialCount should be 2, and is left out"),
        ("earlyStopping", ..., "earlyStopping is missing"),
        ("trialTemplate.trialParameters.0.reference", "windows", "is no parameter of this"),
    ],
)
def test_each_usual_mistake_has_a_hint_of_its_own(right, field, value, says, capsys):
    told = said(changed(right, field, value), capsys)
    assert told.startswith("Not yet. ")
    assert says in told


@pytest.mark.parametrize(
    ("word", "instead", "says"),
    [
        ("--end=2012-02-29", "--end=2013-03-01", "A trial must not see the year after"),
        ("--test-from=2011-12-15", "--seed=0", "do not sit the one exam yet"),
        (
            "--window=${trialParameters.window}",
            "--units=${trialParameters.window}",
            "does not get its window from the parameter window",
        ),
    ],
)
def test_a_command_that_does_something_else_is_told_so(right, word, instead, says, capsys):
    text = objects.as_text(right)
    assert word in text
    assert says in said(text.replace(word, instead), capsys)
