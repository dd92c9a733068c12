"""Look at the machine before anything is made: what is missing comes with what to type."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from kubeflow_install.ground import InstallError, Runner, consent, data, image, machine, search_path

GB = 10**9
NEARLY = 0.9
"""A machine sold with 8 GB reports a little less."""
CORES = {"workshop": 4, "full": 8}
MEMORY = {"workshop": 8, "full": 16}
"""GB. The whole platform: upstream's own recommendation."""
DISK = {"workshop": 25, "full": 65}
"""GB free. An estimate: the node, the images of the profile, and the claims of its databases as
they fill (upstream counts 65 GB of claims in all).
"""
INOTIFY = {"fs.inotify.max_user_instances": 2280, "fs.inotify.max_user_watches": 1255360}
"""Upstream's values; with Debian's own, pods fail with "too many open files"."""
START = {
    "Linux": "sudo systemctl start docker",
    "Darwin": "open -a Docker",
    "Windows": "start Docker Desktop from the Start menu",
}
DOCKER = {
    "Linux": (
        "sudo apt-get install docker.io && sudo usermod -aG docker $USER   then log out and in"
    ),
    "Darwin": "brew install --cask docker-desktop && open -a Docker",
    "Windows": "winget install Docker.DockerDesktop   then start Docker Desktop",
}
GIT = {
    "Linux": "sudo apt-get install git",
    "Darwin": "xcode-select --install",
    "Windows": "winget install Git.Git",
}
PORT = {
    "Linux": (
        "ss -ltnp 'sport = :{port}'   shows which program has it; end that one, or take another"
        " with --ports"
    ),
    "Darwin": (
        "lsof -nP -iTCP:{port} -sTCP:LISTEN   shows which program has it; end that one, or take"
        " another with --ports"
    ),
    "Windows": (
        "netstat -ano | findstr :{port}   shows which process has it; end that one, or take another"
        " with --ports"
    ),
}
PATIENCE = 20
"""Seconds that Docker may take to answer; an engine that is ill never does."""
OS_RELEASE = Path("/etc/os-release")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: its name, what was found, and what to type about it (empty if
    nothing is missing).
    """

    name: str
    says: str
    do: str = ""
    warns: bool = False

    @property
    def stops(self) -> bool:
        """Whether no cluster can be made because of it."""
        return bool(self.do) and not self.warns


def look(profile: str, ports: list[tuple[int, int]], runner: Runner) -> list[Finding]:
    """Look at this machine. Changes nothing.

    Args:
        profile: workshop or full.
        ports: pairs of ports, this machine's first.
        runner: what runs docker, sysctl and git.
    """
    found = [_architecture(), *_engine(profile, runner), _disk(profile), _git(), *_inotify(runner)]
    return found + [_port(port) for port, _ in ports]


def report(found: list[Finding]) -> str:
    """The findings as aligned text."""
    lines = []
    for one in found:
        lines.append(
            f"  {one.name:<22}{'missing' if one.stops else 'warn' if one.do else 'ok':<9}{one.says}"
        )
        if one.do:
            lines.append(f"  {'':<31}→ {one.do}")
    return "\n".join(lines)


def require(profile: str, ports: list[tuple[int, int]], runner: Runner, yes: bool) -> None:
    """Look, offer to mend what can be mended with consent, and refuse to go on while something is
    missing.

    Raises:
        InstallError: naming all that is missing, after the report of it.
    """
    if not shutil.which("docker", path=search_path()):
        install_docker(runner, yes)
    raise_inotify(runner, yes)
    found = look(profile, ports, runner)
    runner.say(report(found))
    missing = [one for one in found if one.stops]
    if missing:
        first = missing[0]
        others = (
            f" Then see to: {', '.join(one.name for one in missing[1:])}."
            if len(missing) > 1
            else ""
        )
        raise InstallError(f"{first.name}: {first.says}; type: {first.do}.{others}")


def _system(texts: dict) -> str:
    return texts.get(platform.system(), texts["Linux"])


def _architecture() -> Finding:
    here = machine()
    if here.endswith("/amd64"):
        return Finding("architecture", here)
    if here.endswith("/arm64"):
        return Finding(
            "architecture",
            here,
            "go on; if a pod stays in ImagePullBackOff, its image is not made for arm64 (upstream"
            " issue 2745)",
            warns=True,
        )
    return Finding(
        "architecture",
        f"{here}; Kubeflow's images are made for amd64, most for arm64",
        "take a machine with one of these processors",
    )


def _engine(profile: str, runner: Runner) -> list[Finding]:
    """All that Docker's engine can tell: on macOS and Windows it has a machine of its own, and that
    one counts.
    """
    if not shutil.which("docker", path=search_path()):
        return [Finding("Docker", "not installed", _system(DOCKER)), *_virtualisation("")]
    asked = runner.run("docker", "info", "--format", "{{json .}}", tolerate=True, within=PATIENCE)
    try:
        told = json.loads(asked.stdout)
    except ValueError:
        told = {}
    told = told if isinstance(told, dict) else {}
    if not told.get("ServerVersion"):
        if "permission denied" in f"{asked.stderr} {told.get('ServerErrors')}".lower():
            return [
                Finding(
                    "Docker",
                    "installed, but you have no permission to use its engine",
                    "sudo usermod -aG docker $USER   then log out and in",
                )
            ]
        return [
            Finding("Docker", "installed, but its engine does not answer", _system(START)),
            *_virtualisation(""),
        ]
    more = (
        ""
        if platform.system() == "Linux"
        else "give it more in Docker Desktop: Settings, Resources"
    )
    cores, memory = told.get("NCPU") or 0, (told.get("MemTotal") or 0) / GB
    smaller = "" if profile == "workshop" else ", or --profile workshop"
    found = [Finding("Docker", f"engine {told['ServerVersion']}")]
    enough = cores >= CORES[profile]
    found.append(
        Finding(
            "cores",
            f"{cores}" if enough else f"{cores}; {profile} needs {CORES[profile]}",
            "" if enough else (more or "use a machine with more") + smaller,
        )
    )
    enough = memory >= MEMORY[profile] * NEARLY
    says = f"{memory:.1f} GB" if enough else f"{memory:.1f} GB; {profile} needs {MEMORY[profile]}"
    found.append(
        Finding("memory", says, "" if enough else (more or "use a machine with more") + smaller)
    )
    if str(told.get("CgroupVersion", "2")) == "2":
        found.append(Finding("cgroup", "version 2"))
    else:
        do = (
            "sudo sed -i 's/^GRUB_CMDLINE_LINUX=\"/&systemd.unified_cgroup_hierarchy=1 /'"
            " /etc/default/grub && sudo update-grub && sudo reboot"
        )
        if "microsoft" in str(told.get("KernelVersion")).lower():
            do = "wsl --update && wsl --shutdown   in PowerShell, then start Docker again"
        found.append(Finding("cgroup", "version 1; Kubernetes is leaving it", do))
    found += _virtualisation(str(told.get("KernelVersion")))
    if told.get("OSType", "linux") != "linux":
        found.append(
            Finding(
                "containers",
                "Docker runs Windows containers",
                "choose Switch to Linux containers in Docker Desktop's menu",
            )
        )
    inspected = runner.run("docker", "image", "inspect", image(), tolerate=True, within=PATIENCE)
    there = inspected.returncode == 0
    build = (
        f"docker build --file install/image/Dockerfile --target image --tag {image()} .   in the"
        " folder of the course"
    )
    found.append(
        Finding(
            "image", image() if there else f"{image()} is not built yet", "" if there else build
        )
    )
    return found


def _virtualisation(kernel: str) -> list[Finding]:
    """Containers need Linux: on Windows and macOS that is a virtual machine."""
    if platform.system() == "Windows":
        if kernel:
            return [Finding("WSL2", kernel)]
        if not shutil.which("wsl"):
            return [
                Finding(
                    "WSL2",
                    "not installed",
                    "wsl --install   in PowerShell as administrator, then restart",
                )
            ]
    elif (
        platform.system() == "Linux"
        and "Microsoft" in platform.release()
        and "WSL2" not in platform.release()
    ):
        return [
            Finding(
                "WSL2", "this Linux runs on WSL 1", "wsl --set-version Ubuntu 2   in PowerShell"
            )
        ]
    return []


def _disk(profile: str) -> Finding:
    place = next(path for path in (data(), *data().parents) if path.exists())
    free = shutil.disk_usage(place).free / GB
    if free >= DISK[profile]:
        return Finding("disk", f"{free:.0f} GB free")
    return Finding(
        "disk",
        f"{free:.0f} GB free; {profile} needs {DISK[profile]}",
        "docker system prune   removes what no container uses, or free some space elsewhere",
    )


def _git() -> Finding:
    found = shutil.which("git")
    return Finding(
        "git",
        "installed" if found else "not installed; it brings Kubeflow's manifests",
        "" if found else _system(GIT),
    )


def _inotify(runner: Runner) -> list[Finding]:
    low = too_low(runner)
    if not low:
        return (
            [Finding("inotify", "limits are high enough")] if platform.system() == "Linux" else []
        )
    says = ", ".join(f"{name.rsplit('.', 1)[1]} is {value}" for name, value in low.items())
    return [
        Finding("inotify", f"{says}; pods would fail with too many open files", f"sudo {_sysctl()}")
    ]


def _sysctl() -> str:
    return "sysctl " + " ".join(f"{name}={value}" for name, value in INOTIFY.items())


def too_low(runner: Runner) -> dict[str, int]:
    """The limits of this Linux that are lower than Kubeflow needs; on macOS and Windows they are
    those of Docker's own machine, which are high.
    """
    if platform.system() != "Linux":
        return {}
    values = {}
    for name in INOTIFY:
        answer = runner.run("sysctl", "-n", name, tolerate=True).stdout.strip()
        if answer.isdigit() and int(answer) < INOTIFY[name]:
            values[name] = int(answer)
    return values


def _port(port: int) -> Finding:
    with socket.socket() as probe:
        if os.name == "posix":  # else a port that was closed a minute ago still counts as taken
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        # below 1024: Docker may, and whether someone listens is seen by knocking
        except PermissionError:
            with socket.socket() as knock:
                knock.settimeout(1)
                if knock.connect_ex(("127.0.0.1", port)):
                    return Finding(f"port {port}", "free")
        except OSError:
            pass
        else:
            return Finding(f"port {port}", "free")
    return Finding(f"port {port}", "taken", _system(PORT).format(port=port))


def as_root(runner: Runner, *command: str) -> None:
    """Run a command as root: with sudo, unless we are root."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    runner.run(*([] if root else ["sudo"]), *command)


