"""The doctor, on stand-in programs, a taken port and machines that are too small."""

import json
import os
import platform
import socket
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from kubeflow_workshop import doctor
from kubeflow_workshop.doctor import Finding
from kubeflow_workshop.files import course_file

pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="the stand-in programs are shell scripts"
)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A PATH with nothing on it but the stand-ins that `add(name, script)` writes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def add(name: str, script: str) -> None:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return add


@pytest.fixture
def memory(monkeypatch, tmp_path):
    """`set_to(total, available)` in GB, outside any container."""
    monkeypatch.setattr(doctor, "CGROUP", tmp_path / "no-cgroup")

    def set_to(total: float, available: float) -> None:
        monkeypatch.setattr(
            doctor.psutil,
            "virtual_memory",
            lambda: SimpleNamespace(total=total * 1e9, available=available * 1e9),
        )

    return set_to


def found(name: str) -> Finding:
    return next(finding for finding in doctor.look() if finding.name == name)


def says(value: object) -> str:
    return f"echo '{json.dumps(value)}'"


def test_the_oldest_and_newest_python_are_those_of_pyproject():
    wanted = tomllib.loads(course_file("pyproject.toml").read_text())["project"]["requires-python"]
    assert (
        wanted
        == f">={'.'.join(map(str, doctor.OLDEST))},<{doctor.NEWEST[0]}.{doctor.NEWEST[1] + 1}"
    )


def test_this_python_is_named():
    assert platform.python_version() in found("Python").says


