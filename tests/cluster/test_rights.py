"""What the course's service account may do on a real cluster: what `access.yaml` grants, in its
own namespace, and no more.
"""

import pytest

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.katib.cluster import Cluster
from tests.cluster.conftest import SHORT, profile, tiny


def granted(namespace: str) -> set[tuple[str, str]]:
    """Resource and verb, as the profile's Role for the account has them."""
    (role,) = [
        thing
        for thing in profile(namespace)
        if (thing["kind"], thing["metadata"]["name"]) == ("Role", "workshop")
    ]
    return {
        (f"{resource}.{group}".rstrip("."), verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_account_may_do_what_its_role_says_and_no_more(administrator, account, namespaces):
    """As the cluster itself sees it; what everyone may ask about themselves is left out."""
    here, beside = namespaces
    allowed = {
        (f"{resource}.{group}".rstrip("."), verb)
        for rule in administrator.rights(account, here)
        for group in rule.api_groups
        for resource in rule.resources
        for verb in rule.verbs
        if group not in ("authorization.k8s.io", "authentication.k8s.io")
    }
    assert allowed == granted(here)
    there = administrator.rights(account, beside)
    assert {group for rule in there for group in rule.api_groups} <= {
        "authorization.k8s.io",
        "authentication.k8s.io",
    }


@pytest.fixture
def neighbours(administrator, namespaces, monkeypatch, tmp_path) -> str:
    """An Experiment that the neighbour runs, with a trial."""
    config = administrator.kubeconfig(namespaces[1], tmp_path / "neighbour")
    with monkeypatch.context() as patch:
        patch.setenv("KUBECONFIG", str(config))
        theirs = Cluster()
        name = theirs.create(tiny("theirs", SHORT))
    yield name
    theirs.delete(name)


def test_a_neighbours_experiment_can_be_neither_seen_nor_touched(cluster, neighbours, namespaces):
    beside = Cluster(namespaces[1])
    for what, call in {
        "get experiments": lambda: beside.get(neighbours),
        "list trials": lambda: beside.trials(neighbours),
        "get trials": lambda: beside.logs(f"{neighbours}-1"),
        "delete experiments": lambda: beside.delete(neighbours),
        "create experiments": lambda: beside.create(tiny("mine", SHORT)),
    }.items():
        with pytest.raises(CourseError, match=f'you may not {what}.* namespace "{namespaces[1]}"'):
            call()
    with pytest.raises(CourseError, match="there is no Experiment"):
        cluster.get(neighbours)
