"""Kubernetes objects as documents. How YAML is read and written, and which fields are refused, is
tested with Katib's objects in tests/katib/test_spec.py.
"""

from kubeflow_workshop.objects import conditions, present, state, with_condition


def test_conditions_keep_their_history_and_running_ends():
    thing = {"status": {"conditions": []}}
    for step in ("Created", "Running", "Succeeded"):
        thing = with_condition(thing, step, f"Trial{step}", step)
    assert [(one["type"], one["status"], one["reason"]) for one in thing["status"]["conditions"]] == [
        ("Created", "True", "TrialCreated"), ("Running", "False", "TrialRunning"), ("Succeeded", "True", "TrialSucceeded"),
    ]  # fmt: skip
    assert state(thing) == "Succeeded"
    assert conditions(thing) == {"Created", "Succeeded"}


def test_an_object_without_conditions_is_nothing_yet():
    for thing in ({}, {"status": {}}, {"status": {"conditions": None}}):
        assert (state(thing), conditions(thing)) == ("", set())


def test_a_document_is_never_changed_in_place():
    before = {"status": {"conditions": []}}
    with_condition(before, "Failed", "TrialFailed", "")
    assert before == {"status": {"conditions": []}}
    nulls = {"a": None, "b": [{"c": None, "d": 0}], "e": {}}
    assert present(nulls) == {"b": [{"d": 0}], "e": {}}
    assert nulls["a"] is None
