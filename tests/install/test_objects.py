"""Every Kubernetes object that the project can make, checked by Kubernetes' own schema as
strictly as a server would: unknown fields refused.
"""

import copy
import json
import tomllib
from collections.abc import Iterator
from types import SimpleNamespace

import kubernetes_validate
import pytest
import yaml
from kubeflow_install import preflight, steps
from kubernetes.utils import parse_quantity

from kubeflow_workshop import IMAGE, case_study, tuning
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.katib import cluster, spec
from kubeflow_workshop.katib.plan import substitute
from kubeflow_workshop.pipelines import signin
from tests.install.conftest import ROOT
from tests.katib.stand_in import StandIn, end, kubeconfig, serving

VERSION = json.loads((ROOT / "install/versions.json").read_text())["node"]["version"].removeprefix(
    "v"
)
COURSE = ROOT / "install/profiles/course"
FREE = {"labels", "annotations", "limits", "requests", "data", "stringData", "nodeSelector"}
"""Fields whose keys are anybody's."""


def course(kind: str, name: str | None = None) -> dict:
    """The one object of a kind and, if there are several, of a name among the course's own."""
    (thing,) = [
        thing
        for path in COURSE.glob("*.yaml")
        for thing in yaml.safe_load_all(path.read_text())
        if thing["kind"] == kind and (not name or thing["metadata"]["name"] == name)
    ]
    return thing


