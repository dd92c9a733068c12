"""One trial: its object, the program that is run for it, and how it ended.

Taught in notebook 05. The part of Katib's trial controller and of its metrics collector, with a
process in the place of the Pod.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kubeflow_workshop.katib import metrics, spec, workers
from kubeflow_workshop.katib.plan import Plan, expand, run_spec, substitute, values_of
from kubeflow_workshop.katib.spec import View
from kubeflow_workshop.katib.store import Store
from kubeflow_workshop.objects import now, with_condition
from kubeflow_workshop.process import Program

_TAIL = 8
"""Lines of a failed trial's log that are shown."""


def new_trial(
    name: str, experiment: Mapping, view: View, assignment: Mapping[str, str], rule: Mapping | None
) -> dict:
    """A Trial object, created and not yet begun.

    Args:
        name: its own.
        experiment: the Experiment, with its name and namespace.
        view: what the Experiment says.
        assignment: a value for each parameter of the search space.
        rule: of the early stopping; None without one.
    """
    metadata = {
        "name": name,
        "namespace": experiment["metadata"]["namespace"],
        "labels": {"katib.kubeflow.org/experiment": experiment["metadata"]["name"]},
        "creationTimestamp": now(precise=True),
    }
    content = {
        "objective": view.objective,
        "parameterAssignments": [
            {"name": key, "value": value} for key, value in assignment.items()
        ],
        **({"earlyStoppingRules": [rule]} if rule else {}),
        "metricsCollector": view.collector,
        "primaryContainerName": view.template["primaryContainerName"],
        "successCondition": view.template.get("successCondition", spec.SUCCESS),
        "failureCondition": view.template.get("failureCondition", spec.FAILURE),
    }
    trial = {
        "apiVersion": spec.API_VERSION,
        "kind": "Trial",
        "metadata": metadata,
        "spec": content,
        "status": {"conditions": [], "startTime": now()},
    }
    content["runSpec"] = run_spec(trial, view)
    return with_condition(trial, "Created", "TrialCreated", "Trial is created")


@dataclass
class _Attempt:
    """What a trial's program has said so far."""

    seen: metrics.Observation
    tail: deque = field(default_factory=lambda: deque(maxlen=_TAIL))
    code: int | None = None
    early: bool = False
    late: bool = False
    trouble: str = ""


