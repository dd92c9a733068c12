"""`up`, `list`, `connect` and `down`, the real program with stand-ins for kind, kubectl, kustomize,
docker and multikf.
"""

import json
import re
import signal
import socket
import subprocess
import time

import pytest

LAYERS = [
    "10-cert-manager",
    "20-katib",
    "30-pipelines-definitions",
    "40-pipelines",
    "50-kserve",
    "course",
]


def test_up_makes_the_cluster_loads_the_image_and_applies_each_layer_in_order(machine):
    done = machine.run("up", "demo", "--ports", "18080:80,18443:443")
    assert (done.code, done.err) == (0, "")
    assert machine.clusters == {"kubeflow-workshop-demo"}
    (create,) = machine.called("kind create")
    assert (
        create.split(" --wait")[0] == "kind create cluster --name kubeflow-workshop-demo --config"
        " DATA/instances/demo/kind.yaml --kubeconfig DATA/instances/demo/kubeconfig"
    )
    assert machine.called("kind load") == [
        f"kind load docker-image kubeflow-workshop:{machine.version} --name kubeflow-workshop-demo"
    ]
    assert [call.rsplit("/", 1)[1] for call in machine.called("kustomize build")] == LAYERS
    applied = machine.called(
        "kubectl --kubeconfig DATA/instances/demo/kubeconfig apply --server-side --force-conflicts"
        " -f -"
    )
    assert len(applied) == len(LAYERS)
    config = json.loads((machine.data / "instances/demo/kind.yaml").read_text())
    (node,) = config["nodes"]
    assert node["image"] == machine.pins["node"]["image"]
    assert [
        (one["hostPort"], one["containerPort"], one["listenAddress"])
        for one in node["extraPortMappings"]
    ] == [
        (18080, 80, "127.0.0.1"),
        (18443, 443, "127.0.0.1"),
    ]
    assert "ready" in json.loads((machine.data / "instances/demo/state.json").read_text())["done"]
    assert "$ " in (machine.data / "instances/demo/up.log").read_text()
    row = machine.run("list").out.splitlines()[1].split()
    assert row == ["demo", "kind", "workshop", "up", "18080:80,18443:443"]


def test_what_is_waited_for_and_how_long_it_usually_takes_is_said(machine):
    done = machine.run("up", "demo")
    assert len(re.findall(r"^\[\d+/11\] .+ \(usually .+\)$", done.out, re.MULTILINE)) == 11


def test_a_second_up_makes_nothing(machine):
    machine.run("up", "demo")
    machine.forget()
    again = machine.run("up", "demo")
    assert again.code == 0
    assert machine.calls == ["kind get clusters"]
    assert again.out.count("done before") == 11


def test_a_cluster_that_someone_else_removed_is_made_again(machine):
    machine.run("up", "demo")
    (machine.stand / "clusters").unlink()
    assert machine.run("up", "demo").code == 0
    assert machine.clusters == {"kubeflow-workshop-demo"}
    assert len(machine.called("kind create")) == 2


def test_a_cluster_of_the_same_name_that_up_did_not_make_is_left_alone(machine):
    (machine.stand / "clusters").write_text("kubeflow-workshop-demo\n")
    done = machine.run("up", "demo")
    assert done.code == 2
    assert "`up` did not make" in done.err
    assert not machine.called("kind delete", "kind create")


def test_a_kind_of_object_that_is_not_known_yet_is_tried_again(machine):
    machine.rules = {"FAIL_ONCE_AT": " apply "}
    done = machine.run("up", "demo")
    assert done.code == 0
    assert 'no matches for kind "Certificate"' in done.out
    assert (
        len(machine.called("kubectl --kubeconfig DATA/instances/demo/kubeconfig apply"))
        == len(LAYERS) + 1
    )


