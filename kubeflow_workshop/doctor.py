"""What this machine can do: which track of the course it can run, and what to type for each thing
missing.

Used in notebook 00 and by `workshop doctor`. The report names no host, no user and no path, because
notebook 00 stores it.
"""

import contextlib
import errno
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
from packaging.requirements import Requirement

from kubeflow_workshop.files import course_file

OLDEST, NEWEST = (3, 11), (3, 13)
PORTS = {8888: "JupyterLab", 8080: "the model server"}
LAPTOP_MEMORY, CLUSTER_MEMORY = 4, 8
FREE_MEMORY = 1.5
"""A training run of the course takes up to 1.2 GB."""
CLUSTER_CORES = 4
DISK = 4
GB = 10**9
NEARLY = 0.9
"""A machine sold with 4 GB reports a little less."""
PATIENCE = 3.5
"""Seconds that a program may take to answer."""
CGROUP = Path("/sys/fs/cgroup")
"""Where Linux says how much memory a container may take; psutil tells only what the whole machine
has.
"""

INSTALL = {
    "python": {
        "Linux": "sudo apt-get install python3 python3-venv   (Debian 12, Ubuntu 24.04 or newer)",
        "Darwin": "brew install python@3.12",
        "Windows": "winget install Python.Python.3.12",
    },
    "docker": {
        "Linux": (
            "sudo apt-get install docker.io && sudo usermod -aG docker $USER   then log out and in"
        ),
        "Darwin": "brew install --cask docker-desktop && open -a Docker",
        "Windows": "winget install Docker.DockerDesktop   then start Docker Desktop",
    },
    "engine": {
        "Linux": "sudo systemctl start docker",
        "Darwin": "open -a Docker",
        "Windows": "start Docker Desktop from the Start menu",
    },
    "kubectl": {
        "Linux": (
            "curl -LO https://dl.k8s.io/release/v1.34.1/bin/linux/{machine}/kubectl && sudo install"
            " kubectl /usr/local/bin"
        ),
        "Darwin": "brew install kubectl",
        "Windows": "winget install Kubernetes.kubectl",
    },
    "port": {
        "Linux": "ss -ltnp 'sport = :{port}'   shows which program has it; end that one",
        "Darwin": "lsof -nP -iTCP:{port} -sTCP:LISTEN   shows which program has it; end that one",
        "Windows": "netstat -ano | findstr :{port}   shows which process has it; end that one",
    },
}
"""What to type, by thing and system; Linux stands for Debian and Ubuntu."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what was looked at.
        status: "ok"; "missing" if a track cannot run without it; "warn" if it may get in the way.
        says: what was found, in plain words.
        do: what to type or to do about it; empty if there is nothing to do.
        stops: the track that cannot run because of it. What stops "laptop" stops both; "cluster"
            means that no cluster can be made here.
    """

    name: str
    status: Literal["ok", "missing", "warn"]
    says: str
    do: str = ""
    stops: Literal["", "laptop", "cluster"] = ""


def look() -> list[Finding]:
    """Look at this machine. Takes under 5 s, also where a program hangs, and raises nothing.

    Used in notebook 00.

    Returns:
        Findings in the order in which they are reported.
    """
    parts: list[tuple[str, Callable[[], Finding | Iterable[Finding]]]] = [
        ("Python", _python),
        ("packages", _packages),
        ("cores", _cores),
        ("memory", _memory),
        ("disk", _disk),
        ("ports", _ports),
        ("Docker", _docker),
        ("kubectl", _kubectl),
    ]
    with ThreadPoolExecutor(len(parts)) as together:
        return [
            finding
            for found in together.map(lambda part: _safely(*part), parts)
            for finding in found
        ]


def report(findings: list[Finding] | None = None) -> str:
    """The findings as aligned text, and at its end which tracks this machine can run.

    Used in notebook 00 and by `workshop doctor`.

    Args:
        findings: what was found; without it, `look()`.

    Returns:
        Lines of text; no host name, no user name and no path stands in them.
    """
    findings = look() if findings is None else findings
    name_width = max((len(found.name) for found in findings), default=0)
    rows = []
    for found in findings:
        rows.append(f"{found.name:<{name_width}}  {found.status:<7}  {found.says}")
        if found.do:
            rows.append(f"{'':<{name_width}}  {'':<7}  → {found.do}")
    return "\n".join([*rows, "", *_tracks(findings)])


