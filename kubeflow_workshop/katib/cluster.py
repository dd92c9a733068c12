"""The door to a cluster: the same Experiment, created and watched through the Kubernetes API."""

import math
import re
import time
from contextlib import suppress

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.katib import Watch, rules, spec
from kubeflow_workshop.kube import Kind, Kube, Platform
from kubeflow_workshop.objects import AbsentError, conditions, state

GROUP, VERSION = spec.API_VERSION.split("/")
EXPERIMENT = Kind("Experiment", "experiments", GROUP, VERSION)
TRIAL = Kind("Trial", "trials", GROUP, VERSION)
KATIB = Platform(
    "Katib",
    checker="Katib's controller",
    checker_advice="wait until `kubectl get pods -n kubeflow` shows it Ready",
    namespace_advice=(
        ", then let Katib read metrics there with `kubectl label namespace {namespace}"
        " katib.kubeflow.org/metrics-collector-injection=enabled`"
    ),
)
COLLECTOR = "metrics-logger-and-collector"
"""The container that Katib puts beside the primary one. The collector StdOut sends the program's
output to a file, and this container prints it.
"""
COLLECTOR_HEADER = re.compile(r"^[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ [^ \]]+:\d+\] ", re.MULTILINE)
"""What that container puts before each line, such as `I1124 08:17:36.123456      14 main.go:139] `.
"""
COLLECTOR_OWN = re.compile(
    r"\AI.*\] Trial Name: .*\n|^W\d{4} .*file-metricscollector\.go:\d+\] .*\n?"
    r"|^I\d{4} .*\] Metrics reported\. :\nmetric_logs:[\s\S]*",
    re.MULTILINE,
)
"""What it says for itself, as Katib 0.19 has it: whose trial it is, that the lines have no time,
and at the end all metrics once more. How it fails stays.
"""
TOO_SHORT = "unable to find main pid from the process list"
"""What the collector says when the program had ended before the collector began."""

COMPLETED = {"Succeeded", "Failed", "Killed", "EarlyStopped", "MetricsUnavailable"}
"""How a trial may have ended."""
DELETED_WITHIN = 120
"""Seconds that a deletion may take."""