def test_what_is_not_ready_is_waited_for_by_name(machine):
    waiting = {
        "kind": "Deployment",
        "metadata": {"namespace": "kubeflow", "name": "ml-pipeline"},
        "status": {},
    }
    foreign = {
        "kind": "Job",
        "metadata": {"namespace": "kubeflow", "name": "someone's"},
        "status": {},
    }
    machine.tell("objects.json", {"items": [waiting, foreign]})
    running = machine.start("up", "demo")
    for line in running.stdout:
        if "waiting for" in line:
            break
    assert line.strip() == "0 of 1 ready; waiting for kubeflow/ml-pipeline"
    waiting["status"] = {"conditions": [{"type": "Available", "status": "True"}]}
    machine.tell("objects.new", {"items": [waiting, foreign]})
    (machine.stand / "objects.new").rename(machine.stand / "objects.json")
    running.communicate(timeout=30)
    assert running.returncode == 0


STEPS = [
    "kind get clusters",
    "kind create",
    "kind load",
    *(
        f"kustomize build DATA/distribution/COMMIT/kubeflow-workshop/workshop/{layer}"
        for layer in LAYERS[:-1]
    ),
    "profiles/course",
    " apply ",
    "get deployments",
]


@pytest.mark.parametrize("step", STEPS)
def test_after_a_kill_in_any_step_a_second_up_goes_on_and_ends_well(machine, step):
    commit = machine.pins["distribution"]["commit"]
    machine.rules = {"KILL_AT": step.replace("DATA", str(machine.data)).replace("COMMIT", commit)}
    killed = machine.run("up", "demo")
    assert killed.code == -signal.SIGKILL
    done = json.loads((machine.data / "instances/demo/state.json").read_text())["done"]
    machine.rules = {}
    machine.forget()
    again = machine.run("up", "demo")
    assert (again.code, again.err) == (0, "")
    assert again.out.count("done before") == len(done)
    assert machine.clusters == {"kubeflow-workshop-demo"}
    assert bool(machine.called("kind load")) == ("image" not in done)
    assert len(machine.called("kustomize build")) == len(
        [layer for layer in LAYERS if f"apply {layer}" not in done]
    )


def test_a_cluster_that_was_half_made_at_the_kill_is_removed_before_it_is_made_again(machine):
    machine.rules = {"KILL_AT": "kind create"}
    machine.run("up", "demo", "--ports", "18080:80")
    machine.rules = {}
    machine.forget()
    machine.run("up", "demo")
    kind = [call.split(" --")[0] for call in machine.called("kind")]
    assert kind[:4] == [
        "kind get clusters",
        "kind delete cluster",
        "kind create cluster",
        "kind load docker-image kubeflow-workshop:" + machine.version,
    ]


def test_after_a_kill_in_the_middle_of_a_download_a_second_up_ends_well(machine, kill):
    running = []
    machine.downloads.on_request["/kubectl"] = lambda: kill(running[0])
    running.append(machine.start("up", "demo"))
    running[0].communicate(timeout=30)
    assert running[0].returncode == -signal.SIGKILL
    machine.downloads.on_request.clear()
    assert machine.run("up", "demo").code == 0
    assert machine.downloads.asked.count("/kind") == 1


def test_after_a_kill_while_the_manifests_come_a_second_up_ends_well(machine):
    (machine.bin / "git").rename(machine.bin / "real-git")
    (machine.bin / "git").write_text(
        '#!/bin/sh\n[ "$3" != checkout ] && [ "$7" != checkout ] || kill -9 $PPID\nexec real-git'
        ' "$@"\n'
    )
    (machine.bin / "git").chmod(0o755)
    assert machine.run("up", "demo").code == -signal.SIGKILL
    (machine.bin / "real-git").replace(machine.bin / "git")
    assert machine.run("up", "demo").code == 0
    assert not list(machine.data.rglob("*.part"))


def test_a_failure_says_what_failed_and_where_the_log_is_and_the_next_up_goes_on(machine):
    machine.rules = {"FAIL_AT": "kind load"}
    failed = machine.run("up", "demo")
    assert failed.code == 2
    assert len(failed.err.splitlines()) == 1
    assert "kind failed: stand-in: asked to fail" in failed.err
    assert str(machine.data / "instances/demo/up.log") in failed.err
    machine.rules = {}
    machine.forget()
    assert machine.run("up", "demo").code == 0
    assert not machine.called("kind create")


