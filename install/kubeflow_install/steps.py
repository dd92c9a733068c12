"""The steps of `up`. Each can be run again; a second `up` goes on after the last one done."""

from __future__ import annotations

import json
import secrets
import shutil
import string
import time
from collections.abc import Callable
from pathlib import Path

from kubeflow_install import fetch
from kubeflow_install.ground import (
    NAMESPACE,
    PROFILES,
    InstallError,
    Instance,
    Runner,
    image,
    last_line,
    versions,
)

PAUSE = 10
"""Seconds between two tries, or two looks at what is not ready yet."""
TRIES = 60
"""A kind of object that another object defines is known to the server some time after it; a webhook
answers some time after its pod started.
"""
READY_WITHIN = 45 * 60
"""Seconds until what is not ready is given up."""
COURSE = PROFILES / "course"
ADMIN = "user@example.com"
"""The user that the full platform's login knows."""

# a name that the state keeps, what the user is told, how long it usually takes, and the function
Step = tuple


def layers(profile: str) -> list[Path]:
    """The folders of a profile, in the order in which they are applied; the course's own objects
    are last.
    """
    return [*sorted(path for path in (PROFILES / profile).iterdir() if path.is_dir()), COURSE]


def kind_config(ports: list[tuple[int, int]]) -> str:
    """kind's description of the cluster. JSON, which is YAML, too. All that it opens on this
    machine is on the loopback address.

    Args:
        ports: pairs of a port of this machine and the node's.
    """
    issuer = "https://kubernetes.default.svc"
    patch = (  # upstream's own: the login of the full platform checks tokens by their issuer
        "kind: ClusterConfiguration\napiServer:\n  extraArgs:\n"
        f'    "service-account-issuer": "{issuer}"\n    "service-account-signing-key-file":'
        ' "/etc/kubernetes/pki/sa.key"\n'
    )
    opened = [
        {"hostPort": here, "containerPort": there, "listenAddress": "127.0.0.1", "protocol": "TCP"}
        for here, there in ports
    ]
    node = {
        "role": "control-plane",
        "image": versions()["node"]["image"],
        "kubeadmConfigPatches": [patch],
        "extraPortMappings": opened,
    }
    config = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {"apiServerAddress": "127.0.0.1"},
        "nodes": [node],
    }
    return json.dumps(config, indent=2)


def kind_steps(instance: Instance, runner: Runner) -> list[Step]:
    """What `up --tool kind` does."""
    profile = instance.state["profile"]
    steps: list[Step] = [
        (
            "tools",
            "bring kind, kubectl and kustomize, by checksum",
            "a minute or two",
            lambda: [fetch.tool(name, runner) for name in ("kind", "kubectl", "kustomize")],
        ),
        (
            "distribution",
            f"bring Kubeflow's manifests, {versions()['distribution']['version']}",
            "a minute",
            lambda: fetch.distribution(runner),
        ),
        (
            "cluster",
            f"make the cluster {instance.cluster}, Kubernetes {versions()['node']['version']}",
            "2 to 5 minutes",
            lambda: _make(instance, runner),
        ),
        ("image", f"load {image()} into it", "1 to 3 minutes", lambda: _load(instance, runner)),
    ]
    for layer in layers(profile):
        steps.append(
            (
                f"apply {layer.name}",
                f"apply {layer.name}",
                "under 3 minutes",
                _applier(instance, runner, layer),
            )
        )
    if profile == "full":
        steps.append(
            (
                "password",
                "make the password of the login",
                "seconds",
                lambda: _password(instance, runner),
            )
        )
    steps.append(
        (
            "ready",
            "wait until all of it is ready",
            "5 to 20 minutes, most of it downloads of images",
            lambda: _wait(instance, runner),
        )
    )
    return steps


def multikf_steps(instance: Instance, runner: Runner) -> list[Step]:
    """What `up --tool multikf` does: multikf makes the cluster and brings the Kubeflow that it
    holds; the course's own objects are ours.
    """
    return [
        (
            "tools",
            "bring multikf, kind, kubectl and kustomize, by checksum",
            "a minute or two",
            lambda: [
                fetch.tool(name, runner) for name in ("multikf", "kind", "kubectl", "kustomize")
            ],
        ),
        (
            "cluster",
            (
                f"multikf makes {instance.name} with Kubeflow"
                f" {versions()['multikf']['kubeflow_version']}"
            ),
            "10 to 30 minutes",
            lambda: _multikf(instance, runner),
        ),
        ("image", f"load {image()} into it", "1 to 3 minutes", lambda: _load(instance, runner)),
        ("apply course", "apply course", "seconds", _applier(instance, runner, COURSE)),
        (
            "ready",
            "wait until all of it is ready",
            "5 to 20 minutes",
            lambda: _wait(instance, runner),
        ),
    ]