@pytest.mark.parametrize("version", [(3, 10, 9), (3, 14, 0)])
def test_another_python_stops_both_tracks_and_the_report_says_what_to_type(version, monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", version)
    finding = found("Python")
    assert (finding.status, finding.stops) == ("missing", True)
    assert "3.11 to 3.13" in finding.says
    assert "python" in finding.do.lower()


def test_a_package_at_another_version_than_the_lock_is_named(monkeypatch, tmp_path):
    (tmp_path / "requirements.txt").write_text("numpy==2.4.6\npandas==2.3.3\n")
    monkeypatch.setattr(doctor, "course_file", lambda path: tmp_path / path)
    at = doctor.importlib.metadata.version
    monkeypatch.setattr(
        doctor.importlib.metadata, "version", lambda name: "0.0.1" if name == "numpy" else at(name)
    )
    finding = found("packages")
    assert finding.status == "warn"
    assert "numpy" in finding.says
    assert finding.do == "pip install -r requirements.txt"


def test_without_a_lock_nothing_is_said_of_packages(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "course_file", lambda path: tmp_path / path)
    assert "packages" not in [finding.name for finding in doctor.look()]


def test_kubectl_that_is_not_installed_comes_with_what_to_type(programs, monkeypatch):
    for system, word in {"Linux": "dl.k8s.io", "Darwin": "brew", "Windows": "winget"}.items():
        monkeypatch.setattr(doctor.platform, "system", lambda system=system: system)
        assert found("kubectl").status == "warn"
        assert word in found("kubectl").do
    monkeypatch.setattr(doctor.platform, "system", lambda: "Linux")
    monkeypatch.setattr(doctor.platform, "machine", lambda: "aarch64")
    assert "/linux/arm64/kubectl" in found("kubectl").do


@pytest.fixture
def installer(tmp_path, monkeypatch):
    """A checkout whose install/cluster.py is the script that `write(script)` leaves there."""
    monkeypatch.setattr(doctor, "course_file", lambda path: tmp_path / path)

    def write(script: str) -> None:
        (tmp_path / "install").mkdir()
        (tmp_path / "install/cluster.py").write_text(script)

    return write


def test_the_verdict_on_a_cluster_is_the_installers(installer):
    installer(
        "import sys; assert sys.argv[1:3] == ['doctor', '--patience'];"
        "print('  cores  missing  1\\n\\nA cluster of profile workshop: not yet; mend cores, Docker.')"
    )
    finding = found("cluster here")
    assert (finding.status, finding.says) == ("warn", "not yet; mend cores, Docker")
    assert finding.do.startswith("install/linux/cluster.sh doctor")
    assert not finding.stops
    assert doctor.report().endswith("\nCluster track: not yet; mend cores, Docker.")


def test_a_machine_that_can_carry_a_cluster_has_nothing_to_mend(installer):
    installer("print('\\nA cluster of profile workshop: yes.')")
    assert found("cluster here") == Finding("cluster here", "ok", "yes")


@pytest.mark.parametrize("script", ["", "raise SystemExit(3)", "print('A cluster of')"])
def test_an_installer_that_gives_no_verdict_is_named_with_how_to_ask_it(installer, script):
    installer(script)
    assert found("cluster here").says == "not judged, because the installer did not answer"
    assert found("cluster here").do


def test_without_the_checkout_nothing_is_judged(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "course_file", lambda path: tmp_path / path)
    assert found("cluster here").says == "not judged, because the installer is in the checkout"


def test_a_cluster_that_answers_is_named_by_its_version(programs):
    programs(
        "kubectl",
        says(
            {"clientVersion": {"gitVersion": "v1.34.1"}, "serverVersion": {"gitVersion": "v1.34.0"}}
        ),
    )
    assert found("kubectl") == Finding("kubectl", "ok", "v1.34.1")
    assert found("cluster").status == "ok"
    assert "v1.34.0" in found("cluster").says


def test_kubectl_without_a_cluster_is_ok_and_the_cluster_is_not(programs):
    programs(
        "kubectl", says({"clientVersion": {"gitVersion": "v1.34.1"}}) + "; echo refused >&2; exit 1"
    )
    assert found("kubectl").status == "ok"
    assert found("cluster").status == "warn"


@pytest.mark.parametrize(
    "answer",
    ["echo nonsense", "echo '[1]'", "echo null", "exit 3", r"printf '\377\376'", "kill -9 $$"],
)
def test_a_program_that_answers_nonsense_becomes_a_finding(programs, answer):
    programs("kubectl", answer)
    assert found("cluster").status == "warn"


def runs(pid: int) -> bool:
    try:
        return doctor.psutil.Process(pid).status() != doctor.psutil.STATUS_ZOMBIE
    except doctor.psutil.NoSuchProcess:
        return False


def test_programs_that_hang_are_ended_with_their_children(programs, monkeypatch, tmp_path):
    assert doctor.PATIENCE < 4
    monkeypatch.setattr(doctor, "PATIENCE", 0.5)
    child = tmp_path / "child"
    for name in ("docker", "kubectl"):
        programs(name, f"/bin/sleep 100 & echo $! > {child}-{name}; wait")
    begin = time.monotonic()
    by_name = {finding.name: finding for finding in doctor.look()}
    assert time.monotonic() - begin < 50
    assert by_name["cluster here"].says.startswith("not yet; mend Docker")
    assert by_name["cluster"].status == "warn"
    for name in ("docker", "kubectl"):
        pid = int(Path(f"{child}-{name}").read_text())
        limit = time.monotonic() + 10  # a signal takes a moment to arrive on a busy machine
        while runs(pid) and time.monotonic() < limit:
            time.sleep(0.01)
        assert not runs(pid)


@pytest.mark.parametrize("listens", [True, False])
def test_a_taken_port_is_a_warning_that_says_what_to_do(listens, monkeypatch):
    with socket.socket() as mine:
        mine.bind(("127.0.0.1", 0))
        if listens:
            mine.listen()
        port = mine.getsockname()[1]
        monkeypatch.setattr(doctor, "PORTS", {port: "the model server"})
        finding = found(f"port {port}")
        assert finding.status == "warn"
        assert str(port) in finding.do
        assert not finding.stops
    assert found(f"port {port}").status == "ok"


def test_too_little_memory_stops_the_laptop_track(memory):
    memory(2, 1)
    finding = found("memory")
    assert (finding.status, finding.stops) == ("missing", True)
    assert finding.says.startswith("2.0 GB, 1.0 GB of it free")


def test_the_memory_that_a_machine_of_4_gb_reports_is_enough(memory):
    memory(3.9, 3)
    assert (found("memory").status, found("memory").stops) == ("ok", False)


def test_much_memory_of_which_little_is_free_is_a_warning(memory):
    memory(16, 0.5)
    finding = found("memory")
    assert (finding.status, finding.stops) == ("warn", False)
    assert "close" in finding.do


def test_a_container_has_the_memory_that_it_may_take(memory, tmp_path, monkeypatch):
    memory(64, 50)
    monkeypatch.setattr(doctor, "CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("2000000000\n")
    (tmp_path / "memory.current").write_text("500000000\n")
    assert found("memory").says.startswith("2.0 GB, 1.5 GB of it free")
    (tmp_path / "memory.max").write_text("max\n")
    assert found("memory").says.startswith("64.0 GB")


def test_a_full_disk_stops_the_laptop_track(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=1e9))
    assert (found("disk").status, found("disk").stops) == ("missing", True)


def test_whatever_breaks_becomes_a_finding(monkeypatch):
    def broken():
        raise RuntimeError("/home/alice is odd")

    monkeypatch.setattr(doctor.psutil, "virtual_memory", broken)
    assert found("memory") == Finding("memory", "warn", "could not be checked (RuntimeError)")


OK = [
    Finding("Python", "ok", "3.12.1"),
    Finding("memory", "ok", "16.0 GB, 9.0 GB of it free"),
    Finding("cluster", "warn", "none answers"),
    Finding("cluster here", "ok", "yes"),
]
NO_CLUSTER = [*OK[:3], Finding("cluster here", "warn", "not yet; mend cores, Docker", "x")]


@pytest.mark.parametrize(
    ("findings", "laptop", "cluster"),
    [
        (OK, "yes", "yes."),
        (NO_CLUSTER, "yes", "not yet; mend cores, Docker."),
        (
            [*NO_CLUSTER[:2], Finding("cluster", "ok", "one answers"), NO_CLUSTER[3]],
            "yes",
            (
                "yes, on the cluster that answers, if Kubeflow runs there. One on this machine: not"
                " yet; mend cores, Docker."
            ),
        ),
        (
            [*OK, Finding("disk", "missing", "1 GB free", stops=True)],
            "not yet. Fix this first: disk.",
            "yes.",
        ),
        ([], "yes", "not judged."),
    ],
)
def test_the_report_ends_with_the_tracks(findings, laptop, cluster):
    *_, empty, first, second = ["", *doctor.report(findings).splitlines()]
    assert not empty
    assert first.startswith(f"Laptop track: {laptop}")
    assert second == f"Cluster track: {cluster}"


def test_the_report_is_aligned_and_puts_what_to_do_below():
    findings = [Finding("Python", "ok", "3.12.1"), Finding("port 8080", "warn", "taken", "end it")]
    assert doctor.report(findings).splitlines()[:3] == [
        "Python     ok       3.12.1",
        "port 8080  warn     taken",
        "                    → end it",
    ]


def test_no_host_user_or_path_gets_into_the_report(programs):
    programs(
        "docker",
        says({"Name": "secret-host", "DockerRootDir": "/home/alice/docker"})
        + "; echo 'unix:///home/alice/docker.sock' >&2; exit 1",
    )
    programs(
        "kubectl",
        says({"clientVersion": {"gitVersion": "v1.34.1"}})
        + "; echo 'https://alice@secret-host:6443 refused' >&2; exit 1",
    )
    report = doctor.report()
    for word in ("alice", "secret-host", str(Path.home()), str(course_file(".").resolve())):
        assert word not in report