def granted(role: str) -> list[tuple[str, str, str]]:
    """API group, resource and verb of each right that a Role gives."""
    return sorted(
        (group, resource, verb)
        for rule in course("Role", role)["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    )


def asked(api: StandIn) -> list[tuple[str, str, str]]:
    """The rights that the requests to the API server so far need."""
    verbs = {"POST": "create", "DELETE": "delete", "GET": "get"}
    needed = set()
    for method, path, query, _, _ in api.asked:
        group = cluster.GROUP if cluster.GROUP in path else ""
        _, _, _, resource, *named = path[path.index("/namespaces") :].split("/")
        verb = verbs[method] if named or method != "GET" else "list"
        needed.add(
            (group, "/".join([resource, *named[1:]]), "watch" if query.get("watch") else verb)
        )
    return sorted(needed)


def login() -> dict:
    """The Secret of the full platform's login, as `up` hands it to kubectl."""
    given = []

    def run(*command, stdin=None, **_):
        given.append(stdin)
        return SimpleNamespace(stdout="", returncode=0)

    steps._password(
        SimpleNamespace(cluster="one", kubeconfig="one"), SimpleNamespace(run=run, dry=True)
    )
    (text,) = [text for text in given if text and text.startswith("{")]
    return json.loads(text)


def made() -> Iterator[dict]:
    """The course's own objects, the Secret of the login, and the Job that Katib makes for a trial."""
    for path in sorted(ROOT.glob("install/profiles/**/*.yaml")):
        if path.name != "kustomization.yaml":
            yield from yaml.safe_load_all(path.read_text())
    yield login()
    template = case_study.experiment()["spec"]["trialTemplate"]
    values = {parameter["name"]: "8" for parameter in template["trialParameters"]}
    yield substitute(template["trialSpec"], values) | {
        "metadata": {"name": "stock-lstm-abcdefgh", "namespace": "kubeflow-workshop"}
    }


OBJECTS = [
    pytest.param(thing, id=f"{thing['kind']}-{thing['metadata']['name']}") for thing in made()
]


def misspelt(thing: object, path: str = "") -> Iterator[tuple[str, object]]:
    """The thing with one field misspelt, each field in turn."""
    if isinstance(thing, list):
        for place, item in enumerate(thing):
            for where, wrong in misspelt(item, f"{path}[{place}]"):
                yield where, [*thing[:place], wrong, *thing[place + 1 :]]
    elif isinstance(thing, dict):
        for name in thing:
            here = f"{path}.{name}"
            yield here, {(f"{key}x" if key == name else key): value for key, value in thing.items()}
            if name not in FREE:
                for where, wrong in misspelt(thing[name], here):
                    yield where, thing | {name: wrong}


@pytest.mark.parametrize("thing", OBJECTS)
def test_an_object_is_one_that_the_pinned_kubernetes_takes(thing):
    kubernetes_validate.validate(thing, VERSION, strict=True)


@pytest.mark.parametrize("thing", OBJECTS)
def test_every_misspelt_field_is_refused(thing):
    for where, wrong in misspelt(copy.deepcopy(thing)):
        by_these_the_schema_is_found = where in (".apiVersion", ".kind")
        with pytest.raises(
            KeyError if by_these_the_schema_is_found else kubernetes_validate.ValidationError
        ):
            kubernetes_validate.validate(wrong, VERSION, strict=True)


def test_the_experiment_that_travels_is_checked_to_the_last_field():
    experiment = spec.read(ROOT / "tutorials/artifacts/stock-lstm.yaml")
    for _, wrong in misspelt(experiment):
        with pytest.raises(CourseError):
            spec.check(wrong)


def test_the_trials_find_room_on_the_smallest_machine_that_the_installer_accepts():
    """What they are promised, and not what they may take: beside the platform itself, which asks
    for most of it.
    """
    content = case_study.experiment()["spec"]
    pod = content["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    promised = container["resources"]["requests"]
    at_once = content["parallelTrialCount"]
    assert at_once == 2
    assert at_once * parse_quantity(promised["cpu"]) <= min(preflight.CORES.values()) / 10
    memory = min(preflight.MEMORY.values()) * preflight.NEARLY * preflight.GB
    assert at_once * parse_quantity(promised["memory"]) <= memory / 3
    for name, most in container["resources"]["limits"].items():
        assert parse_quantity(promised[name]) < parse_quantity(most)


def test_the_role_grants_what_the_code_asks_for_and_no_more(monkeypatch, tmp_path):
    """Every method of the door is called, and the stand-in for the API server keeps the questions."""
    with serving(StandIn()) as api:
        server = f"http://127.0.0.1:{api.port}"
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", server)))
        experiment = spec.read(ROOT / "tutorials/artifacts/stock-lstm.yaml")
        door = cluster.Cluster()
        name = door.create(experiment)
        labels = {"katib.kubeflow.org/experiment": name}
        api.put(
            "trials",
            {
                "metadata": {"name": "one", "labels": labels},
                "spec": {"primaryContainerName": "main"},
            },
        )
        api.put(
            "pods",
            {
                "metadata": {"name": "one-a", "labels": {"job-name": "one"}},
                "spec": {"containers": []},
            },
        )
        api.log("one-a", "main", "")
        door.trials(name)
        door.logs("one")
        with pytest.raises(CourseError, match="goes on there"):
            door.wait(name, timeout=0.1)
        door.delete(name)
    assert granted("workshop") == asked(api)


def test_the_step_that_tunes_may_do_what_it_does_and_no_more(monkeypatch, tmp_path):
    """As it runs where Pipelines are installed alone: in their own namespace."""
    chosen = {"window": "5", "units": "32", "learning-rate": "0.01"}
    best = [{"name": name, "value": value} for name, value in chosen.items()]
    with serving(StandIn()) as api:
        server = f"http://127.0.0.1:{api.port}"
        config = kubeconfig(tmp_path / "config", server, namespace=signin.PLATFORM)
        monkeypatch.setenv("KUBECONFIG", str(config))
        monkeypatch.setenv("WORKSHOP_TARGET", "cluster")
        created: list[dict] = []
        api.controller = created.append

        def ended(handler: object) -> None:
            status = {
                "conditions": [{"type": "Succeeded", "status": "True"}],
                "currentOptimalTrial": {"bestTrialName": "one", "parameterAssignments": best},
            }
            api.put("experiments", created[0] | {"status": status})
            end(handler)

        api.watches = [ended]
        found = tuning.search("IBM", "bundled", "", "", "talk", epochs=1, trials=2)
    assert found == {"window": 5, "units": 32, "learning_rate": 0.01}
    (experiment,) = created
    assert experiment["metadata"]["namespace"] == steps.NAMESPACE
    assert granted("tuning-step") == asked(api)


@pytest.mark.parametrize(
    ("role", "account", "namespace"),
    [
        ("workshop", "workshop", steps.NAMESPACE),
        ("tuning-step", "pipeline-runner", signin.PLATFORM),
    ],
)
def test_each_role_is_bound_to_its_account_in_the_courses_namespace(role, account, namespace):
    binding, kustomization = course("RoleBinding", role), course("Kustomization")
    assert kustomization["namespace"] == course("Namespace")["metadata"]["name"] == steps.NAMESPACE
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == ("Role", role)
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    assert binding["subjects"] == [subject]
    assert account == "pipeline-runner" or course("ServiceAccount")["metadata"]["name"] == account


def test_katib_reads_metrics_in_the_courses_namespace_and_the_image_is_this_version():
    assert (
        course("Namespace")["metadata"]["labels"]["katib.kubeflow.org/metrics-collector-injection"]
        == "enabled"
    )
    (image,) = course("Kustomization")["images"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"{image['name']}:{image['newTag']}" == f"kubeflow-workshop:{version}" == IMAGE
    (container,) = course("Job")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == image["name"]  # else kustomize has nothing to put the tag to


@pytest.mark.parametrize(
    "path",
    sorted(ROOT.glob("install/profiles/**/kustomization.yaml")),
    ids=lambda path: path.parent.name,
)
def test_a_kustomization_names_what_is_there(path):
    kustomization = yaml.safe_load(path.read_text())
    assert set(kustomization) <= {
        "apiVersion",
        "kind",
        "namespace",
        "resources",
        "images",
        "patches",
    }
    assert (kustomization["apiVersion"], kustomization["kind"]) == (
        "kustomize.config.k8s.io/v1beta1",
        "Kustomization",
    )
    named = {
        *kustomization["resources"],
        *(patch["path"] for patch in kustomization.get("patches", []) if "path" in patch),
    }
    # no file is forgotten
    assert {other.name for other in path.parent.glob("*.yaml")} - {path.name} <= named
    for resource in kustomization["resources"]:
        assert resource.startswith("../../../") or (path.parent / resource).is_file()
    for patch in kustomization.get("patches", []):
        assert "path" not in patch or (path.parent / patch["path"]).is_file()
