"""Every Kubernetes object that the project can make, held against Kubernetes' own schema as strictly as a server would: unknown fields refused."""

import copy
import json
import re
from collections.abc import Iterator

import kubernetes_validate
import pytest
import yaml

from kubeflow_workshop import IMAGE
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.katib import spec
from kubeflow_workshop.katib.laptop import substitute
from tests.install.conftest import ROOT

VERSION = json.loads((ROOT / "install/versions.json").read_text())["node"]["version"].removeprefix("v")
FREE = {"labels", "annotations", "limits", "requests", "data", "nodeSelector"}
"""Fields whose keys are anybody's."""


def made() -> Iterator[dict]:
    """The course's own objects, and the Job that Katib makes for a trial."""
    for path in sorted(ROOT.glob("install/profiles/**/*.yaml")):
        if path.name != "kustomization.yaml":
            yield from yaml.safe_load_all(path.read_text())
    template = spec.case_study()["spec"]["trialTemplate"]
    values = {parameter["name"]: "8" for parameter in template["trialParameters"]}
    yield substitute(template["trialSpec"], values) | {"metadata": {"name": "stock-lstm-abcdefgh", "namespace": "kubeflow-workshop"}}


OBJECTS = [pytest.param(thing, id=f"{thing['kind']}-{thing['metadata']['name']}") for thing in made()]


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
        if where not in (".apiVersion", ".kind"):  # by these the schema is found
            with pytest.raises(kubernetes_validate.ValidationError):
                kubernetes_validate.validate(wrong, VERSION, strict=True)


def test_the_experiment_that_travels_is_checked_to_the_last_field():
    experiment = spec.read(ROOT / "tutorials/artifacts/stock-lstm.yaml")
    for _, wrong in misspelt(experiment):
        with pytest.raises(CourseError):
            spec.check(wrong)


def test_the_role_grants_what_the_code_asks_for_and_no_more():
    code = (ROOT / "kubeflow_workshop/katib/cluster.py").read_text()
    asked = {(resource, verb) for verb, resource in re.findall(r'_ask(?:ing)?\(\s*"(\w+)", "([\w/]+)"', code)}
    if "watch" in code:
        asked |= {("experiments", "watch"), ("experiments", "list")}
    (role,) = [thing for thing in yaml.safe_load_all((ROOT / "install/profiles/course/access.yaml").read_text()) if thing["kind"] == "Role"]
    granted = {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    assert granted == asked


def test_katib_reads_metrics_in_the_courses_namespace_and_the_image_is_this_version():
    namespace = yaml.safe_load((ROOT / "install/profiles/course/namespace.yaml").read_text())
    assert namespace["metadata"]["labels"]["katib.kubeflow.org/metrics-collector-injection"] == "enabled"
    kustomization = yaml.safe_load((ROOT / "install/profiles/course/kustomization.yaml").read_text())
    (image,) = kustomization["images"]
    assert f"{image['name']}:{image['newTag']}" == IMAGE


@pytest.mark.parametrize("path", sorted(ROOT.glob("install/profiles/**/kustomization.yaml")), ids=lambda path: path.parent.name)
def test_a_kustomization_names_what_is_there(path):
    kustomization = yaml.safe_load(path.read_text())
    assert set(kustomization) <= {"apiVersion", "kind", "namespace", "resources", "images", "patches"}
    for resource in kustomization["resources"]:
        assert resource.startswith("../../../") or (path.parent / resource).is_file()
    for patch in kustomization.get("patches", []):
        assert "path" not in patch or (path.parent / patch["path"]).is_file()