def take(instance: Instance, runner: Runner, steps: list[Step]) -> None:
    """Do what is not done yet, in order, and remember each step."""
    for number, (name, what, usually, do) in enumerate(steps, 1):
        if name in instance.state.get("done", []):
            runner.say(f"[{number}/{len(steps)}] {what}: done before")
            continue
        runner.say(f"[{number}/{len(steps)}] {what} (usually {usually})")
        begin = time.monotonic()
        do()
        if not runner.dry:
            instance.did(name)
            runner.note(f"{name} took {time.monotonic() - begin:.0f} s")


def clusters(runner: Runner) -> list[str]:
    """The names of all clusters that kind knows on this machine, ours and others."""
    return runner.run(fetch.tool_path("kind"), "get", "clusters").stdout.split()


def kubectl(instance: Instance, runner: Runner, *words: str, **options: object):
    """Run kubectl on this instance, by its own kubeconfig: the user's current context is never
    touched.
    """
    return runner.run(
        fetch.tool_path("kubectl"), "--kubeconfig", instance.kubeconfig, *words, **options
    )


def _make(instance: Instance, runner: Runner) -> None:
    kind, config = fetch.tool_path("kind"), instance.folder / "kind.yaml"
    there = instance.cluster in clusters(runner)
    if there and not instance.state.get("making"):
        raise InstallError(
            f"kind has a cluster {instance.cluster} that `up` did not make; take another name, or"
            f" type: kind delete cluster --name {instance.cluster}."
        )
    if not runner.dry:
        config.write_text(kind_config(instance.state["ports"]), encoding="utf-8")
        instance.state["making"] = True
        node = versions()["node"]["image"]
        instance.state.setdefault(
            "brought_node",
            runner.run("docker", "image", "inspect", node, tolerate=True).returncode != 0,
        )
        instance.save()
    if there:  # half made when `up` was ended
        runner.run(
            kind,
            "delete",
            "cluster",
            "--name",
            instance.cluster,
            "--kubeconfig",
            instance.kubeconfig,
        )
    runner.run(
        kind,
        "create",
        "cluster",
        "--name",
        instance.cluster,
        "--config",
        config,
        "--kubeconfig",
        instance.kubeconfig,
        "--wait",
        "180s",
    )


def _load(instance: Instance, runner: Runner) -> None:
    name = instance.cluster if instance.state["tool"] == "kind" else instance.name
    runner.run(fetch.tool_path("kind"), "load", "docker-image", image(), "--name", name)


def _applier(instance: Instance, runner: Runner, layer: Path) -> Callable[[], None]:
    return lambda: _apply(instance, runner, layer)


def _apply(instance: Instance, runner: Runner, layer: Path) -> None:
    folder = layer
    if layer != COURSE:  # a layer names its bases by where they are in the distribution
        folder = fetch.distribution_path() / "kubeflow-workshop" / layer.parent.name / layer.name
        if not runner.dry:
            shutil.copytree(layer, folder, dirs_exist_ok=True)
    objects = runner.run(fetch.tool_path("kustomize"), "build", folder).stdout
    for attempt in range(1, TRIES + 1):
        done = kubectl(
            instance,
            runner,
            "apply",
            "--server-side",
            "--force-conflicts",
            "-f",
            "-",
            stdin=objects,
            tolerate=True,
        )
        if done.returncode == 0:
            return
        if attempt < TRIES:
            runner.say(
                f"  the cluster does not take all of {layer.name} yet ({last_line(done)[:120]});"
                f" again in {PAUSE} s"
            )
            time.sleep(PAUSE)
    raise InstallError(
        f"the cluster did not take {layer.name} in {TRIES} tries: {last_line(done)}; see"
        f" {instance.log}, then give the same command again."
    )


def _new_password() -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(20))


def _show(password: str) -> None:
    # straight to the terminal: never to the log
    print(
        f"\n  The login of this Kubeflow: {ADMIN}\n  Its password, shown this once and kept"
        f" nowhere: {password}\n",
        flush=True,
    )