def raise_inotify(runner: Runner, yes: bool) -> None:
    """Raise the limits until the next start of the machine, with consent."""
    if runner.dry or not too_low(runner):
        return
    runner.say(f"Needs root, until the next restart of this machine:\n  sudo {_sysctl()}")
    if consent("Type it for you?", yes):
        as_root(runner, *_sysctl().split())


def install_docker(runner: Runner, yes: bool) -> None:
    """Install Docker from Debian's or Ubuntu's own packages, with consent; elsewhere the report
    says what to type.

    Raises:
        InstallError: after the installation, where the user must first log in again.
    """
    if (
        platform.system() != "Linux"
        or not shutil.which("apt-get", path=search_path())
        or runner.dry
    ):
        return
    system = OS_RELEASE.read_text(encoding="utf-8").lower() if OS_RELEASE.is_file() else ""
    if not any(f"id={name}" in system.replace('"', "") for name in ("debian", "ubuntu")):
        return
    user = os.environ.get("USER", "")
    commands = [["apt-get", "update"], ["apt-get", "install", "--yes", "docker.io"]]
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if user and not root:
        commands.append(["usermod", "-aG", "docker", user])
    runner.say(
        "Docker is missing. Needs root, from the packages of your own system:\n"
        + "\n".join(f"  sudo {' '.join(command)}" for command in commands)
    )
    if not consent("Type these for you?", yes):
        return
    for command in commands:
        as_root(runner, *command)
    if not root:
        raise InstallError(
            "Docker is installed; log out and in, so that you belong to its group, then give the"
            " same command again."
        )
