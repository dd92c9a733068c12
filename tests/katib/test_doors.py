"""The two doors are one interface, and each gives what the other would give."""

import inspect
from pathlib import Path

import pytest

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.katib import Door, connect
from kubeflow_workshop.katib.cluster import Cluster
from kubeflow_workshop.katib.laptop import STATE, Laptop
from tests.katib.stand_in import kubeconfig

METHODS = {name for name in vars(Door) if not name.startswith("_")}


def test_the_interface_is_what_notebooks_use():
    assert {"create", "get", "experiments", "trials", "best", "logs", "wait", "delete"} == METHODS


@pytest.mark.parametrize("door", [Laptop, Cluster])
@pytest.mark.parametrize("name", sorted(METHODS))
def test_both_doors_have_every_method_with_the_same_arguments(door, name):
    """A door may take more, but only what may be left out."""
    wanted = inspect.signature(getattr(Door, name)).parameters
    has = inspect.signature(getattr(door, name)).parameters
    for argument, one in wanted.items():
        assert (has[argument].kind, has[argument].default) == (one.kind, one.default)
    more = [one for argument, one in has.items() if argument not in wanted]
    assert all(one.default is not inspect.Parameter.empty for one in more)


def test_the_target_chooses_the_door(monkeypatch, tmp_path):
    monkeypatch.delenv("WORKSHOP_TARGET", raising=False)
    here = connect()
    assert isinstance(here, Laptop)
    assert here.state == STATE
    assert connect(tmp_path).state == Path(tmp_path)
    monkeypatch.setenv("WORKSHOP_TARGET", "cluster")
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", "http://127.0.0.1:1")))
    assert isinstance(connect(), Cluster)
    for given in ({"state": tmp_path}, {"commands": [("a", "b")]}):
        with pytest.raises(CourseError, match="leave --state and --command out there"):
            connect(**given)
