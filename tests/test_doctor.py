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

ENGINE = {"ServerVersion": "28.2.2", "NCPU": 8, "MemTotal": 16 * 10**9}


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
    assert (finding.status, finding.stops) == ("missing", "laptop")
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


def test_docker_and_kubectl_that_are_not_installed_come_with_what_to_type(programs, monkeypatch):
    for system, word in {"Linux": "apt-get", "Darwin": "brew", "Windows": "winget"}.items():
        monkeypatch.setattr(doctor.platform, "system", lambda system=system: system)
        docker = found("Docker")
        assert (docker.status, docker.says, docker.stops) == ("missing", "not installed", "cluster")
        assert word in docker.do
        assert found("kubectl").status == "missing"
    monkeypatch.setattr(doctor.platform, "system", lambda: "Linux")
    monkeypatch.setattr(doctor.platform, "machine", lambda: "aarch64")
    assert "/linux/arm64/kubectl" in found("kubectl").do


def test_an_engine_that_answers_is_ok(programs):
    programs("docker", says(ENGINE))
    assert found("Docker") == Finding("Docker", "ok", "engine 28.2.2 with 8 cores and 16.0 GB")


def test_an_engine_with_too_little_for_a_cluster_says_where_to_give_it_more(programs, monkeypatch):
    monkeypatch.setattr(doctor.platform, "system", lambda: "Darwin")
    programs("docker", says(ENGINE | {"MemTotal": 4 * 10**9}))
    finding = found("Docker")
    assert (finding.status, finding.stops) == ("warn", "cluster")
    assert "4.0 GB" in finding.says
    assert "Settings" in finding.do


def test_an_engine_that_does_not_run_comes_with_how_to_start_it(programs, monkeypatch):
    monkeypatch.setattr(doctor.platform, "system", lambda: "Linux")
    programs("docker", says({"ServerErrors": ["Cannot connect to the Docker daemon"]}) + "; exit 1")
    finding = found("Docker")
    assert finding.status == "missing"
    assert finding.do == "sudo systemctl start docker"


def test_an_engine_that_one_may_not_speak_to_comes_with_the_group(programs):
    programs("docker", "echo 'permission denied while trying to connect' >&2; exit 1")
    assert "usermod" in found("Docker").do


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
    programs("docker", answer)
    programs("kubectl", answer)
    assert found("Docker").status == "missing"
    assert found("cluster").status == "warn"


def test_programs_that_hang_are_ended_with_their_children(programs, monkeypatch, tmp_path):
    assert doctor.PATIENCE < 4
    monkeypatch.setattr(doctor, "PATIENCE", 0.5)
    child = tmp_path / "child"
    for name in ("docker", "kubectl"):
        programs(name, f"/bin/sleep 100 & echo $! > {child}-{name}; wait")
    begin = time.monotonic()
    by_name = {finding.name: finding for finding in doctor.look()}
    assert time.monotonic() - begin < 50
    assert by_name["Docker"].status == "missing"
    assert by_name["cluster"].status == "warn"
    for name in ("docker", "kubectl"):
        pid = int(Path(f"{child}-{name}").read_text())
        assert (
            not doctor.psutil.pid_exists(pid)
            or doctor.psutil.Process(pid).status() == doctor.psutil.STATUS_ZOMBIE
        )


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
    assert (finding.status, finding.stops) == ("missing", "laptop")
    assert finding.says.startswith("2.0 GB, 1.0 GB of it free")


def test_memory_for_a_laptop_but_no_cluster_stops_the_cluster_track(memory):
    memory(5.9, 3)
    assert (found("memory").status, found("memory").stops) == ("warn", "cluster")
    memory(3.9, 3)  # what a machine of 4 GB reports
    assert found("memory").stops == "cluster"


def test_much_memory_of_which_little_is_free_is_a_warning(memory):
    memory(16, 0.5)
    finding = found("memory")
    assert (finding.status, finding.stops) == ("warn", "")
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
    assert (found("disk").status, found("disk").stops) == ("missing", "laptop")


def test_whatever_breaks_becomes_a_finding(monkeypatch):
    def broken():
        raise RuntimeError("/home/alice is odd")

    monkeypatch.setattr(doctor.psutil, "virtual_memory", broken)
    assert found("memory") == Finding("memory", "warn", "could not be looked at (RuntimeError)")


OK = [
    Finding("Python", "ok", "3.12.1"),
    Finding("memory", "ok", "16.0 GB, 9.0 GB of it free"),
    Finding("cluster", "warn", "none answers"),
]


@pytest.mark.parametrize(
    ("findings", "laptop", "cluster"),
    [
        (OK, "yes", "A cluster of the workshop's size fits"),
        (
            [
                *OK,
                Finding("cores", "warn", "2", stops="cluster"),
                Finding("Docker", "missing", "no", stops="cluster"),
            ],
            "yes",
            "this machine: cores, Docker.",
        ),
        (
            [
                Finding("cluster", "ok", "one answers"),
                Finding("Docker", "missing", "no", stops="cluster"),
            ],
            "yes",
            "yes, on the cluster that answers",
        ),
        (
            [*OK, Finding("disk", "missing", "1 GB free", stops="laptop")],
            "not yet. Mend this first: disk.",
            "not yet",
        ),
        ([], "yes", "yes"),
    ],
)
def test_the_report_ends_with_the_tracks(findings, laptop, cluster):
    *_, empty, first, second = ["", *doctor.report(findings).splitlines()]
    assert not empty
    assert first.startswith(f"Laptop track: {laptop}")
    assert second.startswith("Cluster track: ")
    assert cluster in second


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