def _tracks(findings: list[Finding]) -> list[str]:
    everywhere = [found.name for found in findings if found.stops == "laptop"]
    here = [found.name for found in findings if found.stops == "cluster"]
    if everywhere:
        return [
            (
                f"Laptop track: not yet. Mend this first: {', '.join(everywhere)}. Meanwhile the"
                " badges above each notebook open it on Colab or Binder."
            ),
            "Cluster track: not yet. It begins with what the laptop track needs.",
        ]
    laptop = "Laptop track: yes. Every notebook runs here, without a cluster."
    if any(found.name == "cluster" and found.status == "ok" for found in findings):
        return [laptop, "Cluster track: yes, on the cluster that answers, if Kubeflow runs there."]
    if here:
        return [
            laptop,
            (
                "Cluster track: not yet. Still needed for a cluster on this machine:"
                f" {', '.join(here)}."
            ),
        ]
    return [laptop, "Cluster track: yes. A cluster of the workshop's size fits on this machine."]


def _safely(name: str, part: Callable[[], Finding | Iterable[Finding]]) -> list[Finding]:
    """The doctor must answer on machines nobody thought of, so whatever goes wrong becomes a
    finding.
    """
    try:
        found = part()
        return [found] if isinstance(found, Finding) else list(found)
    except Exception as error:
        return [Finding(name, "warn", f"could not be looked at ({type(error).__name__})")]


def _install(what: str, **values: object) -> str:
    machine = "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "amd64"
    return (
        INSTALL[what]
        .get(platform.system(), INSTALL[what]["Linux"])
        .format(machine=machine, **values)
    )


def _python() -> Finding:
    version = platform.python_version()
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return Finding("Python", "ok", version)
    wanted = f"{'.'.join(map(str, OLDEST))} to {'.'.join(map(str, NEWEST))}"
    return Finding(
        "Python",
        "missing",
        f"{version}; the course runs on {wanted}",
        _install("python"),
        stops="laptop",
    )


def _packages() -> Iterable[Finding]:
    """How many of the lock's packages are installed as locked; nothing where there is no lock
    (Colab).
    """
    lock = course_file("requirements.txt")
    if not lock.is_file():
        return
    lines = (line for line in lock.read_text(encoding="utf-8").splitlines() if line[:1].isalnum())
    wanted = [
        need for need in map(Requirement, lines) if need.marker is None or need.marker.evaluate()
    ]
    other = [need.name for need in wanted if not _as_locked(need)]
    says = f"{len(wanted) - len(other)} of {len(wanted)} as in requirements.txt"
    if other:
        yield Finding(
            "packages",
            "warn",
            f"{says}; not {', '.join(other[:3])}{' …' if len(other) > 3 else ''}",
            "pip install -r requirements.txt",
        )
    else:
        yield Finding("packages", "ok", says)


def _as_locked(need: Requirement) -> bool:
    try:
        return need.specifier.contains(importlib.metadata.version(need.name), prereleases=True)
    except importlib.metadata.PackageNotFoundError:
        return False


def _cores() -> Finding:
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    if cores >= CLUSTER_CORES:
        return Finding("cores", "ok", str(cores))
    return Finding(
        "cores",
        "warn",
        f"{cores}, enough for a laptop; a cluster on this machine wants {CLUSTER_CORES}",
        stops="cluster",
    )


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    total, available = memory.total / GB, memory.available / GB
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        limit = int((CGROUP / "memory.max").read_text()) / GB
        total, available = (
            min(total, limit),
            min(available, limit - int((CGROUP / "memory.current").read_text()) / GB),
        )
    says = f"{total:.1f} GB, {available:.1f} GB of it free"
    if total < LAPTOP_MEMORY * NEARLY:
        return Finding(
            "memory",
            "missing",
            f"{says}; the course needs {LAPTOP_MEMORY} GB",
            "take a machine with more",
            stops="laptop",
        )
    stops: Literal["", "cluster"] = "cluster" if total < CLUSTER_MEMORY * NEARLY else ""
    if stops:
        says += f", enough for a laptop; a cluster on this machine wants {CLUSTER_MEMORY} GB"
    if available < FREE_MEMORY:
        return Finding(
            "memory",
            "warn",
            f"{says}; training takes up to {FREE_MEMORY} GB",
            "close programs that you do not need",
            stops=stops,
        )
    return Finding("memory", "warn" if stops else "ok", says, stops=stops)


