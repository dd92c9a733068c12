"""A stand-in for a cluster's API server, on loopback: it speaks the API's JSON and HTTP for the
paths that Katib's door uses.

Objects have resource versions, lists and watches take selectors, a watch streams one JSON line a
change, and an error is a Status object. A test may make it refuse (`refuse`), and say how each of
the next watches ends (`watches`). It keeps what it was asked (`asked`).
"""

import copy
import json
import math
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

import yaml

Served = TypeVar("Served")

CUSTOM = re.compile(
    r"/apis/kubeflow\.org/v1beta1/namespaces/(?P<namespace>[^/]+)/(?P<resource>experiments|trials)(/(?P<name>[^/]+))?"
)
PODS = re.compile(
    r"/api/v1/namespaces/(?P<namespace>[^/]+)/(?P<resource>pods)(/(?P<name>[^/]+)(?P<log>/log))?"
)


class StandIn:
    """The cluster behind the API server: what it holds, what it was asked, and what it is told to
    do.
    """

    def __init__(self):
        self.namespaces = {"kubeflow-workshop"}
        self.asked: list[tuple[str, str, dict, Message, object]] = []
        """Of each request: method, path, query, headers, body."""
        self.lingering: dict[str, float] = {}
        """Resource → how many more times its objects are looked at before what was deleted is gone:
        the time that finalizers take, and the garbage collection of what belongs to an object.
        """
        self.watches: list[Callable] = []
        """What the next watches do in place of serving; each is called with the request's handler.
        """
        self.controller: Callable[[dict], None] = lambda experiment: None
        """Told of each Experiment that is created, as Katib's controller is."""
        self.port = 0
        self._objects: dict[tuple[str, str, str], dict] = {}
        self._logs: dict[tuple[str, str], str] = {}
        self._history: list[tuple[str, str, dict]] = []
        self._refusals: dict[tuple[str, str], list] = {}
        self._version = 1000
        self.changed = threading.Condition(threading.RLock())

    def put(self, resource: str, thing: dict) -> dict:
        """Create an object, or put a new state of it, and tell those who watch."""
        with self.changed:
            self._version += 1
            thing = copy.deepcopy(thing)
            thing["metadata"] = (
                {"namespace": "kubeflow-workshop"}
                | thing["metadata"]
                | {"resourceVersion": str(self._version)}
            )
            thing["metadata"].setdefault(
                "creationTimestamp", f"2026-11-24T08:00:{self._version % 60:02d}Z"
            )
            key = (resource, thing["metadata"]["namespace"], thing["metadata"]["name"])
            self._history.append(("MODIFIED" if key in self._objects else "ADDED", resource, thing))
            self._objects[key] = thing
            self.changed.notify_all()
            return thing

    def remove(self, resource: str, name: str, namespace: str = "kubeflow-workshop") -> None:
        with self.changed:
            self._version += 1
            thing = copy.deepcopy(self._objects.pop((resource, namespace, name)))
            thing["metadata"]["resourceVersion"] = str(self._version)
            self._history.append(("DELETED", resource, thing))
            self.changed.notify_all()

    def log(self, pod: str, container: str, text: str) -> None:
        self._logs[pod, container] = text

    def refuse(
        self, method: str, resource: str, code: int, answer: object, times: float = math.inf
    ) -> None:
        """Answer the next such requests so: with a Status of this message, or of these fields if it
        is a dict, or with bytes as they are.
        """
        self._refusals[method, resource] = [times, code, answer]

    def queries(self, method: str, resource: str, watch: bool = False) -> list[dict]:
        """The queries of the requests to a resource so far."""
        return [
            query
            for asked, path, query, _, _ in self.asked
            if asked == method
            and f"/{resource}" in path
            and (query.get("watch") == "True") == watch
        ]

    def answer(self, method: str, path: str, query: dict, body: object) -> tuple[int, object]:
        """The status code and the JSON of one request that is no watch."""
        match = CUSTOM.fullmatch(path) or PODS.fullmatch(path)
        if not match:
            return 404, b"404 page not found\n"
        namespace, resource, name = match["namespace"], match["resource"], match["name"]
        refusal = self._refusals.get((method, resource + (match.groupdict().get("log") or "")))
        if refusal and refusal[0] > 0:
            times, code, says = refusal
            refusal[0] = times - 1
            return code, says if isinstance(says, bytes) else status(code, says)
        if method == "POST":
            return self._create(namespace, resource, body)
        if not name:
            with self.changed:
                self._finalize(resource)
                items = [
                    thing
                    for key, thing in self._objects.items()
                    if key[:2] == (resource, namespace) and selected(thing, query)
                ]
                return 200, {
                    "kind": "List",
                    "apiVersion": "v1",
                    "metadata": {"resourceVersion": str(self._version)},
                    "items": items,
                }
        if (resource, namespace, name) not in self._objects:
            return 404, status(
                404,
                {
                    "message": f'{resource}.kubeflow.org "{name}" not found',
                    "details": {"name": name, "kind": resource},
                },
            )
        if resource == "pods":
            return 200, self._logs[name, query["container"]].encode()
        if method == "DELETE":
            self._delete(resource, namespace, name)
            return 200, {"kind": "Status", "status": "Success"}
        return 200, self._objects[resource, namespace, name]

    def _delete(self, resource: str, namespace: str, name: str) -> None:
        """Delete an object, and what belongs to it: at once, or after some looks if it lingers."""
        with self.changed:
            belongings = [
                (of, where, one)
                for (of, where, one), thing in self._objects.items()
                if (of, where) == ("trials", namespace)
                and selected(thing, {"labelSelector": f"katib.kubeflow.org/experiment={name}"})
            ]
            for key in [(resource, namespace, name), *belongings]:
                thing = self._objects[key]
                thing["metadata"]["deletionTimestamp"] = "2026-11-24T08:01:00Z"
                self.put(key[0], thing)
        for of in {resource, "trials"}:
            self._finalize(of)

    def _finalize(self, resource: str) -> None:
        """Remove what was deleted, if it has lingered long enough."""
        if self.lingering.get(resource, 0) > 0:
            self.lingering[resource] -= 1
            return
        for (of, where, one), thing in list(self._objects.items()):
            if of == resource and "deletionTimestamp" in thing["metadata"]:
                self.remove(of, one, where)

    def _create(self, namespace: str, resource: str, body: dict) -> tuple[int, object]:
        if namespace not in self.namespaces:
            return 404, status(
                404,
                {
                    "message": f'namespaces "{namespace}" not found',
                    "details": {"name": namespace, "kind": "namespaces"},
                },
            )
        body = copy.deepcopy(body)
        body["metadata"].setdefault("namespace", namespace)
        body["metadata"].setdefault("name", body["metadata"].get("generateName", "") + "x7k2p")
        name = body["metadata"]["name"]
        if (resource, namespace, name) in self._objects:
            return 409, status(
                409,
                {
                    "message": (
                        "object is being deleted: "
                        if "deletionTimestamp"
                        in self._objects[resource, namespace, name]["metadata"]
                        else ""
                    )
                    + f'{resource}.kubeflow.org "{name}" already exists',
                    "details": {"name": name, "kind": resource},
                },
            )
        made = self.put(resource, body)
        if resource == "experiments":
            self.controller(made)
        return 201, made

    def events(self, resource: str, query: dict) -> Iterator[dict]:
        """The changes since the version asked for, until the watch's time is over."""
        end = time.monotonic() + int(query["timeoutSeconds"])
        sent = 0
        while True:
            with self.changed:
                while sent == len(self._history):
                    if not self.changed.wait(end - time.monotonic()):
                        return
                kind, of, thing = self._history[sent]
            sent += 1
            if (
                of == resource
                and int(thing["metadata"]["resourceVersion"]) > int(query["resourceVersion"])
                and selected(thing, query)
            ):
                yield {"type": kind, "object": thing}


