"""A real cluster, and a namespace on it that lives as long as the tests.

They run on the cluster that KUBECONFIG leads to, if a person names it on purpose with
WORKSHOP_TEST_CLUSTER=1: with Katib on it, and the course's image on its nodes. An administrator
makes the namespace, and the tests work there as the service account `workshop`, with the rights of
`install/profiles/course/access.yaml` and no more.
"""

import base64
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from kubeflow_workshop import IMAGE
from kubeflow_workshop.katib.cluster import Cluster
from kubeflow_workshop.target import NAMESPACE
from tests.katib.experiments import experiment

if TYPE_CHECKING:
    from kubernetes.client import V1Pod, V1ResourceRule

PROFILE = Path(__file__).parents[2] / "install/profiles/course"
RUN = "kubeflow-workshop-test"
"""What the namespaces of a run are called and labelled."""
WORKSHOP = [str(Path(sys.executable).with_name("workshop"))]
SHORT = "echo x=${trialParameters.x}; sleep 5; echo loss=0.5"
LONG = "echo x=${trialParameters.x}; exec sleep 600"
FORGOTTEN = timedelta(hours=2)
"""After that a namespace of an earlier run was left by one that was killed."""


def until(true: Callable[[], object], seconds: float, what: str) -> object:
    """Wait for a condition that nobody can tell us of; returns what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not so after {seconds:g} seconds")
        time.sleep(0.5)
    return found


class Administrator:
    """Who makes namespaces on the cluster, hands out their accounts, and looks into them."""

    def __init__(self) -> None:
        from kubernetes import client, config

        self.configuration = client.Configuration()
        config.load_kube_config(client_configuration=self.configuration)
        self._client = client.ApiClient(self.configuration)
        self.core = client.CoreV1Api(self._client)
        self.batch = client.BatchV1Api(self._client)
        self.objects = client.CustomObjectsApi(self._client)

    def make(self, namespace: str) -> None:
        """A namespace with the course's own objects, as the installer makes them."""
        from kubernetes import utils

        for thing in profile(namespace):
            utils.create_from_dict(self._client, thing, namespace=namespace)
        job = until(
            lambda: (
                (job := self.batch.read_namespaced_job("load-datasets", namespace)).status.succeeded
                and job
            ),
            180,
            f"the Job load-datasets in {namespace} has copied the prices (is {IMAGE} on the nodes?)",
        )
        assert job

    def remove(self, *namespaces: str) -> None:
        """Delete namespaces with all that is in them, and wait until they are gone."""
        for name in namespaces:
            if name in self.namespaces():
                self.core.delete_namespace(name)
        until(
            lambda: not self.namespaces() & set(namespaces),
            180,
            f"{' and '.join(namespaces)} are gone",
        )

    def namespaces(self, *, older_than: timedelta = timedelta(0)) -> set[str]:
        """The names of those that runs of these tests have made."""
        listed = self.core.list_namespace(label_selector=f"app={RUN}").items
        return {
            one.metadata.name
            for one in listed
            if datetime.now(UTC) - one.metadata.creation_timestamp >= older_than
        }

    def leftovers(self, namespace: str, experiment: str) -> list[str]:
        """What of an Experiment is still there: its Jobs, and its Pods, the algorithm's too."""
        jobs = self.batch.list_namespaced_job(namespace).items
        return [
            *(job.metadata.name for job in jobs if job.metadata.name.startswith(f"{experiment}-")),
            *(pod.metadata.name for pod in self.pods(namespace, experiment)),
        ]

    def pods(self, namespace: str, experiment: str) -> "list[V1Pod]":
        """The Pods of an Experiment: its trials' and its algorithm's."""
        chosen = f"katib.kubeflow.org/experiment={experiment}"
        return self.core.list_namespaced_pod(namespace, label_selector=chosen).items

    def rights(self, account: Path, namespace: str) -> "list[V1ResourceRule]":
        """What an account may do in a namespace, as the cluster answers the account itself."""
        from kubernetes import client, config

        asked = client.V1SelfSubjectRulesReview(
            spec=client.V1SelfSubjectRulesReviewSpec(namespace=namespace)
        )
        api = client.AuthorizationV1Api(config.new_client_from_config(str(account)))
        return api.create_self_subject_rules_review(asked).status.resource_rules

    def kubeconfig(self, namespace: str, path: Path, server: str = "") -> Path:
        """A kubeconfig for the service account `workshop` of a namespace."""
        from kubernetes import client

        asked = client.AuthenticationV1TokenRequest(
            spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=3 * 3600)
        )
        token = self.core.create_namespaced_service_account_token("workshop", namespace, asked)
        authority = Path(self.configuration.ssl_ca_cert).read_bytes()
        cluster = {
            "server": server or self.configuration.host,
            "certificate-authority-data": base64.b64encode(authority).decode(),
        }
        context = {"cluster": "test", "user": "workshop", "namespace": namespace}
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "test", "cluster": cluster}],
                    "users": [{"name": "workshop", "user": {"token": token.status.token}}],
                    "contexts": [{"name": "test", "context": context}],
                    "current-context": "test",
                }
            )
        )
        path.chmod(0o600)
        return path


