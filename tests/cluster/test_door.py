"""What the door to a cluster does on a real one: with tiny programs in the place of training."""

import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
import yaml

from kubeflow_workshop import kube
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.katib.cluster import Cluster
from kubeflow_workshop.objects import AbsentError, state
from tests.cluster.conftest import LONG, SHORT, WORKSHOP, learner, tiny, until, workshop

SECONDS = 240
"""What an Experiment of a few tiny trials may take on a busy machine."""


def running(cluster: Cluster, name: str) -> dict:
    """The first trial, as soon as its Pod runs."""

    def look() -> dict | None:
        trials = cluster.trials(name)
        return trials[0] if trials and state(trials[0]) == "Running" else None

    return until(look, SECONDS, f"{name} has a trial that runs")


@contextmanager
def waiting(cluster: Cluster, name: str) -> Iterator[Callable[[], dict]]:
    """Someone who waits for an Experiment meanwhile; ask for how it ended."""
    begun = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(cluster.wait, name, lambda *_: begun.set(), SECONDS)
        assert begun.wait(60)
        yield lambda: ended.result(SECONDS)


class Way:
    """A way to the API server that can be cut: TCP, passed on by hand."""

    def __init__(self, server: str):
        self._there = (urlsplit(server).hostname, urlsplit(server).port)
        self._open: list[socket.socket] = []
        self.made = 0
        """Connections so far."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:  # closed for good
                return
            far = socket.create_connection(self._there)
            self.made += 1
            self._open += [near, far]
            for source, goal in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(source, goal), daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, goal: socket.socket) -> None:
        try:
            while some := source.recv(65536):
                goal.sendall(some)
        except OSError:
            pass
        for end in (source, goal):
            end.close()

    def cut(self) -> None:
        """End every connection; a new one may be made."""
        for end in self._open:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                end.close()
        self._open.clear()

    def close(self) -> None:
        """End every connection, and let no new one in."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()


@pytest.fixture
def way(administrator, namespace, monkeypatch, tmp_path) -> Iterator[Way]:
    """The account's way to the cluster goes through one that the test can cut."""
    made = Way(administrator.configuration.host)
    path = administrator.kubeconfig(namespace, tmp_path / "config", made.address)
    monkeypatch.setenv("KUBECONFIG", str(path))
    yield made
    made.cut()


def test_a_lost_connection_is_made_again_and_nothing_is_lost(way):
    cluster = Cluster()
    name = cluster.create(tiny("cut", SHORT))
    seen = []
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(cluster.wait, name, lambda *_: seen.append(way.made), SECONDS)
        until(lambda: seen, 60, "the first look")
        way.cut()
        assert state(waits.result(SECONDS)) == "Succeeded"
    assert way.made > seen[0]
    (trial,) = cluster.trials(name)
    assert state(trial) == "Succeeded"
    assert cluster.best(name)["bestTrialName"] == trial["metadata"]["name"]
    cluster.delete(name)


def test_a_connection_that_stays_lost_is_told(way, account, monkeypatch):
    monkeypatch.setattr(kube, "AWAY_SECONDS", 3)
    cluster = Cluster()
    name = cluster.create(tiny("lost", LONG))
    with waiting(cluster, name) as ended:
        way.close()
        with pytest.raises(CourseError, match="does not answer"):
            ended()
    monkeypatch.setenv("KUBECONFIG", str(account))
    Cluster().delete(name)


def test_an_experiment_that_is_deleted_while_someone_waits_is_told(cluster):
    name = cluster.create(tiny("deleted", LONG))
    with waiting(cluster, name) as ended:
        cluster.delete(name)
        with pytest.raises(CourseError, match="was deleted while it was waited for"):
            ended()
    with pytest.raises(AbsentError):
        cluster.get(name)


def test_ctrl_c_leaves_the_experiment_running_and_replace_begins_anew(
    cluster, account, namespace, administrator, tmp_path
):
    """Katib counts the Trials of an earlier Experiment of the same name among a new one's."""
    document = tmp_path / "again.yaml"
    document.write_text(yaml.safe_dump(tiny("again", LONG)))
    tune = subprocess.Popen(
        [*WORKSHOP, "tune", str(document)],
        env=learner(account),
        # what runs in the background of a shell ignores Ctrl-C, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: _there(cluster, "again"), SECONDS, "the Experiment is created")
        first = running(cluster, "again")
        tune.send_signal(signal.SIGINT)
        printed, said = tune.communicate(timeout=60)
    finally:
        tune.kill()
    assert (tune.returncode, printed) == (130, "")
    assert "goes on" in said
    assert "Traceback" not in said
    assert state(cluster.get("again")) == "Running"

    document.write_text(yaml.safe_dump(tiny("again", SHORT)))
    refused = workshop("tune", document, kubeconfig=account)
    assert refused.returncode == 2
    assert "exists already" in refused.stderr
    ran = workshop("tune", document, "--replace", kubeconfig=account)
    assert ran.returncode == 0, ran.stderr
    (second,) = cluster.trials("again")
    assert state(second) == "Succeeded"
    assert second["metadata"]["name"] != first["metadata"]["name"]

    cluster.delete("again")
    assert cluster.trials("again") == []
    until(
        lambda: not administrator.leftovers(namespace, "again"),
        120,
        "the Jobs and Pods of the deleted Experiments are gone",
    )


def _there(cluster: Cluster, name: str) -> bool:
    try:
        return bool(cluster.get(name))
    except AbsentError:
        return False