class Cluster:
    """Katib on a cluster: a `katib.Door`, as `laptop.Laptop` is another.

    Taught in notebook 05. Which cluster that is, is said in `kube`.

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
        self._kube = Kube(KATIB, namespace)
        self.namespace = self._kube.namespace
        self._namespaces: dict[str, str] = {}

    def create(self, document: dict, *, replace: bool = False) -> str:
        """Create an Experiment from its document, which is sent as it is.

        Args:
            document: a `kubeflow.org/v1beta1` Experiment; `metadata.namespace` goes before this
                door's namespace.
            replace: delete the Experiment of that name first, if there is one.

        Returns:
            The Experiment's name; the cluster chooses it where the document has
            `metadata.generateName`.

        Raises:
            CourseError: as the class says; and if the name is taken, the namespace does not exist,
                or Katib refuses the document.
        """
        metadata = document.get("metadata") or {}
        namespace = metadata.get("namespace") or self.namespace
        if replace and (name := metadata.get("name")):
            with suppress(AbsentError):
                self._delete(name, namespace)
        created = self._kube.create(EXPERIMENT, namespace, document)
        name = created["metadata"]["name"]
        self._namespaces[name] = namespace
        return name

    def get(self, name: str) -> dict:
        """The Experiment with its status, as the cluster has it now.

        Raises:
            CourseError: as the class says; and if there is no such Experiment.
        """
        return self._kube.get(EXPERIMENT, self._namespace(name), name)

    def experiments(self) -> list[dict]:
        """The Experiments of this door's namespace, by name."""
        listed = self._kube.list(EXPERIMENT, self.namespace)
        return sorted(listed["items"], key=lambda experiment: experiment["metadata"]["name"])

    def trials(self, name: str) -> list[dict]:
        """The Katib Trial objects of an Experiment, oldest first; none if it has none yet."""
        listed = self._kube.list(TRIAL, self._namespace(name), labels=_trials_of(name))
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
        output from it, of the collector's container without the times that it puts before each line
        and without what it says for itself, unless it failed.

        Args:
            trial: the name of a Trial. Its Job's Pod is read, the newest if the Job has tried
                several times.

        Raises:
            CourseError: as the class says; and if the trial has no Pod yet or no more, or its
                container has not started.
        """
        found = self._trial(trial)
        namespace, content = found["metadata"]["namespace"], found["spec"]
        pods = self._kube.pods_of_job(trial, namespace)
        where = self._kube.where(namespace)
        if not pods and conditions(found) & COMPLETED:
            raise CourseError(
                f'the Pod of Trial "{trial}" in {where} is gone, because Katib deletes the Job of a'
                " trial that has ended; to keep the logs of the next ones, set"
                " spec.trialTemplate.retain to true in the Experiment."
            )
        if not pods:
            raise CourseError(
                f'Trial "{trial}" in {where} has no Pod yet; ask again when it is Running.'
            )
        newest = max(pods, key=lambda pod: pod.metadata.creation_timestamp)
        collected = rules.collector_kind(
            content.get("metricsCollector", {})
        ) == "StdOut" and COLLECTOR in {container.name for container in newest.spec.containers}
        text = self._kube.log(
            newest.metadata.name,
            namespace,
            COLLECTOR if collected else content["primaryContainerName"],
        )
        if not collected:
            return text
        text = COLLECTOR_HEADER.sub("", COLLECTOR_OWN.sub("", text))
        if TOO_SHORT in text:
            text += (
                f'Trial "{trial}" failed because its program had ended before Katib\'s collector,'
                " which starts beside it, could find it; let the program run for some seconds"
                " (`sleep 10` at its end will do).\n"
            )
        return text

    def wait(self, name: str, watch: Watch | None = None, timeout: float | None = None) -> dict:
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
        # each change of a trial is one of its Experiment, whose status counts and lists the trials
        for experiment in self._kube.changes(EXPERIMENT, self._namespace(name), name, deadline):
            if watch:
                watch(experiment, self._kube.patiently(lambda: self.trials(name), deadline))
            if conditions(experiment) & {"Succeeded", "Failed"}:
                return experiment
        raise CourseError(
            f"{self._found(experiment)} after {timeout:g} seconds, and it goes on there; wait again"
            " with a longer timeout, or end it with delete."
        )

    def delete(self, name: str) -> None:
        """Delete an Experiment, and return when it is gone with its Trials: Katib counts the Trials
        of an earlier Experiment of the same name among those of a new one.

        Raises:
            CourseError: as the class says; and if there is no such Experiment, or it is not gone
                after two minutes: the deletion then goes on.
        """
        self._delete(name, self._namespace(name))
        self._namespaces.pop(name, None)

    def _delete(self, name: str, namespace: str) -> None:
        deadline = time.monotonic() + DELETED_WITHIN
        self._kube.delete(EXPERIMENT, namespace, name)
        left = [
            *self._kube.until_gone(EXPERIMENT, namespace, deadline, named=name),
            *self._kube.until_gone(TRIAL, namespace, deadline, labels=_trials_of(name)),
        ]
        if left:
            raise CourseError(
                f'Experiment "{name}" in {self._kube.where(namespace)} is still being deleted after'
                f" {DELETED_WITHIN:g} seconds (still there: {', '.join(left)}), and that goes on;"
                " try again later or, if it stays so, see"
                f" `kubectl describe {EXPERIMENT.resource} {name} -n {namespace}`."
            )

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

    def _found(self, experiment: dict) -> str:
        """Which Experiment it is, where, and how far."""
        metadata, status = experiment["metadata"], experiment.get("status", {})
        now = state(experiment)
        how_far = f"is {now}" if now else "has not been noticed by Katib's controller"
        trials = (
            f"{status.get('trialsSucceeded', 0)} of"
            f" {experiment['spec'].get('maxTrialCount', 'any number of')} trials succeeded"
        )
        return (
            f'Experiment "{metadata["name"]}" in {self._kube.where(metadata["namespace"])}'
            f" {how_far} with {trials}"
        )

    def _trial(self, name: str) -> dict:
        """A Trial by its name, in whichever namespace this door has created Experiments."""
        for namespace in {*self._namespaces.values()} - {self.namespace}:
            if listed := self._kube.list(TRIAL, namespace, named=name)["items"]:
                return listed[0]
        return self._kube.get(TRIAL, self.namespace, name)


def _trials_of(experiment: str) -> str:
    """The label selector of an Experiment's Trials."""
    return f"katib.kubeflow.org/experiment={experiment}"
