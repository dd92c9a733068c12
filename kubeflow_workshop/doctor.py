"""What this machine can do: which track of the course it can run, and what to type for each thing
missing.

The laptop track is judged here. Whether a cluster can be made on this machine is judged by the
installer (`install/cluster.py doctor`), which is asked for its verdict, so that there is one.

Used in notebook 00 and by `workshop doctor`. The report names no host, no user and no path, because
notebook 00 stores it.
"""

import contextlib
import errno
import importlib.metadata
import json
import os
import platform
import re
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
LAPTOP_MEMORY = 4
FREE_MEMORY = 1.5
"""A training run of the course takes up to 1.2 GB."""
DISK = 4
GB = 10**9
NEARLY = 0.9
"""A machine sold with 4 GB reports a little less."""
PATIENCE = 3.5
"""Seconds that a program may take to answer."""
HERE = "cluster here"
CGROUP = Path("/sys/fs/cgroup")
"""Where Linux says how much memory a container may take; psutil tells only what the whole machine
has.
"""

INSTALL = {
    "cluster": {
        "Linux": (
            "install/linux/cluster.sh doctor   in the course's folder says what to type for"
            " each thing missing"
        ),
        "Windows": (
            r"install\windows\cluster.bat doctor   in the course's folder says what to type for"
            " each thing missing"
        ),
    },
    "python": {
        "Linux": "sudo apt-get install python3 python3-venv   (Debian 12, Ubuntu 24.04 or newer)",
        "Darwin": "brew install python@3.12",
        "Windows": "winget install Python.Python.3.12",
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
        stops: whether the laptop track cannot run because of it.
    """

    name: str
    status: Literal["ok", "missing", "warn"]
    says: str
    do: str = ""
    stops: bool = False


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
        ("kubectl", _kubectl),
        (HERE, _cluster_here),
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
    missing = [found.name for found in findings if found.stops]
    laptop = "yes. Every notebook runs here, without a cluster."
    if missing:
        laptop = (
            f"not yet. Fix this first: {', '.join(missing)}. Meanwhile the badges above each"
            " notebook open it on Colab or Binder."
        )
    by_name = {found.name: found for found in findings}
    here = by_name[HERE].says if HERE in by_name else "not judged"
    cluster = f"{here}."
    if "cluster" in by_name and by_name["cluster"].status == "ok":
        cluster = (
            "yes, on the cluster that answers, if Kubeflow runs there. One on this machine:"
            f" {cluster}"
        )
    return [f"Laptop track: {laptop}", f"Cluster track: {cluster}"]


def _safely(name: str, part: Callable[[], Finding | Iterable[Finding]]) -> list[Finding]:
    """The doctor must answer on machines nobody thought of, so whatever goes wrong becomes a
    finding.
    """
    try:
        found = part()
        return [found] if isinstance(found, Finding) else list(found)
    except Exception as error:
        return [Finding(name, "warn", f"could not be checked ({type(error).__name__})")]


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
        stops=True,
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
    return Finding("cores", "ok", str(cores))


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
            "use a machine with more",
            stops=True,
        )
    if available < FREE_MEMORY:
        return Finding(
            "memory",
            "warn",
            f"{says}; training takes up to {FREE_MEMORY} GB",
            "close programs that you do not need",
        )
    return Finding("memory", "ok", says)


def _disk() -> Finding:
    free = shutil.disk_usage(course_file(".")).free / GB
    if free >= DISK:
        return Finding("disk", "ok", f"{free:.0f} GB free")
    return Finding(
        "disk",
        "missing",
        f"{free:.1f} GB free; the course needs {DISK} GB",
        "free some space, or put the course on another disk",
        stops=True,
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
                        f"port {port}", "warn", f"could not be checked ({type(error).__name__})"
                    )
                elif user == "JupyterLab":
                    yield Finding(
                        f"port {port}",
                        "warn",
                        "taken, perhaps by the JupyterLab in which you read this; another takes the"
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


def _kubectl() -> Iterable[Finding]:
    if not shutil.which("kubectl"):
        yield Finding(
            "kubectl",
            "warn",
            "not installed; it speaks to a cluster, and the laptop track needs none",
            _install("kubectl"),
        )
        return
    answer = _ask("kubectl", "version", "-o", "json", "--request-timeout=3s")
    client, server = (
        answer.get(side, {}).get("gitVersion") for side in ("clientVersion", "serverVersion")
    )
    yield Finding("kubectl", "ok", client or "installed")
    if server:
        yield Finding("cluster", "ok", f"a cluster answers; it runs Kubernetes {server}")
    else:
        yield Finding("cluster", "warn", "no cluster answers; the laptop track needs none")


def _cluster_here() -> Finding:
    """The installer's verdict on a cluster of the workshop's size on this machine."""
    installer = course_file("install/cluster.py")
    do = _install("cluster")
    if not installer.is_file():
        return Finding(HERE, "warn", "not judged, because the installer is in the checkout", do)
    words = (sys.executable, str(installer), "doctor", "--patience", str(PATIENCE))
    said = _run(*words, patience=PATIENCE + 5)  # more than it needs, also where Docker hangs
    verdict = re.search(r"^A cluster of profile workshop: (.+)\.$", said, re.MULTILINE)
    if not verdict:
        return Finding(HERE, "warn", "not judged, because the installer did not answer", do)
    if verdict.group(1) == "yes":
        return Finding(HERE, "ok", "yes")
    return Finding(HERE, "warn", verdict.group(1), do)


def _ask(*command: str) -> dict:
    """Run a program that answers in JSON; returns the object, empty if there was none."""
    try:
        answer = json.loads(_run(*command, patience=PATIENCE))
    except ValueError:
        answer = {}
    return answer if isinstance(answer, dict) else {}


def _run(*command: str, patience: float) -> str:
    """Run a program; end it after `patience` seconds, and in any case what it has started.

    The answer goes through a file: a pipe would be waited for as long as any child of the program
    lives.

    Returns:
        What it wrote to stdout.
    """
    with tempfile.TemporaryFile() as out:
        program = shutil.which(command[0]) or command[0]
        running = subprocess.Popen(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            running.wait(patience)
        except subprocess.TimeoutExpired:
            running.kill()
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        out.seek(0)
        return out.read().decode(errors="replace")
