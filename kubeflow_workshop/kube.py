"""The cluster itself: a connection, one sentence for each way in which it can fail, patient
watches, and the logs of Pods.

Which platform runs there is said by the room that asks (`Platform`, `Kind`); nothing here knows it.
In a Pod with a service account the connection is to the Pod's own cluster, as that account.
Elsewhere it is to the current context of the kubeconfig, which is `$KUBECONFIG` or
`~/.kube/config`, as for kubectl.
"""

import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import tenacity
import yaml

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.objects import AbsentError
from kubeflow_workshop.target import NAMESPACE

if TYPE_CHECKING:  # the client takes half a second to import
    from kubernetes.client import ApiException, Configuration, V1Pod

Answer = TypeVar("Answer")

JOB_LABELS = ("batch.kubernetes.io/job-name", "job-name")
"""How a Job marks its Pods: since Kubernetes 1.27, and before."""
ANSWER_WITHIN = (5, 30)
"""Seconds to connect, and to wait for more of an answer."""
WATCH_SECONDS = 60
"""How long one watch lasts before the next: no longer does a connection that died unnoticed delay
the news.
"""
PAUSE = 1.0
"""Seconds between two watches at least, should something on the way cut each at once."""
AWAY_SECONDS = 120
"""How long the cluster may be out of reach while something is waited for."""


