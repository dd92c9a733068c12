"""A stand-in for Kubeflow Pipelines' API server and for the gateway before it, on loopback: it
speaks the JSON and HTTP of the v2 API for the paths that the door uses.

What is sent to it must be what kfp's own generated models hold, with no field beside, and a query
must be one that the API knows. A test chooses who is let in (`tokens`, `gate`) and what is refused
(`refuse`), and says what becomes of a run (`play`). It keeps what it was asked (`asked`).
"""

import json
import math
import re
import uuid
from email.message import Message
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

import kfp_server_api

from tests.katib.stand_in import Handler as KatibsHandler

API = "/apis/v2beta1"
QUERIES = {
    "runs": {"namespace", "experiment_id", "page_token", "page_size", "sort_by", "filter"},
    "experiments": {"namespace", "page_token", "page_size", "sort_by", "filter"},
}
MODELS = {"runs": "V2beta1Run", "experiments": "V2beta1Experiment"}
LOGIN_PAGE = b"<!DOCTYPE html><html><head><title>dex</title></head><body>Log in to Your Account</body></html>"
DASHBOARD = b"<!doctype html><html><head><title>Kubeflow Central Dashboard</title></head></html>"
NEVER = "1970-01-01T00:00:00Z"
"""How the API writes a time that has not come."""


class Pipelines:
    """Kubeflow Pipelines behind the API: what they hold, what they were asked, and what they are
    told to do.
    """

    def __init__(self):
        self.multi_user = False
        self.namespaces = {"team-a"}
        self.tokens: set[str] = set()
        """Who is let in; if it is empty, all are."""
        self.gate = "api"
        """How others are turned away: `api`, `redirect`, `page`, `forbidden page`, `mesh`, `jwt`."""
        self.path = ""
        """What stands before the API's own path, such as /pipeline."""
        self.asked: list[tuple[str, str, dict, Message, object]] = []
        """Of each request: method, path, query, headers, body."""
        self.lingering = 0
        """How often a run that was terminated or deleted is still seen as it was."""
        self.port = 0
        self.runs: dict[str, dict] = {}
        self.experiments: dict[str, dict] = {}
        self.versions: dict[tuple[str, str], dict] = {}
        self._acts: dict[str, list[dict]] = {}
        self._refusals: list = []
        self._gone: dict[str, int] = {}

    def refuse(
        self, method: str, path: str, code: int, answer: object, times: float = math.inf, **headers
    ) -> None:
        """Answer the next requests to such a path (a regular expression) so: with an error of the
        API if `answer` is text, or with bytes or a dict as they are.
        """
        self._refusals.append([method, re.compile(path), times, code, answer, headers])

    def play(self, run: str, *acts: dict) -> None:
        """What becomes of a run: each time it is looked at, the next of these changes is made."""
        self._acts[run] = list(acts)

    def put(self, **run: object) -> str:
        """A run that is there; returns its id."""
        identity = run.setdefault("run_id", str(uuid.uuid4()))
        run.setdefault("created_at", f"2026-11-25T08:00:{len(self.runs):02d}Z")
        self.runs[identity] = {"state": "SUCCEEDED", "display_name": "one"} | run
        return identity

    def methods(self, path: str) -> list[str]:
        """The methods of the requests to such a path so far."""
        return [method for method, asked, *_ in self.asked if re.search(path, asked)]

    def answer(
        self, method: str, path: str, query: dict, headers: Message, body: object
    ) -> tuple[int, object, dict]:
        """The status code, the content and the headers of an answer."""
        if path.startswith("/dex/"):
            return 200, LOGIN_PAGE, {}
        for refusal in self._refusals:
            asked, pattern, times, code, says, more = refusal
            if asked == method and pattern.search(path) and times > 0:
                refusal[2] -= 1
                return code, status(code, says) if isinstance(says, str) else says, more
        if self.tokens and headers["Authorization"] not in {f"Bearer {one}" for one in self.tokens}:
            return self._turned_away()
        if not path.startswith(self.path + API):
            return 200, DASHBOARD, {}  # a page that finds its way by itself answers to any path
        _, kind, *rest = path.removeprefix(self.path + API).split("/")
        if kind == "healthz":
            return 200, {"multi_user": True} if self.multi_user else {}, {}
        if unknown := set(query) - QUERIES.get(kind, set()):
            return 400, status(400, f"unknown query {unknown}"), {}
        if (refused := self._namespace(method, kind, query, body)) is not None:
            return *refused, {}
        return *getattr(self, f"_{kind}")(method, rest, query, body), {}

    def _turned_away(self) -> tuple[int, object, dict]:
        return {
            "api": (
                401,
                status(401, "Request header error: there is no user identity header."),
                {},
            ),
            "redirect": (
                302,
                b"",
                {"Location": "/dex/auth?client_id=kubeflow-oidc-authservice&state=secret-state"},
            ),
            "page": (200, LOGIN_PAGE, {}),
            "forbidden page": (403, b"<html><title>Sign In</title>OAuth2 Proxy</html>", {}),
            "mesh": (403, b"RBAC: access denied", {}),
            "jwt": (401, b"Jwt verification fails", {}),
        }[self.gate]

    def _namespace(
        self, method: str, kind: str, query: dict, body: object
    ) -> tuple[int, object] | None:
        """Who may do what: everyone is the only user, or else works in some of the namespaces."""
        if kind == "pipelines" or (kind == "runs" and method != "GET"):
            return None
        named = (body or {}).get("namespace") or query.get("namespace", "")
        if not self.multi_user:
            assert not named, "a namespace for the only user"
            return None
        if method == "POST" and not named:
            return 400, status(
                400,
                "In multi-user mode, experiment namespace is empty. Please specify a valid namespace.",
            )
        if named and named not in self.namespaces:
            verb = "create" if method == "POST" else "list"
            return 403, status(
                403,
                f"Failed to {verb} {kind}: PermissionDenied: User 'system:serviceaccount:team-a:default-editor'"
                " is not authorized with reason:  (request: &ResourceAttributes{Namespace:"
                f"{named},Verb:{verb},Group:pipelines.kubeflow.org,Version:v1beta1,Resource:{kind},"
                "Subresource:,Name:,}): Unauthorized access",
            )
        return None

    def _experiments(
        self, method: str, rest: list[str], query: dict, body: object
    ) -> tuple[int, object]:
        if method == "POST":
            checked(body, MODELS["experiments"])
            made = body | {"experiment_id": str(uuid.uuid4())}
            self.experiments[made["experiment_id"]] = made
            return 200, made
        (wanted,) = json.loads(query["filter"])["predicates"]
        assert (wanted["operation"], wanted["key"]) == (1, "display_name")
        found = [
            one
            for one in self.experiments.values()
            if one["display_name"] == wanted["stringValue"]
            and one.get("namespace") == query.get("namespace")
        ]
        return 200, {"experiments": found, "total_size": len(found)} if found else {}

    def _runs(self, method: str, rest: list[str], query: dict, body: object) -> tuple[int, object]:
        if method == "POST" and not rest:
            checked(body, MODELS["runs"])
            assert body["experiment_id"] in self.experiments
            identity = self.put(**body, state="PENDING", finished_at=NEVER)
            return 200, self.runs[identity]
        if not rest:
            return 200, self._page(query)
        identity, _, verb = rest[0].partition(":")
        if identity not in self.runs:
            return 404, status(
                404, f"Failed to get a run: ResourceNotFoundError: Run {identity} not found"
            )
        run = self.runs[identity]
        if method == "POST":
            assert verb == "terminate"
            states = ["CANCELING"] * self.lingering + ["CANCELED"]
            self.play(identity, *({"state": state} for state in states))
            return 200, {}
        if method == "DELETE":
            self._gone[identity] = self.lingering
            if not self.lingering:
                del self.runs[identity]
            return 200, {}
        if identity in self._gone:
            self._gone[identity] -= 1
            if self._gone[identity] < 0:
                del self.runs[identity]
                return 404, status(404, f"Run {identity} not found")
        if acts := self._acts.get(identity):
            run |= acts.pop(0)
        return 200, run

    def _page(self, query: dict) -> dict:
        assert query["sort_by"] == "created_at desc"
        sorted_runs = sorted(self.runs.values(), key=lambda run: run["created_at"], reverse=True)
        begin = int(query.get("page_token") or 0)
        end = begin + int(query["page_size"])
        page = {"runs": sorted_runs[begin:end]}
        return page | ({"next_page_token": str(end)} if end < len(sorted_runs) else {})

    def _pipelines(
        self, method: str, rest: list[str], query: dict, body: object
    ) -> tuple[int, object]:
        pipeline, versions, version = rest
        assert versions == "versions"
        return 200, {"pipeline_spec": self.versions[pipeline, version]}