def test_instances_do_not_share_names_kubeconfigs_or_ports(machine):
    machine.run("up", "one", "--ports", "18080:80")
    taken = machine.run("up", "two", "--ports", "18080:80")
    assert taken.code == 2
    assert 'port 18080 belongs to the cluster "one"' in taken.err
    assert machine.run("up", "two", "--ports", "18081:80").code == 0
    assert machine.clusters == {"kubeflow-workshop-one", "kubeflow-workshop-two"}
    assert machine.run("down", "one").code == 0
    assert machine.clusters == {"kubeflow-workshop-two"}
    assert (machine.data / "instances/two/kubeconfig").is_file()
    assert (machine.data / "tools").is_dir()


def test_an_instance_keeps_what_it_was_begun_with(machine):
    machine.run("up", "demo")
    other = machine.run("up", "demo", "--profile", "full")
    assert other.code == 2
    assert "begun with another --profile" in other.err


def test_down_removes_all_that_up_made_and_nothing_else(machine):
    (machine.stand / "clusters").write_text("someone-elses\n")
    (machine.home / "mine.txt").write_text("mine")
    before = machine.kept
    machine.run("up", "demo")
    done = machine.run("down", "demo")
    assert (done.code, done.err) == (0, "")
    assert machine.clusters == {"someone-elses"}
    assert [path for path in machine.kept if path not in (".local", ".local/share")] == before
    assert machine.called("docker image rm") == [f"docker image rm {machine.pins['node']['image']}"]


def test_down_leaves_a_node_image_that_was_there_before(machine):
    (machine.stand / "node-image").touch()
    machine.run("up", "demo")
    machine.run("down", "demo")
    assert not machine.called("docker image rm")


@pytest.mark.parametrize("step", ["kind create", "kind load"])
def test_down_also_removes_what_was_not_finished(machine, step):
    machine.rules = {"KILL_AT": step}
    machine.run("up", "demo")
    machine.rules = {}
    assert machine.run("down", "demo").code == 0
    assert machine.clusters == set()
    assert not machine.data.exists()


def test_down_of_what_does_not_exist_says_what_does(machine):
    nothing = machine.run("down", "demo")
    assert (nothing.code, nothing.out) == (2, "")
    assert nothing.err == 'error: there is no cluster "demo"; make it with: cluster.py up demo.\n'
    machine.run("up", "one")
    assert "those that `up` has made are one" in machine.run("down", "demo").err


def test_a_dry_run_prints_each_command_and_runs_none(machine):
    done = machine.run("up", "demo", "--dry-run", "--profile", "full", "--ports", "18080:80")
    assert done.code == 0
    assert machine.calls == []
    assert machine.kept == []
    printed = done.out.replace("'", "")  # a folder with a space stands in quotes
    for words in (
        "kind create cluster",
        "kind load docker-image",
        "kustomize build",
        "apply --server-side",
        "git -C",
        "download http",
    ):
        assert words in printed


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("up", "Demo"), '"Demo" cannot name a cluster'),
        (("up", "a" * 21), "cannot name a cluster"),
        (("up", "demo", "--ports", "80"), '"80" is not a pair of ports'),
        (("up", "demo", "--ports", "80:80,80:81"), "twice"),
        (("up", "demo", "--profile", "tiny"), "invalid choice: 'tiny'"),
        (("connect", "demo"), "there is no cluster"),
        ((), "COMMAND"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(machine, words, says):
    done = machine.run(*words)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert says in done.err


def test_connect_sets_the_kubeconfig_prints_the_addresses_and_closes_the_way_on_ctrl_c(machine):
    machine.run("up", "demo")
    machine.forget()
    running = machine.start("connect", "demo", "--no-browser")
    lines = []
    for line in running.stdout:
        lines.append(line.strip())
        if "Ctrl-C" in line:
            break
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert (running.returncode, err) == (0, "")
    assert (
        lines[0] == "kubectl speaks to demo: context kind-kubeflow-workshop-demo, namespace"
        " kubeflow-workshop"
    )
    assert re.fullmatch(r"http://127\.0\.0\.1:8\d\d\d/ +ml-pipeline-ui", lines[1])
    assert re.fullmatch(r"http://127\.0\.0\.1:8\d\d\d/katib/ +katib-ui", lines[2])
    assert machine.called("kind export") == ["kind export kubeconfig --name kubeflow-workshop-demo"]
    assert machine.called("kubectl config") == [
        "kubectl config set-context kind-kubeflow-workshop-demo --namespace=kubeflow-workshop"
    ]
    assert (
        subprocess.run(
            ["pgrep", "-f", str(machine.bin / "sleep")], capture_output=True, check=False
        ).stdout
        == b""
    )


def test_the_way_in_stays_open_for_more_connections_than_a_pipe_holds_lines(machine):
    machine.run("up", "demo")
    machine.rules = {"CONNECTIONS": "5000"}  # 145 kB of lines
    running = machine.start("connect", "demo", "--no-browser")
    deadline = time.monotonic() + 60
    try:
        while len(list(machine.stand.glob("handled-*"))) < 2:
            assert running.poll() is None
            assert time.monotonic() < deadline, "kubectl waits for someone to read what it says"
            time.sleep(0.05)
    finally:
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=30)
    assert err == ""


