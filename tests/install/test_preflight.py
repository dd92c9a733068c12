"""The look at the machine before anything is made: each failure says what to type, and nothing has
been made.
"""

import subprocess
import sys

import pytest
from kubeflow_install import ground, preflight

from tests.install.conftest import ENGINE, ROOT

OLD_CGROUP = "sudo sed -i"


def refused(machine, *words: str) -> str:
    """The one sentence of an `up` that did not begin."""
    done = machine.run("up", "demo", *words)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert machine.clusters == set()
    assert not machine.downloads.asked
    return done.err


@pytest.mark.parametrize(
    ("engine", "says", "do"),
    [
        ({"NCPU": 2}, "cores: 2; workshop needs 4", "use a machine with more"),
        ({"MemTotal": 4 * 10**9}, "memory: 4.0 GB; workshop needs 8", "use a machine with more"),
        ({"CgroupVersion": "1"}, "cgroup: version 1", OLD_CGROUP),
        (
            {"CgroupVersion": "1", "KernelVersion": "5.15.90.1-microsoft-standard-WSL2"},
            "cgroup: version 1",
            "wsl --update",
        ),
        (
            {"OSType": "windows"},
            "containers: Docker runs Windows containers",
            "Switch to Linux containers",
        ),
    ],
)
def test_an_engine_with_too_little_is_refused(machine, engine, says, do):
    machine.tell("docker.json", ENGINE | engine)
    sentence = refused(machine)
    assert says in sentence
    assert do in sentence


def test_the_whole_platform_needs_more_and_the_smaller_profile_is_named(machine):
    machine.tell("docker.json", ENGINE | {"MemTotal": 8 * 10**9})
    sentence = refused(machine, "--profile", "full")
    assert "memory: 8.0 GB; full needs 16" in sentence
    assert "--profile workshop" in sentence


def test_an_engine_that_does_not_run_comes_with_how_to_start_it(machine):
    machine.tell("docker.json", {"ServerErrors": ["Cannot connect to the Docker daemon"]})
    sentence = refused(machine)
    assert "Docker: installed, but its engine does not answer" in sentence
    assert "sudo systemctl start docker" in sentence


def test_an_engine_that_never_answers_is_given_up(machine):
    (machine.stand / "docker-hangs").touch()
    machine.rules = {"PATIENCE": "0.5"}
    assert "Docker: installed, but its engine does not answer" in refused(machine)


def test_an_engine_that_refuses_the_user_comes_with_the_group(machine):
    machine.tell("docker.json", {})
    (machine.stand / "docker.err").write_text(
        "permission denied while trying to connect to the Docker daemon socket"
    )
    assert "sudo usermod -aG docker $USER" in refused(machine)


def test_docker_that_is_not_installed_is_not_installed_without_consent(machine):
    (machine.bin / "docker").unlink()
    sentence = refused(machine)
    assert "Docker: not installed; type: sudo apt-get install docker.io" in sentence
    assert not machine.called("apt-get", "sudo")


def test_the_image_that_is_not_built_comes_with_the_command_that_builds_it(machine):
    (machine.stand / "no-image").touch()
    sentence = refused(machine)
    assert f"kubeflow-workshop:{machine.version} is not built yet" in sentence
    assert "docker build --file install/image/Dockerfile --target image" in sentence


def test_git_that_is_missing_is_named(machine):
    (machine.bin / "git").unlink()
    assert "git: not installed" in refused(machine)


def test_low_inotify_limits_stop_it_without_consent_and_are_raised_with(machine):
    (machine.stand / "sysctl").write_text("128\n")
    sentence = refused(machine)
    assert "max_user_instances is 128" in sentence
    assert (
        "sudo sysctl fs.inotify.max_user_instances=2280 fs.inotify.max_user_watches=1255360"
        in sentence
    )
    machine.forget()
    done = machine.run("up", "demo", "--yes")
    assert done.code == 0
    assert any("sysctl fs.inotify.max_user_instances=2280" in call for call in machine.calls)


def test_several_failures_name_the_first_and_count_the_others(machine):
    machine.tell("docker.json", ENGINE | {"NCPU": 1, "MemTotal": 10**9})
    assert "Then see to: memory" in refused(machine)


def test_the_doctor_says_all_of_it_and_changes_nothing(machine):
    machine.tell("docker.json", ENGINE | {"NCPU": 1})
    done = machine.run("doctor")
    assert done.code == 0
    assert "A cluster of profile workshop: not yet; mend cores" in done.out
    assert machine.kept == []
    machine.tell("docker.json", ENGINE)
    assert machine.run("doctor").out.endswith("A cluster of profile workshop: yes.\n")


@pytest.mark.parametrize(
    ("processor", "stops", "says"),
    [
        ("x86_64", False, "linux/amd64"),
        ("aarch64", False, "linux/arm64"),
        ("riscv64", True, "riscv64"),
    ],
)
def test_the_processor_is_looked_at(processor, stops, says, monkeypatch):
    monkeypatch.setattr(preflight.platform, "system", lambda: "Linux")
    monkeypatch.setattr(preflight.platform, "machine", lambda: processor)
    found = preflight._architecture()
    assert found.stops == stops
    assert says in found.says


def test_too_little_disk_is_refused(monkeypatch):
    monkeypatch.setitem(preflight.DISK, "workshop", 10**6)
    found = preflight._disk("workshop")
    assert found.stops
    assert "docker system prune" in found.do


@pytest.mark.parametrize(
    ("system", "kernel", "wsl", "says"),
    [
        ("Windows", "", None, "not installed"),
        ("Windows", "5.15.90.1-microsoft-standard-WSL2", "wsl", "microsoft-standard-WSL2"),
        ("Darwin", "", None, None),
    ],
)
def test_windows_needs_wsl2(system, kernel, wsl, says, monkeypatch):
    monkeypatch.setattr(preflight.platform, "system", lambda: system)
    monkeypatch.setattr(preflight.shutil, "which", lambda name, **_: wsl)
    found = preflight._virtualisation(kernel)
    assert [says in one.says for one in found] == ([True] if says else [])


@pytest.mark.parametrize(
    "engine", [ENGINE, ENGINE | {"NCPU": 2, "MemTotal": 4 * 10**9}, {"ServerErrors": ["no"]}, None]
)
def test_the_two_doctors_have_one_verdict(machine, engine):
    machine.tell("docker.json", engine)
    if engine is None:
        (machine.bin / "docker").unlink()
    said = [
        subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            env=machine.environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()[-1]
        for words in (
            ["install/cluster.py", "doctor"],
            ["-c", "from kubeflow_workshop import doctor; print(doctor.report())"],
        )
    ]
    verdicts = [line.partition(": ")[2] for line in said]
    assert verdicts[0] == verdicts[1]
    # what this very machine lacks in disk is for both to say
    fits = verdicts[0] in ("yes.", "not yet; mend disk.")
    assert fits == (engine == ENGINE)


def test_the_kubectl_that_the_doctor_names_is_the_pinned_one():
    from kubeflow_workshop import doctor

    assert (
        f"release/{ground.versions()['kubectl']['version']}/bin"
        in doctor.INSTALL["kubectl"]["Linux"]
    )
