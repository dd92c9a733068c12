"""What the tests of the pipelines' room share."""

import base64
import json
from pathlib import Path

import pytest

from kubeflow_workshop import kube
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.pipelines import signin
from kubeflow_workshop.pipelines.laptop import Laptop
from tests.pipelines.small import compile_all


def token(**claims: object) -> str:
    """A JSON Web Token that nobody has signed."""
    parts = ({"alg": "RS256", "kid": "k"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts]
    return ".".join([*(part.rstrip("=") for part in encoded), "c2lnbmF0dXJl"])


def sentence(do, *arguments, **options) -> str:
    """The one sentence of a refusal, which tells no secret."""
    with pytest.raises(CourseError) as caught:
        do(*arguments, **options)
    said = str(caught.value)
    assert "\n" not in said
    assert said.endswith((".", "?"))
    assert "c2lnbmF0dXJl" not in said
    assert "secret" not in said
    return said


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> dict[str, Path]:
    """Small pipelines, compiled once."""
    return compile_all(tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="module")
def laptop(tmp_path_factory) -> Laptop:
    """One door for all tests of a module."""
    return Laptop(tmp_path_factory.mktemp("state"))


@pytest.fixture
def at_home(monkeypatch, tmp_path):
    """No cluster and no login of the machine that runs the tests, and no long pauses."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (signin.ENDPOINT, signin.TOKEN, signin.AUTHORITY, signin.NAMESPACE, "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(
        "kubernetes.config.incluster_config.SERVICE_TOKEN_FILENAME", str(tmp_path / "account/token")
    )
    monkeypatch.setattr(signin, "MOUNTED", tmp_path / "pipelines/token")
    monkeypatch.setattr(kube, "PAUSE", 0.01)