def test_the_full_platform_gets_a_password_that_is_shown_once_and_kept_nowhere(machine):
    done = machine.run("up", "demo", "--profile", "full")
    assert (done.code, done.err) == (0, "")
    (password,) = re.findall(r"shown this once and kept nowhere: (\S+)", done.out)
    assert len(password) == 20
    for file in [*machine.data.rglob("*"), machine.stand / "calls", machine.stand / "applied"]:
        assert file.is_dir() or password not in file.read_text(errors="replace"), file
    (hashed,) = re.findall(r"\$2b\$12\$[./A-Za-z0-9]{53}", (machine.stand / "applied").read_text())
    checked = subprocess.run(
        ["perl", "-e", "print crypt($ARGV[0], $ARGV[1])", password, hashed],
        capture_output=True,
        text=True,
        check=True,
    )
    assert checked.stdout == hashed
    assert hashed not in (machine.data / "instances/demo/up.log").read_text()
    assert password not in machine.run("up", "demo").out


def test_two_clusters_get_two_passwords(machine):
    shown = [
        re.findall(r"nowhere: (\S+)", machine.run("up", name, "--profile", "full").out)[0]
        for name in ("one", "two")
    ]
    assert shown[0] != shown[1]


def test_multikf_makes_the_same_by_its_own_flags(machine):
    done = machine.run("up", "demo", "--tool", "multikf", "--ports", "18080:80")
    assert (done.code, done.err) == (0, "")
    (add,) = machine.called("multikf add")
    (password,) = re.findall(r"nowhere: (\S+)", done.out)
    assert (
        add == "multikf add demo --provisioner docker --cpus 4 --memoryg 12 --with_ip 127.0.0.1"
        " --with_kubeflow --kubeflow_version v1.9.1 --export_ports 18080:80 --with_password"
        f" {password}"
    )
    assert password not in (machine.data / "instances/demo/up.log").read_text()
    assert "anyone who may list the processes of this machine can read it" in done.out
    assert [call.rsplit("/", 1)[1] for call in machine.called("kustomize build")] == ["course"]
    assert machine.run("down", "demo").code == 0
    assert machine.called("multikf delete") == ["multikf delete demo"]
    assert machine.clusters == set()


def test_a_failure_of_multikf_tells_nobody_its_password(machine):
    machine.rules = {"FAIL_AT": "multikf add"}
    done = machine.run("up", "demo", "--tool", "multikf")
    assert done.code == 2
    assert "multikf failed: it ended with 1; the log is" in done.err
    (add,) = machine.called("multikf add")
    password = add.split()[-1]
    for text in (done.out, done.err, (machine.data / "instances/demo/up.log").read_text()):
        assert password not in text


def test_multikf_without_a_confirmed_checksum_is_refused_before_anything_is_made(machine):
    for file in machine.pins["multikf"]["files"].values():
        del file["sha256"]
    machine.pin()
    done = machine.run("up", "demo", "--tool", "multikf")
    assert done.code == 2
    assert "has no confirmed checksum" in done.err
    assert machine.pins["multikf"]["page"] in done.err
    assert machine.kept == []


def test_a_port_that_a_program_has_is_refused_before_anything_is_made(machine):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = machine.run("up", "demo", "--ports", f"{port}:80")
    assert done.code == 2
    assert f"port {port}: taken; type: ss -ltnp" in done.err
    assert not machine.called("kind")
    assert not machine.downloads.asked