def _disk() -> Finding:
    free = shutil.disk_usage(course_file(".")).free / GB
    if free >= DISK:
        return Finding("disk", "ok", f"{free:.0f} GB free")
    return Finding(
        "disk",
        "missing",
        f"{free:.1f} GB free; the course needs {DISK} GB",
        "free some, or put the course on another disk",
        stops="laptop",
    )


def _ports() -> Iterable[Finding]:
    for port, user in PORTS.items():
        with socket.socket() as probe:
            if os.name == "posix":  # else a port that was closed a minute ago still counts as taken
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE and not isinstance(error, PermissionError):
                    yield Finding(
                        f"port {port}", "warn", f"could not be tried ({type(error).__name__})"
                    )
                elif user == "JupyterLab":
                    yield Finding(
                        f"port {port}",
                        "warn",
                        "taken, perhaps by the JupyterLab you read this in; a second one takes the"
                        " next free port",
                    )
                else:
                    yield Finding(
                        f"port {port}",
                        "warn",
                        f"taken; {user} needs it",
                        _install("port", port=port),
                    )
            else:
                yield Finding(f"port {port}", "ok", f"free, for {user}")


def _docker() -> Finding:
    if not shutil.which("docker"):
        return Finding("Docker", "missing", "not installed", _install("docker"), stops="cluster")
    answer, failed = _ask("docker", "info", "--format", "{{json .}}")
    version = answer.get("ServerVersion")
    if not version:
        if "permission denied" in f"{failed} {answer.get('ServerErrors')}".lower():
            do = "sudo usermod -aG docker $USER   then log out and in"
            return Finding(
                "Docker",
                "missing",
                "installed, but you may not speak to its engine",
                do,
                stops="cluster",
            )
        return Finding(
            "Docker",
            "missing",
            "installed, but its engine does not answer",
            _install("engine"),
            stops="cluster",
        )
    cores, memory = answer.get("NCPU") or 0, (answer.get("MemTotal") or 0) / GB
    says = f"engine {version} with {cores} cores and {memory:.1f} GB"
    if cores < CLUSTER_CORES or memory < CLUSTER_MEMORY * NEARLY:
        do = (
            ""
            if platform.system() == "Linux"
            else "give it more in Docker Desktop: Settings, Resources"
        )
        return Finding(
            "Docker",
            "warn",
            f"{says}; a cluster in it wants {CLUSTER_CORES} and {CLUSTER_MEMORY} GB",
            do,
            stops="cluster",
        )
    return Finding("Docker", "ok", says)


def _kubectl() -> Iterable[Finding]:
    if not shutil.which("kubectl"):
        yield Finding("kubectl", "missing", "not installed", _install("kubectl"), stops="cluster")
        return
    answer, _ = _ask("kubectl", "version", "-o", "json", "--request-timeout=3s")
    client, server = (
        answer.get(side, {}).get("gitVersion") for side in ("clientVersion", "serverVersion")
    )
    yield Finding("kubectl", "ok", client or "installed")
    if server:
        yield Finding("cluster", "ok", f"one answers, with Kubernetes {server}")
    else:
        yield Finding("cluster", "warn", "none answers; the laptop track needs none")


def _ask(*command: str) -> tuple[dict, str]:
    """Run a program that answers in JSON, and end it, with all that it started, when it takes too
    long.

    The answer goes through files: a pipe would be waited for as long as any child of the program
    lives.

    Returns:
        The JSON object, empty if there was none, and what the program wrote to stderr.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        program = shutil.which(command[0]) or command[0]
        running = subprocess.Popen(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            running.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                if os.name == "posix":
                    os.killpg(running.pid, signal.SIGKILL)
                else:
                    running.kill()
            running.wait()
        out.seek(0)
        err.seek(0)
        said, failed = out.read().decode(errors="replace"), err.read().decode(errors="replace")
    try:
        answer = json.loads(said)
    except ValueError:
        answer = {}
    return answer if isinstance(answer, dict) else {}, failed
