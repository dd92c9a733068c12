"""What the installer hands to kustomize and kind, tried with the real ones."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.install.conftest import distribution, downloads, machine  # noqa: F401

from kubeflow_install import steps  # isort: skip  the line above makes it known

ROOT = Path(__file__).parents[2]
PINS = json.loads((ROOT / "install/versions.json").read_text())
MODULES = {"kustomize": "sigs.k8s.io/kustomize/kustomize/v5", "kind": "sigs.k8s.io/kind"}


def missing(tool: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"CI must have {tool}")
    pytest.skip(f"{tool} is not on this machine")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """`built(name)`: the pinned version of a program, compiled from its source."""
    if not shutil.which("go"):
        missing("go")
    place = tmp_path_factory.mktemp("programs")

    def build(name: str) -> Path:
        if not (place / name).exists():
            module = f"{MODULES[name]}@{PINS[name]['version']}"
            subprocess.run(
                ["go", "install", module],
                env=os.environ | {"GOBIN": str(place)},
                check=True,
                capture_output=True,
                cwd=place,
            )
        return place / name

    return build


@pytest.fixture
def layer(machine, built, distribution):  # noqa: F811
    """`layer(folder)`: the objects that the real kustomize makes of a layer, on a distribution that
    has the right folders with little in them.
    """

    def objects(folder: Path) -> dict[tuple[str, str], dict]:
        if folder != steps.COURSE:
            place = distribution[0] / "kubeflow-workshop" / folder.parent.name / folder.name
            shutil.copytree(folder, place, dirs_exist_ok=True)
            folder = place
        done = subprocess.run(
            [built("kustomize"), "build", folder], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return {
            (thing["kind"], thing["metadata"]["name"]): thing
            for thing in yaml.safe_load_all(done.stdout)
        }

    return objects


@pytest.mark.parametrize(
    "folder",
    [*steps.layers("workshop"), *steps.layers("full")[:-1]],
    ids=lambda folder: folder.name,
)
def test_the_real_kustomize_takes_each_layer_and_what_it_makes_is_valid(layer, folder):
    objects = layer(folder)
    assert objects
    for thing in objects.values():
        kubernetes_validate.validate(thing, PINS["node"]["version"].removeprefix("v"), strict=True)


def test_the_courses_objects_are_in_its_namespace_and_run_its_image(layer, machine):  # noqa: F811
    objects = layer(steps.COURSE)
    spaces = {
        thing["metadata"].get("namespace")
        for (kind, _), thing in objects.items()
        if kind != "Namespace"
    }
    assert spaces == {"kubeflow-workshop"}
    (runner,) = objects["RoleBinding", "tuning-step"]["subjects"]
    assert runner["namespace"] == "kubeflow"  # of Pipelines, and not ours
    (container,) = objects["Job", "load-datasets"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"kubeflow-workshop:{machine.version}"


@pytest.mark.parametrize(
    ("folder", "name", "opened"),
    [
        ("workshop/40-pipelines", "ml-pipeline-ui", {3000: 80}),
        ("full/10-platform", "istio-ingressgateway", {15021: None, 8080: 80, 8443: 443}),
    ],
)
def test_the_ports_of_the_node_lead_to_the_first_page(layer, folder, name, opened):
    content = layer(steps.PROFILES / folder)["Deployment", name]["spec"]
    (container,) = content["template"]["spec"]["containers"]
    assert {port["containerPort"]: port.get("hostPort") for port in container["ports"]} == opened
    assert container["image"] == "upstream"
    assert content["strategy"] == {"type": "Recreate"}


def test_kserve_gets_standard_mode_and_keeps_the_rest_of_its_settings(layer):
    settings = layer(steps.PROFILES / "workshop/50-kserve")["ConfigMap", "inferenceservice-config"][
        "data"
    ]
    assert json.loads(settings["deploy"])["defaultDeploymentMode"] == "Standard"
    assert set(settings) == {"deploy", "ingress", "logger"}


def test_the_well_known_password_never_reaches_the_cluster(layer):
    assert ("Secret", "dex-passwords") not in layer(steps.PROFILES / "full/10-platform")


@pytest.mark.parametrize("broken", [False, True])
def test_the_real_kind_reads_our_description_of_the_cluster(built, tmp_path, broken):
    """As far as it goes without an engine: to the node's image, which a stand-in for docker refuses
    to pull.
    """
    (tmp_path / "docker").write_text(
        '#!/bin/sh\ncase "$*" in inspect*) exit 1 ;; pull*) echo "no network" >&2; exit 1 ;; info*)'
        ' echo "{}" ;; esac\n'
    )
    (tmp_path / "docker").chmod(0o755)
    text = steps.kind_config([(18080, 80)])
    (tmp_path / "kind.yaml").write_text(
        text.replace("extraPortMappings", "extraPortMapings") if broken else text
    )
    words = [
        "create",
        "cluster",
        "--name",
        "demo",
        "--config",
        tmp_path / "kind.yaml",
        "--kubeconfig",
        tmp_path / "kubeconfig",
    ]
    done = subprocess.run(
        [built("kind"), *words],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        "field extraPortMapings not found"
        if broken
        else f'failed to pull image "{PINS["node"]["image"]}"'
    ) in done.stderr