def profile(namespace: str) -> Iterator[dict]:
    """The objects of `install/profiles/course`, in another namespace, with the image's tag: what
    kustomize makes of it.
    """
    for name in yaml.safe_load((PROFILE / "kustomization.yaml").read_text())["resources"]:
        for thing in yaml.safe_load_all((PROFILE / name).read_text()):
            if thing["kind"] == "Namespace":
                thing["metadata"]["name"] = namespace
                thing["metadata"].setdefault("labels", {})["app"] = RUN
            else:
                thing["metadata"]["namespace"] = namespace
            for subject in thing.get("subjects", []):
                if subject["namespace"] == NAMESPACE:
                    subject["namespace"] = namespace
            if thing["kind"] == "Job":
                (container,) = thing["spec"]["template"]["spec"]["containers"]
                container["image"] = IMAGE
            yield thing


def _end(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="session")
def administrator() -> Administrator:
    if os.environ.get("WORKSHOP_TEST_CLUSTER") != "1":
        pytest.skip(
            "no cluster is named on purpose: let KUBECONFIG lead to one with Katib and the course's"
            " image, and set WORKSHOP_TEST_CLUSTER=1"
        )
    return Administrator()


@pytest.fixture(scope="session")
def namespaces(administrator) -> Iterator[tuple[str, str]]:
    """Two namespaces side by side: the one where the tests work, and a neighbour's. They are gone
    at the end, after Ctrl-C and SIGTERM too; those of a run that was killed go with the next.
    """
    before = signal.signal(signal.SIGTERM, _end)
    administrator.remove(*administrator.namespaces(older_than=FORGOTTEN))
    name = f"{RUN}-{uuid.uuid4().hex[:8]}"
    both = (name, f"{name}-beside")
    try:
        for one in both:
            administrator.make(one)
        yield both
    finally:
        administrator.remove(*both)
        signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def namespace(namespaces) -> str:
    return namespaces[0]


@pytest.fixture(scope="session")
def account(administrator, namespace, tmp_path_factory) -> Path:
    """The kubeconfig of the service account that the course works as."""
    return administrator.kubeconfig(namespace, tmp_path_factory.mktemp("account") / "config")


@pytest.fixture
def cluster(account, monkeypatch) -> Cluster:
    """The door to the cluster, opened as that account."""
    monkeypatch.setenv("KUBECONFIG", str(account))
    monkeypatch.setenv("WORKSHOP_TARGET", "cluster")
    return Cluster()


def workshop(
    *words: object, kubeconfig: Path | None = None, **options: object
) -> subprocess.CompletedProcess:
    """Run `workshop …` as a learner would: on this laptop or, with a kubeconfig, on its cluster."""
    return subprocess.run(
        [*WORKSHOP, *map(str, words)],
        env=learner(kubeconfig),
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def learner(kubeconfig: Path | None) -> dict[str, str]:
    """The environment of someone who works on this laptop, or on the cluster of a kubeconfig."""
    hidden = ("KUBECONFIG", "WORKSHOP_TARGET", "WORKSHOP_TEST_CLUSTER")
    plain = {name: value for name, value in os.environ.items() if name not in hidden}
    there = {"WORKSHOP_TARGET": "cluster", "KUBECONFIG": str(kubeconfig)}
    return plain | (there if kubeconfig else {})


def tiny(name: str, script: str, **content: object) -> dict:
    """An Experiment whose trials run a shell script in the course's image."""
    # Katib sends to its collector what the last command of the script prints: so it is one
    words = ("sh", "-c", f"({script})")
    document = experiment(
        *words, name=name, container={"image": IMAGE}, **({"maxTrialCount": 1} | content)
    )
    template = document["spec"]["trialTemplate"]
    template["retain"] = True
    template["trialSpec"]["spec"]["template"]["spec"]["securityContext"] = {"runAsUser": 1000}
    return document
