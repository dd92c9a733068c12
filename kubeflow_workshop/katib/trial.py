"""One trial: its object, the program that is run for it, and how it ended.

Taught in notebook 05. The part of Katib's trial controller and of its metrics collector, with a
process in the place of the Pod. A Pod has its own copy of the image's files, and so has a trial
here: it works in a folder of its own, `STATE/NAME/work/TRIAL`, with copies of the files that lie
where the search was started, and links to folders and to large files. What it has written stays
when it has ended, and copies and links go.
"""

import os
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kubeflow_workshop.katib import metrics, spec, workers
from kubeflow_workshop.katib.plan import (
    Plan,
    expand,
    localise,
    localised,
    run_spec,
    substitute,
    values_of,
)
from kubeflow_workshop.katib.spec import View
from kubeflow_workshop.katib.store import Store
from kubeflow_workshop.objects import now, with_condition
from kubeflow_workshop.process import LONGEST, Program

_TAIL = 8
"""Lines of a failed trial's log that are shown."""
_LONGEST_SHOWN = 500
"""Characters of such a line."""
_LOOK = 1 << 20
"""Bytes of its file that are read at a look."""
_COPIED = 1_000_000
"""Bytes up to which a trial gets a copy of a file and not a link."""
_PATIENCE = 0.2
"""Seconds between looks at a trial that says nothing, and at the file that it writes."""


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
            return self.unseen()
        name = trial["metadata"]["name"]
        file = self._store.metrics(name) if self._view.metrics_file else None
        command, environment = self._program(trial, file)
        trial = with_condition(trial, "Running", "TrialRunning", "Trial is running")
        self._keep(trial)
        began = time.monotonic()
        rule = next(iter(trial["spec"].get("earlyStoppingRules", [])), None)
        folder = (self._store.folder / "work" / name).resolve()
        for _ in range(self._plan.attempts):
            if file:
                file.unlink(missing_ok=True)  # each Pod of a Job begins with none
            attempt = _Attempt(self.unseen())
            _furnish(folder, self._plan.folder)
            try:
                program = server.start(command, folder, environment)
            except (OSError, workers.ServerGoneError) as error:
                attempt.code = -1
                attempt.tail.append(f"{command[0]} cannot be started: {error}")
                break
            self._programs[name] = program
            if self.ended:
                program.end()
            self._follow(name, program, attempt, file, began, rule)
            del self._programs[name]
            if attempt.code == 0 or attempt.early or attempt.late or self.ended:
                break
        _clear(folder, self._plan.folder)
        self._finish(trial, attempt)
        return attempt.seen

    def unseen(self) -> metrics.Observation:
        """What a trial has reported that has not begun."""
        return metrics.Observation(
            self._view.metrics, self._stopping.start_step if self._stopping else 0
        )

    def _program(self, trial: Mapping, file: Path | None) -> tuple[list[str], dict[str, str]]:
        """The command and the variables of a trial; the metrics file in them is its own."""
        values, name = values_of(trial, self._view), trial["metadata"]["name"]
        own = {self._view.metrics_file: str(file)} if self._view.metrics_file else {}
        parent = self._plan.folder.parent
        environment = substitute(self._plan.environment, values)
        words = [
            expand(word, environment | {workers.TRIAL_NAME: name})
            for word in substitute(self._plan.command, values)
        ]
        given = {key: localised(value, own, parent) for key, value in environment.items()}
        return localise(words, own, parent), given | {workers.TRIAL_NAME: name}

    def _follow(
        self,
        name: str,
        program: Program,
        attempt: _Attempt,
        file: Path | None,
        began: float,
        rule: Mapping | None,
    ) -> None:
        """Read a program until it ends; the trial began at the monotonic time `began`."""
        written = _Growing(file) if file else None
        looked = 0.0
        with self._store.log(name).open("a", encoding="utf-8") as log:
            for line in program.lines(_PATIENCE):
                if line:
                    log.write(line)
                    log.flush()
                    attempt.tail.append(line.rstrip()[:_LONGEST_SHOWN])
                moment = time.monotonic()
                if not written:
                    self._collect(attempt, line, rule)
                elif moment - looked >= _PATIENCE:
                    looked = moment
                    for line in written.lines():
                        self._collect(attempt, line, rule)
                if (
                    self._plan.deadline
                    and moment - began > self._plan.deadline
                    and not attempt.late
                ):
                    attempt.late = True
                    program.end()
                if attempt.early:
                    program.end()
        attempt.code = program.wait()
        if written and attempt.code == 0:
            written.ended = False
            while not written.ended:
                for line in written.lines(last=True):
                    self._collect(attempt, line, rule)

    def _collect(self, attempt: _Attempt, line: str, rule: Mapping | None) -> None:
        if attempt.early or not line:  # what it prints while it is being ended comes too late
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


class _Growing:
    """A file that a program writes, read as it grows, in pieces that memory can hold.

    Attributes:
        ended: whether its end was reached the last time.
    """

    def __init__(self, path: Path):
        self._path, self._read, self._rest = path, 0, b""
        self.ended = False

    def lines(self, last: bool = False) -> Iterator[str]:
        """Some of the lines that are new and whole; the last time also what comes after them."""
        new = b""
        if self._path.is_file():
            with self._path.open("rb") as content:
                content.seek(self._read)
                new = content.read(_LOOK)
        self._read += len(new)
        self.ended = len(new) < _LOOK
        *lines, self._rest = (self._rest + new).split(b"\n")
        if len(self._rest) > LONGEST or (last and self.ended):
            lines, self._rest = [*lines, self._rest], b""
        return (line.decode(errors="replace") for line in lines)


def _furnish(folder: Path, source: Path) -> None:
    """Make a trial's folder: what lies in `source`, as copies of files and links to the rest.

    Raises:
        OSError: if it cannot be made.
    """
    if folder.exists():  # an attempt before this one
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for entry in os.scandir(source):
        own = folder / entry.name
        with suppress(FileNotFoundError):  # it has gone since
            if entry.is_file() and entry.stat().st_size <= _COPIED:
                with suppress(PermissionError):  # a trial that wants to read it will say so
                    shutil.copy2(entry.path, own)
            else:
                _link(Path(entry.path), own)


def _link(there: Path, here: Path) -> None:
    if sys.platform != "win32":
        here.symlink_to(there)
        return
    # Windows lets only administrators make the links of other systems
    import _winapi

    if there.is_dir():
        _winapi.CreateJunction(str(there), str(here))
    else:
        os.link(there, here)


def _clear(folder: Path, source: Path) -> None:
    """Remove from a trial's folder what it has not written itself, and the folder if it is empty
    then.
    """
    if sys.platform == "win32" or not folder.is_dir():
        return
    for own in folder.iterdir():
        there = source / own.name
        if own.is_symlink():
            if own.readlink() == there:
                own.unlink()
        elif own.name == "__pycache__":
            shutil.rmtree(own, ignore_errors=True)
        elif own.is_file() and there.is_file() and _same(own, there):
            own.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def _same(one: Path, other: Path) -> bool:
    a, b = one.stat(), other.stat()
    return (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)
