"""Katib's door to a cluster, against a stand-in for the API server."""

import json
import socket
import subprocess
import sys
import time

import pytest

from kubeflow_workshop import kube
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.katib import cluster as door
from kubeflow_workshop.katib.cluster import Cluster
from tests.katib.stand_in import StandIn, cut, end, gone, gone_at_once, kubeconfig, serving

DOCUMENT = {
    "apiVersion": "kubeflow.org/v1beta1",
    "kind": "Experiment",
    "metadata": {"name": "window", "annotations": {"note": "größer ≠ besser"}},
    "spec": {
        "objective": {"type": "minimize", "goal": 0.1, "objectiveMetricName": "Validation-MAE"},
        "parallelTrialCount": 2,
        "maxTrialCount": 12,
        "aFieldOfTomorrow": {"nested": [1, 2.5, None, True, "1e3"]},
        "trialTemplate": {
            "trialSpec": {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "spec": {"template": {"spec": {"unknown": {}}}},
            }
        },
    },
}
WHERE = 'namespace "kubeflow-workshop" of the cluster of context "kind-workshop"'


@pytest.fixture(autouse=True)
def at_home(monkeypatch, tmp_path):
    """No cluster of the machine that runs the tests, and no long pauses."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr(
        "kubernetes.config.incluster_config.SERVICE_TOKEN_FILENAME", str(tmp_path / "account/token")
    )
    monkeypatch.setattr(
        "kubernetes.config.incluster_config.SERVICE_CERT_FILENAME", str(tmp_path / "account/ca.crt")
    )
    monkeypatch.setattr(kube, "PAUSE", 0.01)


@pytest.fixture
def api(monkeypatch, tmp_path):
    with serving(StandIn()) as api:
        monkeypatch.setenv(
            "KUBECONFIG", str(kubeconfig(tmp_path / "config", f"http://127.0.0.1:{api.port}"))
        )
        yield api


def experiment(*conditions, name="window", **status):
    return DOCUMENT | {
        "metadata": {"name": name},
        "status": (
            {
                "conditions": [
                    {"type": kind, "status": "True", "reason": f"Experiment{kind}"}
                    for kind in conditions
                ]
            }
            | status
        ),
    }


def trial(name, *conditions, collector="StdOut", of="window", **metadata):
    return {
        "metadata": {"name": name, "labels": {"katib.kubeflow.org/experiment": of}} | metadata,
        "spec": {
            "primaryContainerName": "training",
            "metricsCollector": {"collector": {"kind": collector}},
        },
        "status": {"conditions": [{"type": kind, "status": "True"} for kind in conditions]},
    }


def pod(name, job, *containers, label="batch.kubernetes.io/job-name", **metadata):
    return {
        "metadata": {"name": name, "labels": {label: job}} | metadata,
        "spec": {"containers": [{"name": container} for container in containers]},
    }


def sentence(do, *arguments, **options):
    """The one sentence of a refusal."""
    with pytest.raises(CourseError) as caught:
        do(*arguments, **options)
    said = str(caught.value)
    assert "\n" not in said
    assert said.endswith(".")
    assert "not-a-secret" not in said
    return said


# The object travels


def test_the_document_is_sent_as_it_is(api):
    assert Cluster().create(DOCUMENT) == "window"
    method, path, _, headers, body = api.asked[-1]
    assert (method, path) == (
        "POST",
        "/apis/kubeflow.org/v1beta1/namespaces/kubeflow-workshop/experiments",
    )
    assert json.dumps(body) == json.dumps(DOCUMENT)
    assert headers["Authorization"] == "Bearer not-a-secret"


def test_what_was_created_reads_back_with_its_unknown_fields(api):
    cluster = Cluster()
    cluster.create(DOCUMENT)
    assert cluster.get("window")["spec"] == DOCUMENT["spec"]


def test_the_cluster_chooses_the_rest_of_a_generated_name(api):
    document = DOCUMENT | {"metadata": {"generateName": "window-"}}
    assert Cluster().create(document) == "window-x7k2p"
    assert api.asked[-1][-1]["metadata"] == {"generateName": "window-"}


def test_an_experiment_is_deleted(api):
    cluster = Cluster()
    cluster.create(DOCUMENT)
    cluster.delete("window")
    assert sentence(cluster.get, "window").startswith('there is no Experiment "window"')


@pytest.mark.parametrize("lingers", ["experiments", "trials"])
def test_a_deletion_is_over_when_the_experiment_and_its_trials_are_gone(api, lingers):
    """The API server answers at once; finalizers and the garbage collection take their time."""
    cluster = Cluster()
    cluster.create(DOCUMENT)
    api.put("trials", trial("window-1"))
    api.put("trials", trial("other-1", of="other"))
    api.lingering[lingers] = 3
    cluster.delete("window")
    assert not api.lingering[lingers]
    assert cluster.trials("window") == []
    assert [one["metadata"]["name"] for one in cluster.trials("other")] == ["other-1"]
    assert cluster.create(DOCUMENT) == "window"


@pytest.mark.parametrize("namespace", ["kubeflow-workshop", "team-c"])
def test_replacing_deletes_in_the_documents_namespace_and_waits(api, namespace):
    api.namespaces.add("team-c")
    document = DOCUMENT | {"metadata": {"name": "window", "namespace": namespace}}
    assert Cluster().create(document, replace=True) == "window"  # there was none
    api.put("trials", trial("window-1", namespace=namespace))
    api.lingering |= {"experiments": 2, "trials": 2}
    cluster = Cluster()
    assert cluster.create(document, replace=True) == "window"
    assert cluster.trials("window") == []
    assert int(cluster.get("window")["metadata"]["resourceVersion"]) > 1002


def test_replacing_does_not_hide_what_forbids_the_deletion(api):
    cluster = Cluster()
    cluster.create(DOCUMENT)
    api.refuse("DELETE", "experiments", 403, 'User "me" cannot delete resource "experiments"')
    assert sentence(cluster.create, DOCUMENT, replace=True).startswith(
        f"you may not delete experiments.kubeflow.org in {WHERE}; "
    )
    assert [method for method, *_ in api.asked].count("POST") == 1


def test_a_deletion_that_takes_too_long_is_told(api, monkeypatch):
    monkeypatch.setattr(door, "DELETED_WITHIN", 0.1)
    cluster = Cluster()
    cluster.create(DOCUMENT)
    api.lingering["experiments"] = 1e9
    assert (
        sentence(cluster.delete, "window")
        == f'Experiment "window" in {WHERE} is still being deleted after 0.1 seconds (still there:'
        " window), and that goes on; try again later or, if it stays so, see `kubectl describe"
        " experiments.kubeflow.org window -n kubeflow-workshop`."
    )
    assert "is still being deleted; create it again when it is gone" in sentence(
        cluster.create, DOCUMENT
    )


# Where it lives


def test_the_namespace_is_the_arguments_then_the_contexts_then_the_courses(
    api, monkeypatch, tmp_path
):
    assert Cluster().namespace == "kubeflow-workshop"
    monkeypatch.setenv(
        "KUBECONFIG", str(kubeconfig(tmp_path / "other", "http://127.0.0.1:1", namespace="team-a"))
    )
    assert Cluster().namespace == "team-a"
    assert Cluster(namespace="team-b").namespace == "team-b"


def test_a_document_that_names_its_namespace_lives_there_for_every_method(api):
    api.namespaces.add("team-c")
    cluster = Cluster()
    name = cluster.create(DOCUMENT | {"metadata": {"name": "window", "namespace": "team-c"}})
    api.put("trials", trial("window-1", "Succeeded", namespace="team-c"))
    api.put("pods", pod("window-1-abc", "window-1", "training", namespace="team-c"))
    api.log("window-1-abc", "training", "there")
    assert cluster.get(name)["metadata"]["namespace"] == "team-c"
    assert [one["metadata"]["name"] for one in cluster.trials(name)] == ["window-1"]
    assert cluster.logs("window-1") == "there"
    cluster.delete(name)
    assert all("/namespaces/team-c/" in path for _, path, *_ in api.asked)


def test_the_kubeconfig_is_looked_up_anew_each_time(api, monkeypatch, tmp_path):
    """A notebook may set KUBECONFIG after the client was imported."""
    Cluster()
    monkeypatch.delenv("KUBECONFIG")
    (tmp_path / ".kube").mkdir()
    kubeconfig(tmp_path / ".kube/config", f"http://127.0.0.1:{api.port}", namespace="home")
    assert Cluster().namespace == "home"


def test_in_a_pod_the_service_account_goes_before_the_kubeconfig(
    api, monkeypatch, tmp_path, certificate
):
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("token-of-the-account")
    (account / "ca.crt").write_bytes(
        certificate.read_bytes().partition(b"-----BEGIN CERT")[1]
        + certificate.read_bytes().partition(b"-----BEGIN CERT")[2]
    )
    (account / "namespace").write_text("profile\n")
    with serving(StandIn(), certificate) as own:
        own.namespaces.add("profile")
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(own.port))
        assert Cluster().create(DOCUMENT) == "window"
        assert not api.asked
        _, path, _, headers, _ = own.asked[-1]
        assert "/namespaces/profile/" in path
        assert headers["Authorization"] == "bearer token-of-the-account"
        assert 'namespace "profile" of this Pod\'s cluster' in sentence(Cluster().get, "other")


def test_a_service_account_without_its_address_is_told(monkeypatch, tmp_path):
    (tmp_path / "account").mkdir()
    (tmp_path / "account/token").write_text("not-a-secret")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert "Service host/port is not set" in sentence(Cluster)


# Trials, the best of them, and logs


def test_trials_are_those_of_the_experiment_oldest_first(api):
    api.put("trials", trial("window-new", creationTimestamp="2026-11-24T09:00:02Z"))
    api.put("trials", trial("window-old", creationTimestamp="2026-11-24T09:00:01Z"))
    api.put("trials", trial("other-1", of="other"))
    assert [one["metadata"]["name"] for one in Cluster().trials("window")] == [
        "window-old",
        "window-new",
    ]
    assert Cluster().trials("nothing") == []


def test_the_best_trial_is_the_current_optimal_one(api):
    best = {
        "bestTrialName": "window-1",
        "parameterAssignments": [{"name": "window", "value": "3"}],
        "observation": {"metrics": []},
    }
    api.put("experiments", experiment("Running", currentOptimalTrial=best))
    assert Cluster().best("window") == best


@pytest.mark.parametrize(
    "status", [{}, {"currentOptimalTrial": {"bestTrialName": "", "observation": {}}}]
)
def test_no_best_trial_yet_is_told(api, status):
    api.put("experiments", experiment("Created", "Running", **status))
    assert (
        sentence(Cluster().best, "window")
        == f'Experiment "window" in {WHERE} is Running with 0 of 12 trials succeeded, so it has no'
        " best trial yet; wait until one has succeeded."
    )


@pytest.mark.parametrize("label", ["batch.kubernetes.io/job-name", "job-name"])
def test_logs_are_those_of_the_primary_container_in_the_newest_pod_of_the_job(api, label):
    """The newest is neither the first in the list nor the last."""
    api.put("trials", trial("window-1", "Running", collector="File"))
    for name, job, second in (
        ("first", "window-1", 2),
        ("second", "window-1", 3),
        ("zeroth", "window-1", 1),
        ("other", "window-2", 4),
    ):
        when = f"2026-11-24T09:00:0{second}Z"
        containers = ("training", door.COLLECTOR)
        api.put("pods", pod(name, job, *containers, label=label, creationTimestamp=when))
        api.log(name, "training", "of another Pod\n")
    api.log("second", "training", "Validation-MAE=0.29 größer\n")
    assert Cluster().logs("window-1") == "Validation-MAE=0.29 größer\n"


@pytest.mark.parametrize("text", ['{"loss": 0.5}', "1e3", "[1, 2]\n", ""])
def test_a_log_that_is_json_stays_as_it_was_printed(api, text):
    api.put("trials", trial("window-1", collector="File"))
    api.put("pods", pod("first", "window-1", "training"))
    api.log("first", "training", text)
    assert Cluster().logs("window-1") == text


def test_output_that_the_collector_took_is_read_from_the_collector_without_what_it_adds(api):
    api.put("trials", trial("window-1"))
    api.put("pods", pod("first", "window-1", "training", door.COLLECTOR))
    api.log("first", "training", "")
    api.log(
        "first",
        door.COLLECTOR,
        "I1124 08:17:36.123456      14 main.go:400] Trial Name: window-1\n"
        "I1124 08:17:37.000001      14 main.go:143] 2026-11-24T08:17:37Z Training-MAE=0.31\n"
        "I1124 08:17:38.000001      14 main.go:143] Trial Name: mine\n"
        "I1124 08:17:38.000001      14 main.go:143] Validation-MAE=0.29 [1] main.go:1] stays\n"
        "W1124 08:17:39.000001      14 file-metricscollector.go:92] Metrics will not have timestamp"
        " since Validation-MAE=0.29 doesn't begin with timestamp string\n"
        "I1124 08:17:40.000001      14 main.go:459] Metrics reported. :\n"
        'metric_logs:{time_stamp:"0001-01-01T00:00:00Z" metric:{name:"Training-MAE"}}\n',
    )
    assert (
        Cluster().logs("window-1")
        == "2026-11-24T08:17:37Z Training-MAE=0.31\nTrial Name: mine\nValidation-MAE=0.29 [1]"
        " main.go:1] stays\n"
    )


def test_a_trial_that_was_quicker_than_the_collector_is_explained_in_its_log(api):
    api.put("trials", trial("window-1", "Failed"))
    api.put("pods", pod("first", "window-1", "training", door.COLLECTOR))
    api.log(
        "first",
        door.COLLECTOR,
        "I1125 01:14:17.000001      21 main.go:400] Trial Name: window-1\n"
        "I1125 01:14:17.000002      21 main.go:143] loss=1\n"
        "F1125 01:14:17.000003      21 main.go:425] Failed to wait for worker container: unable to"
        " find main pid from the process list [1 21]\n",
    )
    printed, failed, explained = Cluster().logs("window-1").splitlines()
    assert printed == "loss=1"
    assert failed.startswith("Failed to wait for worker container: unable to find")
    assert explained.startswith('Trial "window-1" failed because its program had ended before')


def test_output_of_a_pod_without_collector_is_read_from_its_primary_container(api):
    """As in a namespace where Katib may not add its container."""
    api.put("trials", trial("window-1"))
    api.put("pods", pod("first", "window-1", "training"))
    api.log("first", "training", "Validation-MAE=0.29\n")
    assert Cluster().logs("window-1") == "Validation-MAE=0.29\n"


# Waiting


def test_wait_hands_on_every_change_and_returns_the_finished_experiment(api):
    states = [
        ("Created",),
        ("Created", "Running"),
        ("Created", "Running"),
        ("Created", "Succeeded"),
    ]
    api.put("experiments", experiment(*states[0]))
    seen = []

    def watch(found, trials):
        seen.append(
            (
                [condition["type"] for condition in found["status"]["conditions"]],
                [one["metadata"]["name"] for one in trials],
            )
        )
        api.put("trials", trial(f"window-{len(seen)}"))
        api.put("experiments", experiment(*states[len(seen)], trials=len(seen)))

    def watch_and_stop(found, trials):
        (watch if len(seen) < 3 else lambda *_: seen.append("end"))(found, trials)

    finished = Cluster().wait("window", watch_and_stop)
    assert finished["status"]["conditions"][-1]["type"] == "Succeeded"
    assert finished["status"]["trials"] == 3
    assert seen == [
        (["Created"], []),
        (["Created", "Running"], ["window-1"]),
        (["Created", "Running"], ["window-1", "window-2"]),
        "end",
    ]
    # All through one watch that began where the list ended; nobody polled.
    assert len(api.queries("GET", "experiments", watch=True)) == 1
    assert [query["fieldSelector"] for query in api.queries("GET", "experiments") if query] == [
        "metadata.name=window"
    ]


@pytest.mark.parametrize("state", ["Succeeded", "Failed"])
def test_wait_returns_at_once_what_has_ended(api, state):
    api.put("experiments", experiment("Created", state))
    assert Cluster().wait("window")["status"]["conditions"][-1]["type"] == state
    assert not api.queries("GET", "experiments", watch=True)


def test_a_condition_that_is_false_does_not_end_the_wait(api):
    api.put("experiments", experiment(conditions=[{"type": "Succeeded", "status": "False"}]))
    assert "goes on there" in sentence(Cluster().wait, "window", timeout=0.05)


@pytest.mark.parametrize("ends", [cut, end, gone, gone_at_once])
def test_a_watch_that_ends_early_is_made_again_and_nothing_is_lost(api, ends):
    """What changed while nobody watched is seen as well."""
    api.put("experiments", experiment("Created"))
    seen = []

    def change_and(what, condition):
        return lambda handler: (api.put("experiments", experiment(condition)), what(handler))

    api.watches = [ends, change_and(ends, "Running"), ends, change_and(ends, "Succeeded")]
    finished = Cluster().wait(
        "window", lambda found, _: seen.append(found["status"]["conditions"][-1]["type"])
    )
    assert finished["status"]["conditions"][-1]["type"] == "Succeeded"
    assert seen == ["Created", "Running", "Succeeded"]
    versions = [query["resourceVersion"] for query in api.queries("GET", "experiments", watch=True)]
    assert versions == ["1001", "1001", "1002", "1002"]


def test_a_cluster_that_is_away_for_a_moment_is_waited_for(api):
    api.put("experiments", experiment("Created"))

    def restart(handler):
        api.put("experiments", experiment("Succeeded"))
        api.refuse("GET", "experiments", 503, "etcd is starting", times=3)
        cut(handler)

    api.watches = [restart]
    assert Cluster().wait("window")["metadata"]["resourceVersion"] == "1002"
    assert len(api.queries("GET", "experiments")) == 2 + 3 + 1


def test_a_cluster_that_stays_away_is_told_in_the_end(api, monkeypatch):
    monkeypatch.setattr(kube, "AWAY_SECONDS", 0.05)
    api.put("experiments", experiment("Created"))

    def stop(handler):
        api.refuse("GET", "experiments", 503, "apiserver is shutting down")
        cut(handler)

    api.watches = [stop]
    assert "cannot answer now (503: apiserver is shutting down)" in sentence(
        Cluster().wait, "window"
    )


def test_the_end_of_patience_says_how_far_it_is_and_that_it_goes_on(api):
    api.put("experiments", experiment("Created", "Running", trialsSucceeded=3))
    begin = time.monotonic()
    said = sentence(Cluster().wait, "window", timeout=0.2)
    assert 0.2 <= time.monotonic() - begin < 10
    assert (
        said == f'Experiment "window" in {WHERE} is Running with 3 of 12 trials succeeded after 0.2'
        " seconds, and it goes on there; wait again with a longer timeout, or end it with"
        " delete."
    )


def test_an_experiment_that_no_controller_has_noticed_is_told_so(api):
    api.put("experiments", DOCUMENT)
    assert "has not been noticed by Katib's controller" in sentence(
        Cluster().wait, "window", timeout=0.01
    )


def test_an_experiment_deleted_while_it_is_watched_is_told(api):
    api.put("experiments", experiment("Running"))
    said = sentence(Cluster().wait, "window", lambda *_: api.remove("experiments", "window"))
    assert (
        said
        == f'Experiment "window" in {WHERE} was deleted while it was waited for; create it again.'
    )
    assert len(api.queries("GET", "experiments")) == 2


def test_an_experiment_deleted_while_nobody_watched_is_told(api):
    api.put("experiments", experiment("Running"))
    api.watches = [lambda handler: (api.remove("experiments", "window"), cut(handler))]
    assert "was deleted while it was waited for" in sentence(Cluster().wait, "window")


def test_an_error_of_the_callback_is_not_swallowed(api):
    api.put("experiments", experiment("Running"))

    def watch(*_):
        raise ConnectionError("the callback's own")

    with pytest.raises(ConnectionError, match="the callback's own"):
        Cluster().wait("window", watch)


def test_waiting_for_what_is_not_there_fails_at_once(api):
    assert (
        sentence(Cluster().wait, "nothing")
        == f'there is no Experiment "nothing" in {WHERE}; `kubectl get experiments.kubeflow.org -n'
        " kubeflow-workshop` lists those that are."
    )


# What a user can mend


def test_no_kubeconfig(monkeypatch, tmp_path):
    assert sentence(Cluster).startswith(
        "no cluster is known here, because there is no kubeconfig at ~/.kube/config; "
    )
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert f"no kubeconfig at {tmp_path / 'none'}; " in sentence(Cluster)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is not as kubectl writes it"),
        ("a: [", "it is not as kubectl writes it"),
        ("just words", "it is not as kubectl writes it"),
        ("{contexts: [], clusters: [], users: []}", "xpected key current-context"),
        (
            "{current-context: far, contexts: [], clusters: [], users: []}",
            "xpected object with name far",
        ),
        (
            (
                "{current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}],"
                " clusters: [{name: k, cluster: {server: 'http://x'}}], users: [{name: u, token:"
                " not-a-secret}]}"
            ),
            "xpected key user",
        ),
    ],
)
def test_a_kubeconfig_that_cannot_be_used(monkeypatch, tmp_path, text, reason):
    (tmp_path / "config").write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    said = sentence(Cluster)
    assert said.startswith(f"the kubeconfig {tmp_path / 'config'} cannot be used (")
    assert reason in said


def test_a_cluster_that_is_off(monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv(
        "KUBECONFIG",
        str(kubeconfig(tmp_path / "config", f"http://me:not-a-secret@127.0.0.1:{port}")),
    )
    for call in (
        lambda: Cluster().create(DOCUMENT),
        lambda: Cluster().wait("window"),
        lambda: Cluster().logs("window-1"),
    ):
        assert (
            sentence(call)
            == f'the cluster of context "kind-workshop" at http://127.0.0.1:{port} does not answer'
            " (Connection refused); start it, or choose another with `kubectl config"
            " use-context`, or set WORKSHOP_TARGET=laptop to run here."
        )


def test_a_cluster_that_is_silent(monkeypatch, tmp_path):
    monkeypatch.setattr(kube, "ANSWER_WITHIN", (0.1, 0.1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv(
            "KUBECONFIG",
            str(kubeconfig(tmp_path / "config", f"http://127.0.0.1:{silent.getsockname()[1]}")),
        )
        assert "does not answer (no answer in time)" in sentence(Cluster().get, "window")


def test_a_server_whose_name_leads_nowhere(monkeypatch, tmp_path):
    monkeypatch.setenv(
        "KUBECONFIG", str(kubeconfig(tmp_path / "config", "http://no.such.host.invalid"))
    )
    assert "does not answer (its name cannot be resolved)" in sentence(Cluster().get, "window")


@pytest.mark.parametrize(
    "server",
    [
        "http://[",
        "127.0.0.1:6443",
        "https://",
        "file:///cluster",
        "http://me:not/not-a-secret@127.0.0.1:1",
    ],
)
def test_a_server_that_is_no_address(monkeypatch, tmp_path, server):
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", server)))
    assert "must be an address that begins with https://" in sentence(Cluster)


def test_a_certificate_that_is_not_trusted(monkeypatch, tmp_path, certificate):
    with serving(StandIn(), certificate) as api:
        monkeypatch.setenv(
            "KUBECONFIG", str(kubeconfig(tmp_path / "config", f"https://127.0.0.1:{api.port}"))
        )
        said = sentence(Cluster().get, "window")
    assert (
        f"at https://127.0.0.1:{api.port} cannot be trusted (certificate verify failed: self"
        in said
    )
    assert "_ssl.c" not in said


def test_a_server_that_speaks_no_tls(api, monkeypatch, tmp_path):
    monkeypatch.setenv(
        "KUBECONFIG", str(kubeconfig(tmp_path / "config", f"https://127.0.0.1:{api.port}"))
    )
    assert "cannot be trusted (" in sentence(Cluster().get, "window")


def test_what_is_no_kubernetes_at_all(api):
    api.refuse("GET", "experiments", 200, b"<html>Log in</html>")
    assert "is not a Kubernetes API" in sentence(Cluster().get, "window")
    api.refuse("GET", "experiments", 302, b"")
    assert "is not a Kubernetes API" in sentence(Cluster().get, "window")


def test_credentials_that_are_not_accepted(api):
    api.refuse("POST", "experiments", 401, {"message": "Unauthorized", "reason": "Unauthorized"})
    assert "does not accept your credentials (401); log in to it again" in sentence(
        Cluster().create, DOCUMENT
    )
    api.refuse(
        "POST",
        "experiments",
        403,
        'experiments.kubeflow.org is forbidden: User "system:anonymous" cannot create resource'
        ' "experiments"',
    )
    assert "does not accept your credentials (403)" in sentence(Cluster().create, DOCUMENT)


@pytest.mark.parametrize(
    ("method", "resource", "right", "call"),
    [
        (
            "POST",
            "experiments",
            "create experiments.kubeflow.org",
            lambda cluster: cluster.create(DOCUMENT),
        ),
        (
            "GET",
            "experiments",
            "get experiments.kubeflow.org",
            lambda cluster: cluster.get("window"),
        ),
        (
            "GET",
            "experiments",
            "get experiments.kubeflow.org",
            lambda cluster: cluster.wait("window"),
        ),
        (
            "DELETE",
            "experiments",
            "delete experiments.kubeflow.org",
            lambda cluster: cluster.delete("window"),
        ),
        ("GET", "trials", "list trials.kubeflow.org", lambda cluster: cluster.trials("window")),
        ("GET", "pods", "list pods", lambda cluster: cluster.logs("window-1")),
        ("GET", "pods/log", "get pods/log", lambda cluster: cluster.logs("window-1")),
    ],
)
def test_a_right_that_is_missing_is_named(api, method, resource, right, call):
    api.put("experiments", experiment("Running"))
    api.put("trials", trial("window-1"))
    api.put("pods", pod("first", "window-1", "training"))
    api.refuse(
        method,
        resource,
        403,
        f'{resource} is forbidden: User "me" cannot do this to resource "{resource}" in the'
        ' namespace "kubeflow-workshop"',
    )
    said = sentence(call, Cluster())
    verb, of = right.split()
    assert (
        said
        == f"you may not {right} in {WHERE}; ask its administrator for a Role there with the verb"
        f" {verb} on {of}, and try `kubectl auth can-i {right} -n kubeflow-workshop`."
    )


def test_the_right_to_watch_may_be_missing_alone(api):
    api.put("experiments", experiment("Running"))
    forbidden = {
        "kind": "Status",
        "code": 403,
        "message": 'User "me" cannot watch resource "experiments"',
    }
    api.watches = [lambda handler: handler.send(403, forbidden)]
    assert sentence(Cluster().wait, "window").startswith(
        f"you may not watch experiments.kubeflow.org in {WHERE}; "
    )


def test_katib_is_not_installed(api):
    api.refuse("POST", "experiments", 404, b"404 page not found\n")
    assert (
        sentence(Cluster().create, DOCUMENT)
        == 'Katib is not installed on the cluster of context "kind-workshop", which does not know'
        " kubeflow.org/v1beta1 experiments; install Katib there, or set WORKSHOP_TARGET=laptop"
        " to run here."
    )
    api.refuse(
        "GET",
        "experiments",
        404,
        {"message": "the server could not find the requested resource", "details": {}},
    )
    assert sentence(Cluster().wait, "window").startswith("Katib is not installed on")


def test_an_object_that_is_not_there_is_another_thing(api):
    for call in (Cluster().get, Cluster().delete, Cluster().best):
        assert sentence(call, "window").startswith(
            f'there is no Experiment "window" in {WHERE}; `kubectl get experiments.kubeflow.org'
        )
    assert sentence(Cluster().logs, "window-1").startswith(
        f'there is no Trial "window-1" in {WHERE}; '
    )


def test_a_namespace_that_is_not_there(api):
    said = sentence(Cluster("elsewhere").create, DOCUMENT)
    assert said.startswith(
        'there is no namespace "elsewhere" of the cluster of context "kind-workshop"; make it with'
        " `kubectl create namespace elsewhere`"
    )
    assert (
        "`kubectl label namespace elsewhere katib.kubeflow.org/metrics-collector-injection=enabled`"
        in said
    )


def test_a_name_that_is_taken(api):
    Cluster().create(DOCUMENT)
    assert sentence(Cluster().create, DOCUMENT).startswith(
        f'Experiment "window" in {WHERE} exists already; '
    )
    api.refuse(
        "POST",
        "experiments",
        409,
        'object is being deleted: experiments.kubeflow.org "window" already exists',
    )
    assert "is still being deleted" in sentence(Cluster().create, DOCUMENT)


@pytest.mark.parametrize(
    ("code", "message", "said"),
    [
        (
            400,
            (
                'admission webhook "validator.experiment.katib.kubeflow.org" denied the request:'
                " spec.objective.objectiveMetricName must be specified\n"
            ),
            (
                "is refused by the cluster's admission check: spec.objective.objectiveMetricName"
                " must be specified; mend"
            ),
        ),
        (
            403,
            'admission webhook "policy" denied the request: User cannot use image latest.',
            "admission check: User cannot use image latest; mend",
        ),
        (
            422,
            (
                'Experiment.kubeflow.org "window" is invalid: spec.parallelTrialCount: Invalid'
                ' value: "string": must be integer'
            ),
            (
                'is refused by the API server: Experiment.kubeflow.org "window" is invalid:'
                " spec.parallelTrialCount: Invalid value"
            ),
        ),
        (
            403,
            'experiments "window" is forbidden: exceeded quota: count',
            'is refused by the API server: experiments "window" is forbidden: exceeded quota',
        ),
        (
            500,
            'Internal error occurred: failed calling webhook "validator": connection refused',
            "Katib's controller does not answer",
        ),
        (429, "too many requests", "cannot answer now (429: too many requests); try again"),
        (
            504,
            b"<html>Gateway Timeout</html>",
            "cannot answer now (504: Gateway Timeout); try again",
        ),
    ],
)
def test_the_servers_reason_is_passed_on(api, code, message, said):
    api.refuse("POST", "experiments", code, message)
    told = sentence(Cluster().create, DOCUMENT)
    assert said in told
    assert "kind-workshop" in told


def test_logs_that_are_not_there_yet_or_no_more(api):
    api.put("trials", trial("window-1", "Created"))
    assert (
        sentence(Cluster().logs, "window-1")
        == f'Trial "window-1" in {WHERE} has no Pod yet; ask again when it is Running.'
    )
    api.put("trials", trial("window-1", "Created", "Succeeded"))
    assert "set spec.trialTemplate.retain to true" in sentence(Cluster().logs, "window-1")
    api.put("pods", pod("first", "window-1", "training"))
    api.refuse(
        "GET",
        "pods/log",
        400,
        'container "training" in pod "first" is waiting to start: ContainerCreating',
    )
    assert (
        sentence(Cluster().logs, "window-1")
        == f'Pod "first" in {WHERE} has no log yet: container "training" in pod "first" is waiting'
        " to start: ContainerCreating; ask again in a moment or, if it stays so, see `kubectl"
        " describe pod first -n kubeflow-workshop`."
    )
    api.refuse(
        "GET",
        "pods/log",
        404,
        {"message": 'pods "first" not found', "details": {"name": "first", "kind": "pods"}},
    )
    assert sentence(Cluster().logs, "window-1").startswith(
        f'there is no Pod "first" in {WHERE}; `kubectl get pods -n'
    )


def test_the_ui_is_said_with_the_command_and_the_address(api):
    said = Cluster().ui()
    assert "`kubectl port-forward -n kubeflow svc/katib-ui 8080:80`" in said
    assert "http://localhost:8080/katib/" in said
    assert not api.asked


def test_the_client_is_imported_only_where_a_cluster_is_meant():
    code = (
        "import sys, kubeflow_workshop.katib.cluster as door; sys.exit('kubernetes' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