def status(code: int, failure: object) -> dict:
    """A Status object of the API."""
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code} | (
        failure if isinstance(failure, dict) else {"message": failure}
    )


def selected(thing: dict, query: dict) -> bool:
    """Whether a query's selectors choose an object."""
    labels = thing["metadata"].get("labels", {})
    wanted = [pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair]
    field, _, name = query.get("fieldSelector", "").partition("=")
    assert field in (
        "",
        "metadata.name",
    ), "the only field that every custom resource can be selected by, besides its namespace"
    return all(labels.get(key) == value for key, value in wanted) and name in (
        "",
        thing["metadata"]["name"],
    )


def cut(handler: "Handler") -> None:
    """Cut the connection in the middle of a line."""
    handler.begin_stream()
    handler.chunk(b'{"type": "MODI')
    handler.close_connection = True


def end(handler: "Handler") -> None:
    """End the watch as when its time is over, with nothing sent."""
    handler.begin_stream()
    handler.chunk(b"")


def gone(handler: "Handler") -> None:
    """Say in the stream that the version asked for is too long ago."""
    handler.begin_stream()
    handler.chunk(
        json.dumps(
            {
                "type": "ERROR",
                "object": status(
                    410, {"reason": "Expired", "message": "too old resource version: 1 (1003)"}
                ),
            }
        ).encode()
        + b"\n"
    )
    handler.chunk(b"")