@dataclass(frozen=True)
class Kind:
    """A kind of object, as the API addresses it.

    Attributes:
        name: such as `Deployment`.
        plural: such as `deployments`; with a subresource, such as `pods/log`.
        group: of the API; empty for Kubernetes' own core.
        version: of the API.
    """

    name: str
    plural: str
    group: str = ""
    version: str = "v1"

    @property
    def resource(self) -> str:
        """As kubectl and Roles name it, such as `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


POD = Kind("Pod", "pods")
LOG = Kind("Pod", "pods/log")


@dataclass(frozen=True)
class Platform:
    """What the sentences say of the platform whose objects are asked for.

    Attributes:
        name: of the platform; it is not installed where its kinds are unknown.
        checker: what does not answer if the platform's admission webhook fails.
        checker_advice: what to do then.
        namespace_advice: what else a new namespace needs, after a comma; `{namespace}` stands for
            its name.
    """

    name: str
    checker: str
    checker_advice: str
    namespace_advice: str = ""


class AwayError(CourseError):
    """The cluster cannot be reached now; a moment later it may."""


class Kube:
    """A connection to a cluster.

    Args:
        platform: what its sentences are about.
        namespace: where objects live that do not say; None means the namespace of the service
            account or of the context and, where that names none, the course's own.

    Raises:
        CourseError: if there is no kubeconfig, or it cannot be used. Every method raises it, too,
            when the cluster cannot be reached, does not let us in, lacks the platform, or refuses:
            one sentence with what, where, and what to do. It is an `AwayError` if waiting may help,
            and an `AbsentError` if there is no such object.
    """

    def __init__(self, platform: Platform, namespace: str | None = None):
        """Find the cluster; nothing is sent to it yet."""
        from kubernetes import client

        configuration, self.name, own_namespace = _connection()
        # the client would ask a cluster that is off three times more; `patiently` has a patience
        # of its own
        configuration.retries = False
        self._platform = platform
        self._server = _without_password(configuration.host)
        api = client.ApiClient(configuration)
        self._objects, self._core = client.CustomObjectsApi(api), client.CoreV1Api(api)
        self.namespace: str = namespace or own_namespace or NAMESPACE

    def where(self, namespace: str) -> str:
        """A namespace, for a sentence."""
        return f'namespace "{namespace}" of {self.name}'

    def create(self, kind: Kind, namespace: str, document: dict) -> dict:
        """Create an object from its document, which is sent as it is; returns it as the cluster has
        it.
        """
        metadata = document.get("metadata") or {}
        name = metadata.get("name") or metadata.get("generateName") or ""
        return self._ask("create", kind, namespace, name, body=document)

    def get(self, kind: Kind, namespace: str, name: str) -> dict:
        """An object as the cluster has it now."""
        return self._ask("get", kind, namespace, name)

    def list(self, kind: Kind, namespace: str, *, labels: str = "", named: str = "") -> dict:
        """The objects of a kind as a list of the API, with `items` and its own `metadata`.

        Args:
            kind: of the objects.
            namespace: where they live.
            labels: a label selector, such as `app=a`.
            named: the name of the only one that is meant.
        """
        return self._ask("list", kind, namespace, **_selectors(labels, named))

    def delete(self, kind: Kind, namespace: str, name: str) -> None:
        """Ask for the deletion of an object, which may take its time."""
        self._ask("delete", kind, namespace, name)

    def until_gone(
        self, kind: Kind, namespace: str, deadline: float, *, labels: str = "", named: str = ""
    ) -> Sequence[str]:
        """Wait until no such object is there; returns the names of those that still are at the
        deadline, a monotonic time. The selectors are those of `list`.
        """
        while True:
            listed = self.patiently(
                lambda: self.list(kind, namespace, labels=labels, named=named), deadline
            )
            left = [item["metadata"]["name"] for item in listed["items"]]
            if not left or time.monotonic() >= deadline:
                return left
            time.sleep(max(0, min(PAUSE, deadline - time.monotonic())))

    def pods(self, namespace: str, labels: str) -> "Sequence[V1Pod]":
        """The Pods that a label selector chooses, in no order."""
        with self._asking("list", POD, namespace):
            return self._core.list_namespaced_pod(
                namespace, label_selector=labels, _request_timeout=ANSWER_WITHIN
            ).items

    def pods_of_job(self, job: str, namespace: str) -> "Sequence[V1Pod]":
        """The Pods that a Job has made, in no order."""
        for label in JOB_LABELS:
            if pods := self.pods(namespace, f"{label}={job}"):
                return pods
        return []

    def log(self, pod: str, namespace: str, container: str) -> str:
        """What a container has printed so far."""
        with self._asking("get", LOG, namespace, pod):
            answer = self._core.read_namespaced_pod_log(
                pod,
                namespace,
                container=container,
                # else the client takes a log that is valid JSON for an object
                _preload_content=False,
                _request_timeout=ANSWER_WITHIN,
            )
            return answer.data.decode("utf-8", errors="replace")

    def changes(self, kind: Kind, namespace: str, name: str, deadline: float) -> Iterator[dict]:
        """An object as it is now, then as it is after each change, until the deadline, a monotonic
        time.

        Each round looks and then watches from where it looked (the way of
        https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes),
        so that no change is lost between two watches, however the first one ended.
        """
        from kubernetes.client import ApiException
        from kubernetes.watch import Watch
        from urllib3.exceptions import HTTPError

        seen = None
        while True:
            begin = time.monotonic()
            if seen is None:
                # what is not there is a refusal, and the first look has no patience
                self.get(kind, namespace, name)
            listed = self.patiently(lambda: self.list(kind, namespace, named=name), deadline)
            if not listed["items"]:
                raise self._deleted(kind, namespace, name)
            thing = listed["items"][0]
            if thing["metadata"]["resourceVersion"] != seen:
                seen = thing["metadata"]["resourceVersion"]
                yield thing
            if (seconds := min(WATCH_SECONDS, deadline - time.monotonic())) <= 0:
                return
            try:
                for event in Watch().stream(
                    self._objects.list_namespaced_custom_object,
                    kind.group,
                    kind.version,
                    namespace,
                    kind.plural,
                    **_selectors(named=name),
                    resource_version=listed["metadata"]["resourceVersion"],
                    timeout_seconds=math.ceil(seconds),
                    _request_timeout=(ANSWER_WITHIN[0], seconds),
                ):
                    thing = event["raw_object"]
                    if event["type"] == "DELETED":
                        raise self._deleted(kind, namespace, name)
                    if (
                        event["type"] in ("ADDED", "MODIFIED")
                        and thing["metadata"]["resourceVersion"] != seen
                    ):
                        seen = thing["metadata"]["resourceVersion"]
                        yield thing
            except ApiException as error:
                refusal = self._refusal(error, "watch", kind, namespace, name)
                # 410: where we looked is too long ago
                if error.status != 410 and not isinstance(refusal, AwayError):
                    raise refusal from None
            except (HTTPError, OSError):
                # cut, or silent for too long: the next look says whether the cluster is still there
                pass
            time.sleep(max(0, min(begin + PAUSE, deadline) - time.monotonic()))

    @staticmethod
    def patiently(ask: Callable[[], Answer], deadline: float) -> Answer:
        """Ask again, ever more slowly, while the cluster is out of reach: for two minutes, or until
        the deadline.
        """
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(AwayError),
            wait=tenacity.wait_exponential(PAUSE, max=10 * PAUSE),
            stop=tenacity.stop_after_delay(min(AWAY_SECONDS, max(0, deadline - time.monotonic()))),
            reraise=True,
        )(ask)

    def _ask(
        self, verb: str, kind: Kind, namespace: str, name: str = "", **options: object
    ) -> dict:
        call = getattr(self._objects, f"{verb}_namespaced_custom_object")
        if verb in ("get", "delete"):
            options["name"] = name
        with self._asking(verb, kind, namespace, name):
            answer = call(
                kind.group,
                kind.version,
                namespace,
                kind.plural,
                _request_timeout=ANSWER_WITHIN,
                **options,
            )
        if not isinstance(answer, dict):
            raise self._no_kubernetes()
        return answer

    @contextmanager
    def _asking(self, verb: str, kind: Kind, namespace: str, name: str = "") -> Iterator[None]:
        """Turn whatever goes wrong between us and the cluster into a sentence."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            yield
        except ApiException as error:
            raise self._refusal(error, verb, kind, namespace, name) from None
        except (HTTPError, OSError) as error:
            raise self._no_answer(error) from None

    def _refusal(
        self, error: "ApiException", verb: str, kind: Kind, namespace: str, name: str
    ) -> CourseError:
        """What the API server's status code means here. It says why in a Status object."""
        try:
            status = json.loads(error.body)
            details, said = status.get("details") or {}, status.get("message") or ""
        except (TypeError, ValueError, AttributeError):  # no body, or not that of a Kubernetes API
            details, said = {}, error.reason or ""
        said = " ".join(said.split()).rstrip(".")
        where, resource = self.where(namespace), kind.resource
        what = f'{kind.name} "{name}" in {where}'
        if error.status == 0:  # how the client tells of TLS
            return self._no_tls(said)
        if "denied the request" in said:
            reason = said.partition("denied the request")[2].lstrip(": ")
            return CourseError(
                f"{what} is refused by the cluster's admission check: {reason}; mend the document,"
                " and create it again."
            )
        if "failed calling webhook" in said:
            return AwayError(
                f"{what} could not be checked, because {self._platform.checker} does not answer"
                f" ({said}); {self._platform.checker_advice}."
            )
        match error.status:
            case 401 | 403 if error.status == 401 or "system:anonymous" in said:
                return CourseError(
                    f"{self.name} at {self._server} does not accept your credentials"
                    f" ({error.status}); log in to it again, and see `kubectl auth whoami`."
                )
            case 403 if "cannot " in said:
                return CourseError(
                    f"you may not {verb} {resource} in {where}; ask its administrator for a"
                    f" Role there with the verb {verb} on {resource}, and try `kubectl auth"
                    f" can-i {verb} {resource} -n {namespace}`."
                )
            case 404 if details.get("kind") == "namespaces":
                return CourseError(
                    f"there is no {where}; make it with `kubectl create namespace {namespace}`"
                    f"{self._platform.namespace_advice.format(namespace=namespace)}."
                )
            case 404 if not details.get("name") and kind.group:
                return CourseError(
                    f"{self._platform.name} is not installed on {self.name}, which does not know"
                    f" {kind.group}/{kind.version} {kind.plural}; install {self._platform.name}"
                    " there, or set WORKSHOP_TARGET=laptop to run here."
                )
            case 404:
                return AbsentError(
                    f"there is no {what}; `kubectl get {resource.partition('/')[0]} -n"
                    f" {namespace}` lists those that are."
                )
            case 409 if "being deleted" in said:
                return CourseError(
                    f"{what} is still being deleted; create it again when it is gone, or give it"
                    " another metadata.name."
                )
            case 409:
                return CourseError(
                    f"{what} exists already; give yours another metadata.name, or delete that one"
                    " first."
                )
            case 400 if kind == LOG:
                return CourseError(
                    f"{what} has no log yet: {said}; ask again in a moment or, if it stays so, see"
                    f" `kubectl describe pod {name} -n {namespace}`."
                )
            case 400 | 403 | 422:
                return CourseError(
                    f"{what} is refused by the API server: {said}; mend that, and try again."
                )
            case code if code == 429 or code >= 500:
                return AwayError(
                    f"{self.name} at {self._server} cannot answer now ({code}: {said}); try"
                    " again in a minute."
                )
            case _:
                return self._no_kubernetes()

    def _no_answer(self, error: Exception) -> CourseError:
        """Why no answer came."""
        from urllib3.exceptions import SSLError

        if isinstance(error, SSLError):
            return self._no_tls(str(error))
        reason = why_no_answer(error)
        return AwayError(
            f"{self.name} at {self._server} does not answer ({reason}); start it, or choose"
            " another with `kubectl config use-context`, or set WORKSHOP_TARGET=laptop to run"
            " here."
        )

    def _no_tls(self, said: str) -> CourseError:
        return CourseError(
            f"{self.name} at {self._server} cannot be trusted ({why_no_trust(said)}); check"
            " `server` and `certificate-authority` in the kubeconfig, or have the cluster write it"
            " again (on kind: `kind export kubeconfig`)."
        )

    def _no_kubernetes(self) -> CourseError:
        return CourseError(
            f"what answers at {self._server} for {self.name} is not a Kubernetes API; mend"
            " `server` in the kubeconfig, or log in again."
        )

    def _deleted(self, kind: Kind, namespace: str, name: str) -> CourseError:
        return CourseError(
            f'{kind.name} "{name}" in {self.where(namespace)} was deleted while it was waited for;'
            " create it again."
        )