class Runner:
    """Runs the trials of one search, several at a time if it is asked to."""

    def __init__(
        self,
        view: View,
        planned: Plan,
        store: Store,
        stopping: metrics.MedianStop | None,
        keep: Callable[[dict], None],
    ):
        """Nothing runs yet.

        Args:
            view: what the Experiment says.
            planned: how its trials are run here.
            store: where their logs go.
            stopping: the rule of the early stopping; None without one.
            keep: called with each new state of a Trial object.
        """
        self._view, self._plan, self._store = view, planned, store
        self._stopping, self._keep = stopping, keep
        self._collector = metrics.Collector(view.content)
        self._stopped = threading.Event()
        self._programs: dict[str, Program] = {}

    def end(self) -> None:
        """End the trials that run, which count as killed, and begin no more."""
        self._stopped.set()
        for program in list(self._programs.values()):
            program.end()

    @property
    def ended(self) -> bool:
        """Whether no more trials begin."""
        return self._stopped.is_set()

    def run(self, trial: dict, server: "workers.Server | workers.Fresh") -> metrics.Observation:
        """Run a trial to its end; returns what it reported."""
        if self.ended:
            self._keep(with_condition(trial, "Killed", "TrialKilled", "Trial is killed"))
            return self._unseen()
        name = trial["metadata"]["name"]
        file = self._store.metrics(name) if self._view.metrics_file else None
        command, environment = self._program(trial, file)
        trial = with_condition(trial, "Running", "TrialRunning", "Trial is running")
        self._keep(trial)
        began = time.monotonic()
        rule = next(iter(trial["spec"].get("earlyStoppingRules", [])), None)
        for _ in range(self._plan.attempts):
            if file:
                file.unlink(missing_ok=True)  # each Pod of a Job begins with none
            attempt = self._attempt(name, server, command, environment, file, began, rule)
            if attempt.code == 0 or attempt.early or attempt.late or self.ended:
                break
        self._finish(trial, attempt)
        return attempt.seen

    def _unseen(self) -> metrics.Observation:
        return metrics.Observation(
            self._view.metrics, self._stopping.start_step if self._stopping else 0
        )

    def _program(self, trial: Mapping, file: Path | None) -> tuple[list[str], dict[str, str]]:
        """The command and the variables of a trial; the metrics file in them is its own."""
        values = values_of(trial, self._view)

        def swap(text: str) -> str:
            where = self._view.metrics_file
            return text.replace(where, str(file)) if where else text

        environment = {
            key: swap(text) for key, text in substitute(self._plan.environment, values).items()
        }
        command = [
            swap(expand(word, environment)) for word in substitute(self._plan.command, values)
        ]
        return command, environment

    def _attempt(
        self,
        name: str,
        server: "workers.Server | workers.Fresh",
        command: list[str],
        environment: dict[str, str],
        file: Path | None,
        began: float,
        rule: Mapping | None,
    ) -> _Attempt:
        """Start the program once, and read it until it ends; the trial began at the monotonic time
        `began`.
        """
        attempt = _Attempt(self._unseen())
        read = 0
        try:
            program = self._programs[name] = server.start(command, self._plan.folder, environment)
        except workers.ServerGoneError as error:
            attempt.code = -1
            attempt.tail.append(str(error))
            return attempt
        if self.ended:
            program.end()
        with self._store.log(name).open("a", encoding="utf-8") as log:
            for line in program.lines(patience=0.2):
                log.write(line)
                log.flush()
                if line:
                    attempt.tail.append(line.rstrip())
                if file:
                    read = self._collect_file(attempt, file, read, rule)
                elif line:
                    self._collect(attempt, line, rule)
                if (
                    self._plan.deadline
                    and time.monotonic() - began > self._plan.deadline
                    and not attempt.late
                ):
                    attempt.late = True
                    program.end()
                if attempt.early:
                    program.end()
        attempt.code = program.wait()
        del self._programs[name]
        if file:
            self._collect_file(attempt, file, read, rule, last=True)
        return attempt

    def _collect(self, attempt: _Attempt, line: str, rule: Mapping | None) -> None:
        if attempt.early:  # what it prints while it is being ended comes too late
            return
        try:
            reports = self._collector.read(line)
        except ValueError as error:
            attempt.trouble = f"a line of its metrics file is no JSON object ({error})"
            return
        for report in reports:
            attempt.seen.add(report)
            if (
                rule
                and self._stopping
                and report.name == self._view.metrics[0]
                and self._stopping.stops(rule, attempt.seen)
            ):
                attempt.early = True
                return

    def _collect_file(
        self, attempt: _Attempt, file: Path, read: int, rule: Mapping | None, last: bool = False
    ) -> int:
        """Read the whole lines that are new since the byte `read`; returns where they end."""
        if not file.is_file():
            return read
        with file.open("rb") as content:
            content.seek(read)
            new = content.read()
        whole = new if last else new[: new.rfind(b"\n") + 1]
        for line in whole.decode(errors="replace").splitlines():
            self._collect(attempt, line, rule)
        return read + len(whole)

    def _finish(self, trial: dict, attempt: _Attempt) -> None:
        """Give a trial its last condition, and its observation if it has one."""
        observed: list[dict] | None = attempt.seen.metrics()
        value = metrics.objective_value(observed, self._view.objective)
        if self.ended and attempt.code != 0:
            kind, reason, message, observed = "Killed", "TrialKilled", "Trial is killed", None
        elif attempt.early:
            kind, reason, message = "EarlyStopped", "TrialEarlyStopped", "Trial is early stopped"
        elif attempt.code != 0:
            what = (
                f"it ran longer than activeDeadlineSeconds, {self._plan.deadline:g}"
                if attempt.late
                else f"exit code {attempt.code}"
            )
            said = "".join(f"\n  {line}" for line in attempt.tail)
            kind, reason, message, observed = (
                "Failed",
                "TrialFailed",
                f"Trial has failed: {what}; the end of its log:{said or ' (nothing)'}",
                None,
            )
        elif value is None or attempt.trouble:
            kind, reason, message = (
                "MetricsUnavailable",
                "MetricsUnavailable",
                f"Metrics are not available: {attempt.trouble or self._missing(attempt)}",
            )
        else:
            kind, reason, message = "Succeeded", "TrialSucceeded", "Trial has succeeded"
        status = (
            trial["status"]
            | {"completionTime": now()}
            | ({"observation": {"metrics": observed}} if observed else {})
        )
        self._keep(with_condition(trial | {"status": status}, kind, reason, message))

    def _missing(self, attempt: _Attempt) -> str:
        name = self._view.metrics[0]
        if (last := attempt.seen.latest) is not None:
            return f"the last {name} is {last!r}, which is no number"
        if self._view.metrics_file:
            return (
                f"{name} is not in the file {self._view.metrics_file} (as text in quotes, if it"
                " is JSON), or nothing was written to it"
            )
        return f"the log has no line {name}=NUMBER"
