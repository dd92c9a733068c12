"""The door to a cluster: the same Experiment, created and watched through the Kubernetes API."""

import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tenacity
import yaml

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.target import NAMESPACE

if TYPE_CHECKING:  # the client takes half a second to import
    from kubernetes.client import ApiException, Configuration, V1Pod

GROUP, VERSION = "kubeflow.org", "v1beta1"
KINDS = {"experiments": "Experiment", "trials": "Trial", "pods": "Pod", "pods/log": "Pod"}
JOB_LABELS = ("batch.kubernetes.io/job-name", "job-name")
"""How a Job marks its Pods: since Kubernetes 1.27, and before."""
COLLECTOR = "metrics-logger-and-collector"
"""The container that Katib puts beside the primary one. The collector StdOut sends the program's
output to a file, and this container prints it.
"""
COLLECTOR_HEADER = re.compile(r"^[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ [^ \]]+:\d+\] ", re.MULTILINE)
"""What that container puts before each line, such as `I1124 08:17:36.123456      14 main.go:139] `.
"""

ANSWER_WITHIN = (5, 30)
"""Seconds to connect, and to wait for more of an answer."""
WATCH_SECONDS = 60
"""How long one watch lasts before the next: no longer does a connection that died unnoticed delay
the news.
"""
PAUSE = 1.0
"""Seconds between two watches at least, should something on the way cut each at once."""
AWAY_SECONDS = 120
"""How long the cluster may be out of reach while an Experiment is waited for."""