def _password(instance: Instance, runner: Runner) -> None:
    """The profile leaves out upstream's well-known password, so the login starts with this one or
    not at all.
    """
    password = _new_password()
    salt = (
        "$2b$12$"
        + "".join(secrets.choice("./" + string.ascii_letters + string.digits) for _ in range(21))
        + "u"
    )
    # Dex takes bcrypt alone, which Python's library lacks; the node's own C library has it.
    script = "chomp($p = <STDIN>); print crypt($p, $ARGV[0])"
    node = f"{instance.cluster}-control-plane"
    hashed = runner.run(
        "docker",
        "exec",
        "--interactive",
        node,
        "perl",
        "-e",
        script,
        salt,
        stdin=f"{password}\n",
        secret=True,
    ).stdout.strip()
    if runner.dry:
        hashed = "…"
    elif not (hashed.startswith(salt[:7]) and len(hashed) == 60):
        raise InstallError(
            f"the node {node} could not hash the password; give the same command again, and if it"
            " stays so, tell the course's authors."
        )
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "dex-passwords", "namespace": "auth"},
        "type": "Opaque",
        "stringData": {"DEX_USER_PASSWORD": hashed},
    }
    kubectl(
        instance,
        runner,
        "apply",
        "--server-side",
        "--force-conflicts",
        "-f",
        "-",
        stdin=json.dumps(secret),
    )
    kubectl(instance, runner, "rollout", "restart", "deployment/dex", "--namespace", "auth")
    if not runner.dry:
        _show(password)


def _wait(instance: Instance, runner: Runner) -> None:
    """Look at all deployments and the course's own Job until they are ready; tell each change."""
    kinds = ("get", "deployments,jobs", "--all-namespaces", "-o", "json")
    if runner.dry:
        kubectl(instance, runner, *kinds)
        return
    deadline, told = time.monotonic() + READY_WITHIN, None
    while True:
        answer = kubectl(instance, runner, *kinds, tolerate=True)
        waiting, count = (
            unready(answer.stdout) if answer.returncode == 0 else (["the API server"], 0)
        )
        if count and not waiting:
            return
        if waiting != told:
            named = ", ".join(waiting[:4]) + (
                f" and {len(waiting) - 4} more" if len(waiting) > 4 else ""
            )
            runner.say(
                f"  {count - len(waiting) if count else 0} of {count} ready; waiting for"
                f" {named or 'the first objects'}"
            )
            told = waiting
        if time.monotonic() > deadline:
            raise InstallError(
                f"{', '.join(waiting[:4])} did not become ready in {READY_WITHIN // 60} minutes;"
                f" see kubectl --kubeconfig {instance.kubeconfig} get pods --all-namespaces, then"
                " give the same command again: it goes on waiting."
            )
        time.sleep(PAUSE)


def unready(text: str) -> tuple[list[str], int]:
    """Which deployments are not available and which jobs of the course are not complete, and how
    many there are of both.

    Args:
        text: the JSON of `kubectl get deployments,jobs --all-namespaces`.
    """
    waiting, count = [], 0
    for thing in json.loads(text)["items"]:
        wanted = {"Deployment": "Available", "Job": "Complete"}[thing["kind"]]
        space, name = thing["metadata"]["namespace"], thing["metadata"]["name"]
        if thing["kind"] == "Job" and (space, name) != (NAMESPACE, "load-datasets"):
            continue
        count += 1
        conditions = thing.get("status", {}).get("conditions", [])
        if not any(one["type"] == wanted and one["status"] == "True" for one in conditions):
            waiting.append(f"{space}/{name}")
    return waiting, count


def _multikf(instance: Instance, runner: Runner) -> None:
    """multikf's flags are those of its `add` command; its own default password is well known, so it
    always gets ours.
    """
    pin, tool = versions()["multikf"], fetch.tool_path("multikf")
    kind = fetch.tool_path("kind")
    there = instance.name in clusters(runner)
    if there and not instance.state.get("making"):
        raise InstallError(
            f"kind has a cluster {instance.name} that `up` did not make; take another name."
        )
    if not runner.dry:
        instance.state["making"] = True
        instance.save()
    if there:
        runner.run(tool, "delete", instance.name)
    runner.say(
        "  multikf takes the password of the login on its command line and nowhere else: while it"
        " runs, anyone who may list the processes of this machine can read it. On a machine that"
        " you share, take --tool kind."
    )
    password = _new_password()
    ports = ",".join(f"{here}:{inside}" for here, inside in instance.state["ports"])
    add = [
        tool,
        "add",
        instance.name,
        "--provisioner",
        "docker",
        "--cpus",
        "4",
        "--memoryg",
        "12",
        "--with_ip",
        "127.0.0.1",
    ]
    add += [
        "--with_kubeflow",
        "--kubeflow_version",
        pin["kubeflow_version"],
        *(["--export_ports", ports] if ports else []),
    ]
    runner.run(
        *add,
        "--with_password",
        "(made when it runs)" if runner.dry else password,
        secret=not runner.dry,
    )
    runner.run(
        kind, "export", "kubeconfig", "--name", instance.name, "--kubeconfig", instance.kubeconfig
    )
    if not runner.dry:
        _show(password)