def why_no_answer(error: Exception) -> str:
    """Why no answer came, for the brackets of a sentence; `error` is what urllib3 raises."""
    from urllib3 import exceptions

    reasons = {
        exceptions.NameResolutionError: "its name cannot be resolved",
        exceptions.NewConnectionError: (
            str(error).rpartition("] ")[2]
        ),  # "… [Errno 111] Connection refused"
        exceptions.TimeoutError: "no answer in time",
    }
    return next(
        (words for kind, words in reasons.items() if isinstance(error, kind)),
        "the connection is cut",
    )


def why_no_trust(said: str) -> str:
    """What OpenSSL finds wrong, for the brackets of a sentence; `said` is the error's text."""
    return re.sub(r"^.*\[SSL[^]]*\] *| *\(_ssl\.c.*$", "", " ".join(said.split()))


def _selectors(labels: str = "", named: str = "") -> dict[str, str]:
    """The selectors of a list or a watch, as the client takes them."""
    made = {"label_selector": labels} if labels else {}
    return made | ({"field_selector": f"metadata.name={named}"} if named else {})


def _without_password(address: str) -> str:
    return re.sub(r"//.*@", "//", address)


def _connection() -> "tuple[Configuration, str, str | None]":
    """The cluster's address and our credentials, what people call the cluster, and the namespace
    that comes with it.
    """
    from kubernetes import client, config
    from kubernetes.config import incluster_config
    from urllib3.exceptions import LocationValueError
    from urllib3.util import parse_url

    configuration = client.Configuration()
    account = Path(incluster_config.SERVICE_TOKEN_FILENAME)
    if account.is_file():
        try:
            config.load_incluster_config(configuration)
        except (config.ConfigException, OSError) as error:
            raise CourseError(
                f"this Pod's service account in {account.parent} cannot be used ({error}); start"
                " the Pod again."
            ) from None
        named = account.with_name("namespace")
        return (
            configuration,
            "this Pod's cluster",
            named.read_text(encoding="utf-8").strip() if named.is_file() else None,
        )
    files = os.environ.get("KUBECONFIG") or "~/.kube/config"
    if not any(Path(file).expanduser().is_file() for file in files.split(os.pathsep) if file):
        raise CourseError(
            f"no cluster is known here, because there is no kubeconfig at {files}; have your"
            " cluster write one (on kind: `kind export kubeconfig`), name another in the"
            " environment variable KUBECONFIG, or set WORKSHOP_TARGET=laptop to run here."
        )
    try:
        _, context = config.list_kube_config_contexts(files)
        config.load_kube_config(files, client_configuration=configuration)
    except (
        config.ConfigException,
        yaml.YAMLError,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        # Not the whole message: it may quote the user's entry, token and all.
        expected = re.search(
            r"[Ee]xpected (key|object with name) \S+|File does not exist: \S+", str(error)
        )
        reason = expected.group() if expected else "it is not as kubectl writes it"
        raise CourseError(
            f"the kubeconfig {files} cannot be used ({reason}); see `kubectl config get-contexts`"
            " and `kubectl config view`."
        ) from None
    usable = False
    with suppress(LocationValueError):
        address = parse_url(configuration.host)
        usable = address.scheme in ("http", "https") and bool(address.host)
    if not usable:
        server = _without_password(configuration.host)
        raise CourseError(
            f'in the kubeconfig {files}, `server` of context "{context["name"]}" is "{server}"; it'
            " must be an address that begins with https://."
        )
    return (
        configuration,
        f'the cluster of context "{context["name"]}"',
        context["context"].get("namespace"),
    )
