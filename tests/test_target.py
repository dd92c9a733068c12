"""The switch between laptop and cluster."""

import pytest

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.target import TARGETS, target


def test_the_laptop_is_where_things_run_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv("WORKSHOP_TARGET", raising=False)
    assert target() == "laptop"
    monkeypatch.setenv("WORKSHOP_TARGET", "")
    assert target() == "laptop"


@pytest.mark.parametrize("choice", TARGETS)
def test_the_variable_chooses(monkeypatch, choice):
    monkeypatch.setenv("WORKSHOP_TARGET", choice)
    assert target() == choice


@pytest.mark.parametrize("value", ["Cluster", "cloud", " laptop"])
def test_any_other_value_is_told_with_the_two_choices(monkeypatch, value):
    monkeypatch.setenv("WORKSHOP_TARGET", value)
    with pytest.raises(
        CourseError, match=rf'WORKSHOP_TARGET is "{value}"; set it to laptop or cluster'
    ):
        target()