def checked(body: object, model: str) -> None:
    """That a request is what kfp's own model holds: the same after a round through it."""
    client = kfp_server_api.ApiClient()
    read = client.deserialize(SimpleNamespace(data=json.dumps(body)), model)
    assert client.sanitize_for_serialization(read) == body


def status(code: int, message: str) -> dict:
    """An error as the API's gateway writes it."""
    grpc = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 500: 13, 503: 14}.get(code, 2)
    return {"error": message, "code": grpc, "message": message, "details": []}


def nodes(workflow: str, *paths: tuple[str, str, list[str]]) -> dict:
    """`run_details` as the API has them of an Argo workflow: of each node its path, its state, and
    the paths of the nodes that follow.
    """
    details = []
    for number, (path, state, following) in enumerate(paths):
        details.append(
            {
                "task_id": f"task-{number}",
                "display_name": path.rpartition(".")[2] or workflow,
                "create_time": f"2026-11-25T08:00:{number:02d}Z",
                "start_time": f"2026-11-25T08:00:{number:02d}Z",
                "end_time": "0001-01-01T00:00:00Z"
                if state == "RUNNING"
                else "2026-11-25T08:01:00Z",
                "state": state,
                "child_tasks": [{"pod_name": identity(f"{workflow}.{one}")} for one in following],
            }
        )
    return {"run_details": {"task_details": details}}


def identity(path: str) -> str:
    """The id of an Argo workflow's node."""
    hashed = 2166136261
    for byte in path.encode():
        hashed ^= byte
        hashed = hashed * 16777619 % 2**32
    return f"{path.split('.')[0]}-{hashed}"


class Handler(KatibsHandler):
    """One connection to the stand-in."""

    cluster: Pipelines

    def handle_any(self) -> None:
        address = urlsplit(self.path)
        query = dict(parse_qsl(address.query))
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.cluster.asked.append((self.command, address.path, query, self.headers, body))
        try:
            code, answer, headers = self.cluster.answer(
                self.command, address.path, query, self.headers, body
            )
        except AssertionError as wrong:
            code, answer, headers = (
                400,
                status(400, f"the stand-in does not take it: {wrong!r}"),
                {},
            )
        text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        html = text[:1] == b"<"
        self.send_response(code)
        self.send_header(
            "Content-Type",
            "text/html"
            if html
            else "text/plain"
            if isinstance(answer, bytes)
            else "application/json",
        )
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_DELETE = handle_any  # noqa: N815