def gone_at_once(handler: "Handler") -> None:
    """Say so before a stream begins."""
    handler.send(410, status(410, {"reason": "Gone", "message": "too old resource version"}))


class Handler(BaseHTTPRequestHandler):
    """One connection to the stand-in."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    cluster: StandIn

    def log_message(self, *_: object) -> None:
        """Not to stderr; `asked` keeps it."""

    def handle_any(self) -> None:
        address = urlsplit(self.path)
        query = dict(parse_qsl(address.query))
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.cluster.asked.append((self.command, address.path, query, self.headers, body))
        if query.get("watch") != "True":
            self.send(*self.cluster.answer(self.command, address.path, query, body))
        elif self.cluster.watches:
            self.cluster.watches.pop(0)(self)
        else:
            self.begin_stream()
            try:
                for event in self.cluster.events(CUSTOM.fullmatch(address.path)["resource"], query):
                    self.chunk(json.dumps(event).encode() + b"\n")
                self.chunk(b"")
            except OSError:  # the client has what it waited for
                self.close_connection = True

    do_GET = do_POST = do_DELETE = handle_any  # noqa: N815

    def send(self, code: int, answer: object) -> None:
        text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(code)
        self.send_header(
            "Content-Type", "text/plain" if isinstance(answer, bytes) else "application/json"
        )
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, text: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))


@contextmanager
def serving(
    cluster: Served, certificate: Path | None = None, handler: type = Handler
) -> Iterator[Served]:
    """The stand-in on a free port of loopback, with TLS if there is a certificate (with its key in
    the same file). Another stand-in comes with its handler.
    """
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), type("ItsHandler", (handler,), {"cluster": cluster})
    )
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # a client that trusts us not
    cluster.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield cluster
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def kubeconfig(
    path: Path,
    server: str,
    token: str = "not-a-secret",
    cluster: dict | None = None,
    **context: str,
) -> Path:
    """Write a kubeconfig as kind would."""
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "kind-workshop",
                "contexts": [
                    {
                        "name": "kind-workshop",
                        "context": {"cluster": "here", "user": "me"} | context,
                    }
                ],
                "clusters": [{"name": "here", "cluster": {"server": server} | (cluster or {})}],
                "users": [{"name": "me", "user": {"token": token}}],
            }
        )
    )
    return path