class Cluster:
    """Katib on a cluster; it has the methods of the laptop's door.

    Taught in notebook 05. In a Pod with a service account it speaks to the Pod's own cluster as
    that account; elsewhere to the current context of the kubeconfig, which is `$KUBECONFIG` or
    `~/.kube/config`, as kubectl does.

    Args:
        namespace: where Experiments live that do not say; None means the namespace of the service
            account or of the context and, where that names none, `kubeflow-workshop`.

    Raises:
        CourseError: if there is no kubeconfig, or it cannot be used. Every method raises it, too,
            when the cluster cannot be reached, does not let us in, lacks Katib, or refuses: one
            sentence with what, where, and what to do.
    """

    def __init__(self, namespace: str | None = None):
        """Find the cluster; nothing is sent to it yet."""
        from kubernetes import client

        configuration, self._cluster, own_namespace = _connection()
        # the client would ask a cluster that is off three times more; `wait` has a patience of its
        # own
        configuration.retries = False
        self._server = _without_password(configuration.host)
        api = client.ApiClient(configuration)
        self._objects, self._core = client.CustomObjectsApi(api), client.CoreV1Api(api)
        self.namespace = namespace or own_namespace or NAMESPACE
        self._namespaces: dict[str, str] = {}

    def create(self, document: dict) -> str:
        """Create an Experiment from its document, which is sent as it is.

        Args:
            document: a `kubeflow.org/v1beta1` Experiment; `metadata.namespace` goes before this
                door's namespace.

        Returns:
            The Experiment's name; the cluster chooses it where the document has
            `metadata.generateName`.

        Raises:
            CourseError: as the class says; and if the name is taken, the namespace does not exist,
                or Katib refuses the document.
        """
        metadata = document.get("metadata") or {}
        namespace = metadata.get("namespace") or self.namespace
        created = self._ask(
            "create",
            "experiments",
            namespace,
            metadata.get("name") or metadata.get("generateName") or "",
            body=document,
        )
        name = created["metadata"]["name"]
        self._namespaces[name] = namespace
        return name

    def get(self, name: str) -> dict:
        """The Experiment with its status, as the cluster has it now.

        Raises:
            CourseError: as the class says; and if there is no such Experiment.
        """
        return self._ask("get", "experiments", self._namespace(name), name)

    def trials(self, name: str) -> list[dict]:
        """The Katib Trial objects of an Experiment, oldest first; none if it has none yet."""
        listed = self._ask(
            "list",
            "trials",
            self._namespace(name),
            label_selector=f"katib.kubeflow.org/experiment={name}",
        )
        return sorted(
            listed["items"],
            key=lambda trial: (trial["metadata"]["creationTimestamp"], trial["metadata"]["name"]),
        )

    def best(self, name: str) -> dict:
        """The best trial so far, `status.currentOptimalTrial`: `bestTrialName`,
        `parameterAssignments`, `observation`.

        Raises:
            CourseError: as the class says; and if no trial has succeeded yet.
        """
        experiment = self.get(name)
        best = experiment.get("status", {}).get("currentOptimalTrial") or {}
        if not best.get("bestTrialName"):  # Katib writes an empty one at first
            raise CourseError(
                f"{self._found(experiment)}, so it has no best trial yet; wait until one has"
                " succeeded."
            )
        return best

    def logs(self, trial: str) -> str:
        """What a trial's program has printed so far.

        That is the log of the trial's primary container or, where Katib's collector StdOut took the
        output from it, of the collector's container without the times that it puts before each
        line; the collector adds a first and a last line of its own.

        Args:
            trial: the name of a Trial. Its Job's Pod is read, the newest if the Job has tried
                several times.

        Raises:
            CourseError: as the class says; and if the trial has no Pod yet or no more, or its
                container has not started.
        """
        found = self._trial(trial)
        namespace, spec = found["metadata"]["namespace"], found["spec"]
        pods = self._pods(trial, namespace)
        if not pods and _true_conditions(found) & {
            "Succeeded",
            "Failed",
            "Killed",
            "EarlyStopped",
            "MetricsUnavailable",
        }:
            raise CourseError(
                f'the Pod of Trial "{trial}" in {self._where(namespace)} is gone, because Katib'
                " deletes the Job of a trial that has ended; to keep the logs of the next ones,"
                " set spec.trialTemplate.retain to true in the Experiment."
            )
        if not pods:
            raise CourseError(
                f'Trial "{trial}" in {self._where(namespace)} has no Pod yet; ask again when it is'
                " Running."
            )
        pod = max(pods, key=lambda pod: pod.metadata.creation_timestamp)
        stdout = (
            spec.get("metricsCollector", {}).get("collector", {}).get("kind", "StdOut") == "StdOut"
        )
        collected = stdout and COLLECTOR in {container.name for container in pod.spec.containers}
        with self._asking("get", "pods/log", namespace, pod.metadata.name):
            answer = self._core.read_namespaced_pod_log(
                pod.metadata.name,
                namespace,
                container=COLLECTOR if collected else spec["primaryContainerName"],
                # else the client takes a log that is valid JSON for an object
                _preload_content=False,
                _request_timeout=ANSWER_WITHIN,
            )
            text = answer.data.decode("utf-8", errors="replace")
        return COLLECTOR_HEADER.sub("", text) if collected else text

    def wait(
        self,
        name: str,
        watch: Callable[[dict, list[dict]], None] | None = None,
        timeout: float | None = None,
    ) -> dict:
        """Wait until an Experiment has succeeded or failed.

        The cluster sends each change when it happens (a Kubernetes watch); a connection that is cut
        is made again.

        Args:
            name: the Experiment.
            watch: called with the Experiment and its Trials (oldest first) at the beginning and at
                every change.
            timeout: seconds; None waits for ever.

        Returns:
            The finished Experiment: it has a condition Succeeded or Failed with status "True".

        Raises:
            CourseError: as the class says; and if the Experiment is deleted meanwhile, the cluster
                stays out of reach for two minutes, or the time is over: the Experiment then goes
                on.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        experiment: dict = {}
        for experiment in self._changes(name, deadline):
            if watch:
                watch(experiment, self._patiently(lambda: self.trials(name), deadline))
            if _true_conditions(experiment) & {"Succeeded", "Failed"}:
                return experiment
        raise CourseError(
            f"{self._found(experiment)} after {timeout:g} seconds, and it goes on there; wait again"
            " with a longer timeout, or end it with delete."
        )

    def delete(self, name: str) -> None:
        """Delete an Experiment; the cluster then deletes its Trials and their Pods.

        Raises:
            CourseError: as the class says; and if there is no such Experiment.
        """
        self._ask("delete", "experiments", self._namespace(name), name)
        self._namespaces.pop(name, None)

    def ui(self) -> str:
        """Where Katib's own pages are, in a sentence.

        Source: https://www.kubeflow.org/docs/components/katib/user-guides/katib-ui/.
        """
        return (
            "Katib's UI is in the left menu of Kubeflow's dashboard; where Katib is installed"
            " alone, run `kubectl port-forward -n kubeflow svc/katib-ui 8080:80` in a terminal,"
            f" open http://localhost:8080/katib/, and choose namespace {self.namespace}."
        )

    def _namespace(self, name: str) -> str:
        return self._namespaces.get(name, self.namespace)

    def _where(self, namespace: str) -> str:
        return f'namespace "{namespace}" of {self._cluster}'

    def _found(self, experiment: dict) -> str:
        """Which Experiment it is, where, and how far."""
        metadata, status = experiment["metadata"], experiment.get("status", {})
        states = [
            condition["type"]
            for condition in status.get("conditions", [])
            if condition["status"] == "True"
        ]
        state = f"is {states[-1]}" if states else "has not been noticed by Katib's controller"
        trials = (
            f"{status.get('trialsSucceeded', 0)} of"
            f" {experiment['spec'].get('maxTrialCount', 'any number of')} trials succeeded"
        )
        return (
            f'Experiment "{metadata["name"]}" in {self._where(metadata["namespace"])} {state} with'
            f" {trials}"
        )

    def _trial(self, name: str) -> dict:
        """A Trial by its name, in whichever namespace this door has created Experiments."""
        for namespace in {*self._namespaces.values()} - {self.namespace}:
            listed = self._ask("list", "trials", namespace, field_selector=f"metadata.name={name}")[
                "items"
            ]
            if listed:
                return listed[0]
        return self._ask("get", "trials", self.namespace, name)

    def _pods(self, job: str, namespace: str) -> "list[V1Pod]":
        for label in JOB_LABELS:
            with self._asking("list", "pods", namespace):
                pods = self._core.list_namespaced_pod(
                    namespace, label_selector=f"{label}={job}", _request_timeout=ANSWER_WITHIN
                ).items
            if pods:
                return pods
        return []

    def _changes(self, name: str, deadline: float) -> Iterator[dict]:
        """The Experiment as it is now, then as it is after each change, until the deadline.

        Each change of a trial is one of its Experiment, whose status counts and lists the trials.
        Each round looks and then watches from where it looked (the way of
        https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes),
        so that no change is lost between two watches, however the first one ended.
        """
        from kubernetes.client import ApiException
        from kubernetes.watch import Watch
        from urllib3.exceptions import HTTPError

        namespace, only = self._namespace(name), f"metadata.name={name}"
        seen = None
        while True:
            begin = time.monotonic()
            if seen is None:
                # an Experiment that is not there is a refusal, and the first look has no patience
                self.get(name)
            listed = self._patiently(
                lambda: self._ask("list", "experiments", namespace, field_selector=only), deadline
            )
            if not listed["items"]:
                raise self._deleted(name, namespace)
            experiment = listed["items"][0]
            if experiment["metadata"]["resourceVersion"] != seen:
                seen = experiment["metadata"]["resourceVersion"]
                yield experiment
            if (seconds := min(WATCH_SECONDS, deadline - time.monotonic())) <= 0:
                return
            try:
                for event in Watch().stream(
                    self._objects.list_namespaced_custom_object,
                    GROUP,
                    VERSION,
                    namespace,
                    "experiments",
                    field_selector=only,
                    resource_version=listed["metadata"]["resourceVersion"],
                    timeout_seconds=math.ceil(seconds),
                    _request_timeout=(ANSWER_WITHIN[0], seconds),
                ):
                    experiment = event["raw_object"]
                    if event["type"] == "DELETED":
                        raise self._deleted(name, namespace)
                    if (
                        event["type"] in ("ADDED", "MODIFIED")
                        and experiment["metadata"]["resourceVersion"] != seen
                    ):
                        seen = experiment["metadata"]["resourceVersion"]
                        yield experiment
            except ApiException as error:
                refusal = self._refusal(error, "watch", "experiments", namespace, name)
                # 410: where we looked is too long ago
                if error.status != 410 and not isinstance(refusal, _AwayError):
                    raise refusal from None
            except (HTTPError, OSError):
                # cut, or silent for too long: the next look says whether the cluster is still there
                pass
            time.sleep(max(0, min(begin + PAUSE, deadline) - time.monotonic()))

    def _patiently(self, ask: Callable[[], Any], deadline: float) -> Any:
        """Ask again, ever more slowly, while the cluster is out of reach."""
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_AwayError),
            wait=tenacity.wait_exponential(PAUSE, max=10 * PAUSE),
            stop=tenacity.stop_after_delay(min(AWAY_SECONDS, max(0, deadline - time.monotonic()))),
            reraise=True,
        )(ask)

    def _ask(
        self, verb: str, resource: str, namespace: str, name: str = "", **options: object
    ) -> dict:
        call = getattr(self._objects, f"{verb}_namespaced_custom_object")
        if verb in ("get", "delete"):
            options["name"] = name
        with self._asking(verb, resource, namespace, name):
            answer = call(
                GROUP, VERSION, namespace, resource, _request_timeout=ANSWER_WITHIN, **options
            )
        if not isinstance(answer, dict):
            raise self._no_kubernetes()
        return answer

    @contextmanager
    def _asking(self, verb: str, resource: str, namespace: str, name: str = "") -> Iterator[None]:
        """Turn whatever goes wrong between us and the cluster into a sentence."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            yield
        except ApiException as error:
            raise self._refusal(error, verb, resource, namespace, name) from None
        except (HTTPError, OSError) as error:
            raise self._no_answer(error) from None

    def _refusal(
        self, error: "ApiException", verb: str, resource: str, namespace: str, name: str
    ) -> CourseError:
        """What the API server's status code means here. It says why in a Status object."""
        try:
            status = json.loads(error.body)
            details, said = status.get("details") or {}, status.get("message") or ""
        except (TypeError, ValueError, AttributeError):  # no body, or not that of a Kubernetes API
            details, said = {}, error.reason or ""
        said = " ".join(said.split()).rstrip(".")
        where, kind = self._where(namespace), KINDS[resource]
        full_resource = f"{resource}.{GROUP}" if resource in ("experiments", "trials") else resource
        what = f'{kind} "{name}" in {where}'
        if error.status == 0:  # how the client tells of TLS
            return self._no_tls(said)
        if "denied the request" in said:
            reason = said.partition("denied the request")[2].lstrip(": ")
            return CourseError(
                f"{what} is refused by the cluster's admission check: {reason}; mend the document,"
                " and create it again."
            )
        if "failed calling webhook" in said:
            return _AwayError(
                f"{what} could not be checked, because Katib's controller does not answer ({said});"
                " wait until `kubectl get pods -n kubeflow` shows it Ready."
            )
        match error.status:
            case 401 | 403 if error.status == 401 or "system:anonymous" in said:
                return CourseError(
                    f"{self._cluster} at {self._server} does not accept your credentials"
                    f" ({error.status}); log in to it again, and see `kubectl auth whoami`."
                )
            case 403 if "cannot " in said:
                return CourseError(
                    f"you may not {verb} {full_resource} in {where}; ask its administrator for a"
                    f" Role there with the verb {verb} on {full_resource}, and try `kubectl auth"
                    f" can-i {verb} {full_resource} -n {namespace}`."
                )
            case 404 if details.get("kind") == "namespaces":
                return CourseError(
                    f"there is no {where}; make it with `kubectl create namespace {namespace}`,"
                    f" then let Katib read metrics there with `kubectl label namespace {namespace}"
                    " katib.kubeflow.org/metrics-collector-injection=enabled`."
                )
            case 404 if not details.get("name") and full_resource != resource:
                return CourseError(
                    f"Katib is not installed on {self._cluster}, which does not know"
                    f" {GROUP}/{VERSION} {resource}; install Katib there, or set"
                    " WORKSHOP_TARGET=laptop to run here."
                )
            case 404:
                return CourseError(
                    f"there is no {what}; `kubectl get {full_resource.partition('/')[0]} -n"
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
            case 400 if resource == "pods/log":
                return CourseError(
                    f"{what} has no log yet: {said}; ask again in a moment or, if it stays so, see"
                    f" `kubectl describe pod {name} -n {namespace}`."
                )
            case 400 | 403 | 422:
                return CourseError(
                    f"{what} is refused by the API server: {said}; mend that, and try again."
                )
            case code if code == 429 or code >= 500:
                return _AwayError(
                    f"{self._cluster} at {self._server} cannot answer now ({code}: {said}); try"
                    " again in a minute."
                )
            case _:
                return self._no_kubernetes()

    def _no_answer(self, error: Exception) -> CourseError:
        """Why no answer came."""
        from urllib3 import exceptions

        if isinstance(error, exceptions.SSLError):
            return self._no_tls(str(error))
        reasons = {
            exceptions.NameResolutionError: "its name cannot be resolved",
            exceptions.NewConnectionError: (
                str(error).rpartition("] ")[2]
            ),  # "… [Errno 111] Connection refused"
            exceptions.TimeoutError: "no answer in time",
        }
        reason = next(
            (words for kind, words in reasons.items() if isinstance(error, kind)),
            "the connection is cut",
        )
        return _AwayError(
            f"{self._cluster} at {self._server} does not answer ({reason}); start it, or choose"
            " another with `kubectl config use-context`, or set WORKSHOP_TARGET=laptop to run"
            " here."
        )

    def _no_tls(self, said: str) -> CourseError:
        reason = re.sub(r"^.*\[SSL[^]]*\] *| *\(_ssl\.c.*$", "", " ".join(said.split()))
        return CourseError(
            f"{self._cluster} at {self._server} cannot be trusted ({reason}); check `server` and"
            " `certificate-authority` in the kubeconfig, or have the cluster write it again (on"
            " kind: `kind export kubeconfig`)."
        )

    def _no_kubernetes(self) -> CourseError:
        return CourseError(
            f"what answers at {self._server} for {self._cluster} is not a Kubernetes API; mend"
            " `server` in the kubeconfig, or log in again."
        )

    def _deleted(self, name: str, namespace: str) -> CourseError:
        return CourseError(
            f'Experiment "{name}" in {self._where(namespace)} was deleted while it was waited for;'
            " create it again."
        )


class _AwayError(CourseError):
    """The cluster cannot be reached now; a moment later it may."""


def _true_conditions(thing: dict) -> set[str]:
    return {
        condition["type"]
        for condition in thing.get("status", {}).get("conditions", [])
        if condition["status"] == "True"
    }


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
