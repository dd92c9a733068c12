"""The case study's Experiment on a real Katib: unchanged, and with the same end as on a laptop."""

import json
import subprocess
from dataclasses import dataclass

import pytest

from kubeflow_workshop.files import course_file
from kubeflow_workshop.katib.cluster import Cluster
from kubeflow_workshop.katib.laptop import Laptop
from tests.cluster.conftest import workshop

DOCUMENT = course_file("tutorials/artifacts/stock-lstm.yaml")


@dataclass(frozen=True)
class End:
    """How the Experiment ended in one of the two places."""

    experiment: dict
    trials: list[dict]
    said: str
    """What `workshop tune` told on stderr."""


def tuned(ran: subprocess.CompletedProcess, door: Laptop | Cluster) -> End:
    assert ran.returncode == 0, ran.stderr
    experiment = json.loads(ran.stdout)
    return End(experiment, door.trials(experiment["metadata"]["name"]), ran.stderr)


@pytest.fixture(scope="session")
def there(account, namespace) -> End:
    """On the cluster: what a learner types."""
    ran = workshop("tune", DOCUMENT, "-o", "json", kubeconfig=account)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(account))
        return tuned(ran, Cluster())


@pytest.fixture(scope="session")
def here(tmp_path_factory, there) -> End:
    """The same on this laptop, after the cluster's: they would take each other's cores."""
    kept = tmp_path_factory.mktemp("katib")
    return tuned(workshop("tune", DOCUMENT, "-o", "json", "--state", kept), Laptop(kept))
