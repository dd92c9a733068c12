"""Runs an Experiment on this machine: what Katib's controllers, collectors and services do on a
cluster, with a process in the place of each Pod.

Taught in notebook 05. The class has the doors of `cluster.Cluster`. What is kept on disk is what a
cluster would keep: the Experiment with its status, a Trial object for each trial, and its log.
"""

import os
import random
import re
import shutil
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.katib import metrics, spec, workers
from kubeflow_workshop.katib.fields import present
from kubeflow_workshop.katib.plan import Plan, expand, metrics_file, plan
from kubeflow_workshop.katib.status import COMPLETED, now, state, summary, verdict, with_condition
from kubeflow_workshop.katib.suggest import Suggestion
from kubeflow_workshop.target import NAMESPACE

STATE = Path("build/katib")
"""Where the Experiments are kept unless another directory is given."""
_TAIL = 8
"""Lines of a failed trial's log that are shown."""
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes makes random names of these."""


class Laptop:
    """The laptop's door: create, wait, get, trials, logs, best, delete. `cluster.Cluster` has the
    same.
    """

    def __init__(self, state: str | Path = STATE, commands: Sequence[tuple[str, str]] = ()):
        """Look at what is kept.

        Args:
            state: the directory in which Experiments are kept, `STATE/NAME/`.
            commands: programs to run in the place of those that an Experiment names, as pairs of
                old and new.
        """
        self.state, self._commands = Path(state), tuple(commands)
        self._runs: dict[str, _Run] = {}

    def create(self, document: dict, where: str = "") -> str:
        """Start an Experiment; returns its name at once.

        Taught in notebook 05.

        Args:
            document: the raw document.
            where: what to call it in a message, such as the file's name.

        Raises:
            CourseError: if Katib would not take it, the laptop cannot run it faithfully, or one of
                that name is kept already; nothing has started then.
        """
        spec.check(document, where)
        planned = plan(document, self._commands, where)
        document = present(document)
        metadata = document["metadata"]
        name = metadata.get("name") or metadata["generateName"] + _letters(5)
        folder = self.state / name
        try:
            (folder / "logs").mkdir(parents=True)
            (folder / "trials").mkdir()
        except FileExistsError:
            raise CourseError(
                f"an Experiment {name} is kept in {self.state} already; delete it first (workshop"
                " tune --replace), or give another name."
            ) from None
        except OSError as error:
            raise CourseError(
                f"{folder} cannot be written ({error.strerror}); give a directory where you may"
                " write (--state DIR)."
            ) from None
        try:
            self._runs[name] = _Run(document, name, folder, planned)
        except BaseException:
            shutil.rmtree(folder)  # or the name would be taken by nothing
            raise
        return name

    def differences(self, document: dict, where: str = "") -> list[str]:
        """What of an Experiment is not as on a cluster, a sentence each."""
        return plan(document, self._commands, where).differences

    def wait(
        self,
        name: str,
        watch: Callable[[dict, list[dict]], None] | None = None,
        timeout: float | None = None,
    ) -> dict:
        """Wait until an Experiment has succeeded or failed, and its last trial has ended.

        Taught in notebook 05. When the wait is broken off (Ctrl-C), the trials are ended and
        counted as killed.

        Args:
            name: of the Experiment.
            watch: called with the Experiment and its trials whenever one of them changes.
            timeout: seconds; None is for ever.

        Returns:
            The Experiment with its status.

        Raises:
            CourseError: if there is no such Experiment, or the time is over; it goes on running
                then.
        """
        run = self._runs.get(name)
        if run:
            run.wait(watch, timeout)
        return self.get(name)

    def get(self, name: str) -> dict:
        """The Experiment with its status."""
        return (
            self._runs[name].experiment
            if name in self._runs
            else _load(self._folder(name) / "experiment.yaml")
        )

    def trials(self, name: str) -> list[dict]:
        """Its Trial objects, oldest first."""
        if name in self._runs:
            return list(self._runs[name].trials.values())
        kept = [_load(path) for path in (self._folder(name) / "trials").glob("*.yaml")]
        return sorted(kept, key=lambda trial: trial["metadata"]["creationTimestamp"])

    def logs(self, trial: str) -> str:
        """What a trial printed, so far or in all."""
        path = self._folder(trial.rpartition("-")[0]) / "logs" / f"{trial}.log"
        if not path.is_file():
            raise CourseError(
                f"{self.state} keeps no log of a trial {trial}; give the name of one of its trials."
            )
        return path.read_text(encoding="utf-8")

    def best(self, name: str) -> dict:
        """The best trial so far: its name, its assignments and its observation
        (`status.currentOptimalTrial`).
        """
        best = self.get(name).get("status", {}).get("currentOptimalTrial")
        if not best:
            raise CourseError(
                f"no trial of {name} has a metric yet; wait for it, or read a trial's log."
            )
        return best

    def delete(self, name: str) -> None:
        """End an Experiment, if it runs, and remove all that is kept of it."""
        folder = self._folder(name)
        if run := self._runs.pop(name, None):
            run.stop()
        shutil.rmtree(folder)

    def _folder(self, name: str) -> Path:
        if not (self.state / name / "experiment.yaml").is_file():
            raise CourseError(f"{self.state} keeps no Experiment {name}; create it first.")
        return self.state / name


@dataclass
class _Attempt:
    """What a trial's program has said so far."""

    seen: metrics.Observation
    tail: deque = field(default_factory=lambda: deque(maxlen=_TAIL))
    code: int | None = None
    early: bool = False
    late: bool = False
    trouble: str = ""


class _Run:
    """One Experiment that runs: the part of Katib's controllers."""

    def __init__(self, document: dict, name: str, folder: Path, planned: Plan):
        self._document, self._folder, self._plan = document, folder, planned
        self._content = document["spec"]
        self._collector = metrics.Collector(self._content)
        self._stopping = (
            metrics.MedianStop(self._content) if self._content.get("earlyStopping") else None
        )
        self._suggestion = Suggestion(self._content)
        self._parallel = self._content.get("parallelTrialCount", spec.PARALLEL)
        self._most = self._content.get("maxTrialCount")
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._programs: dict[str, workers.Program] = {}
        self._done = False
        self._failure: BaseException | None = None
        self.trials: dict[str, dict] = {}
        began = now()
        metadata = document["metadata"] | {
            "name": name,
            "creationTimestamp": began,
            "uid": str(uuid.uuid4()),
        }
        metadata.setdefault("namespace", NAMESPACE)
        self.experiment = document | {
            "metadata": metadata,
            "status": {"conditions": [], "startTime": began},
        }
        self._mark("Created", "ExperimentCreated", "Experiment is created")
        threading.Thread(target=self._run, name=name).start()

    def wait(self, watch: Callable[[dict, list[dict]], None] | None, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while True:
                with self._changed:
                    seen, done = (self.experiment, list(self.trials.values())), self._done
                if watch:
                    watch(*seen)
                if done:
                    break
                with self._changed:
                    left = None if deadline is None else deadline - time.monotonic()
                    unchanged = self.experiment is seen[0] and not self._done
                    if unchanged and not self._changed.wait(left):
                        name = self.experiment["metadata"]["name"]
                        raise CourseError(
                            f"{name} still runs after {timeout:g} seconds; it goes on, wait for it"
                            " again."
                        )
        except KeyboardInterrupt:
            self.stop()
            raise
        if self._failure:
            raise self._failure

    def stop(self) -> None:
        """End the trials, which count as killed, and start no more."""
        self._end()
        with self._changed:
            self._changed.wait_for(lambda: self._done)

    def _end(self) -> None:
        self._stopped.set()
        for program in list(self._programs.values()):
            program.end()

    def _run(self) -> None:
        try:
            module = workers.module_of(self._plan.command)
            server = (workers.Server if workers.CAN_FORK else workers.Fresh)(
                _fixed(self._plan.environment), module, self._plan.folder
            )
            try:
                with ThreadPoolExecutor(self._parallel) as pool:
                    try:
                        self._control(pool, server)
                    except BaseException:
                        self._end()  # the pool waits for the trials
                        raise
            finally:
                server.close()
        except BaseException as error:
            self._failure = error  # told to whoever waits
        finally:
            with self._changed:
                self._done = True
                self._changed.notify_all()

    def _control(self, pool: ThreadPoolExecutor, server: "workers.Server | workers.Fresh") -> None:
        active: dict[Future, tuple[int, str]] = {}
        ended = False
        while True:
            self._summarise(ended and not active)
            if self._completed() or self._stopped.is_set():
                break
            wanted = (
                self._parallel
                if self._most is None
                else min(self._parallel, self._most - self._count())
            )
            while len(active) < wanted and not ended:
                if (asked := self._suggestion.ask()) is None:
                    ended = True
                    break
                number, assignment = asked
                name = self._new(assignment)
                active[pool.submit(self._trial, name, server)] = (number, name)
            if active:
                for future in wait(active, return_when=FIRST_COMPLETED).done:
                    self._learn(future, *active.pop(future))
        # on a cluster too, what runs when the Experiment has ended runs to its end
        for future in list(active):
            future.result()
            self._summarise()

    def _count(self) -> int:
        """How many trials are completed."""
        status = self.experiment["status"]
        return sum(status.get(name, 0) for name in COMPLETED)

    def _learn(self, future: Future, number: int, name: str) -> None:
        """Tell the suggestion and the stopping rule how a trial went."""
        seen = future.result()
        trial = self.trials[name]
        kind = state(trial)
        judged = kind in ("Succeeded", "EarlyStopped")
        value = (
            metrics.objective_value(
                trial["status"]["observation"]["metrics"], self._content["objective"]
            )
            if judged
            else None
        )
        self._suggestion.tell(number, value)
        if self._stopping and kind == "Succeeded":
            self._stopping.succeeded(seen)

    def _new(self, assignment: Mapping[str, str]) -> str:
        """Make a Trial object."""
        experiment = self.experiment["metadata"]
        name = f"{experiment['name']}-{_letters(8)}"
        template = self._content["trialTemplate"]
        collector = self._content.get("metricsCollectorSpec") or {"collector": {"kind": "StdOut"}}
        rule = self._stopping.rule() if self._stopping else None
        content = {
            "objective": self._content["objective"],
            "parameterAssignments": [
                {"name": key, "value": value} for key, value in assignment.items()
            ],
            **({"earlyStoppingRules": [rule]} if rule else {}),
            "metricsCollector": collector,
            "primaryContainerName": template["primaryContainerName"],
            "successCondition": template.get("successCondition", spec.SUCCESS),
            "failureCondition": template.get("failureCondition", spec.FAILURE),
            "runSpec": self._run_spec(name, assignment),
        }
        metadata = {
            "name": name,
            "namespace": experiment["namespace"],
            "labels": {"katib.kubeflow.org/experiment": experiment["name"]},
            "creationTimestamp": now(precise=True),
        }
        trial = {
            "apiVersion": spec.API_VERSION,
            "kind": "Trial",
            "metadata": metadata,
            "spec": content,
            "status": {"conditions": [], "startTime": now()},
        }
        self._keep(with_condition(trial, "Created", "TrialCreated", "Trial is created"))
        return name

    def _run_spec(self, name: str, assignment: Mapping[str, str]) -> dict:
        """The Job of a trial: the template with the values in the places of the placeholders."""
        trial = self._content["trialTemplate"]["trialSpec"]
        values = self._values(name, assignment)
        metadata = (trial.get("metadata") or {}) | {
            "name": name,
            "namespace": self.experiment["metadata"]["namespace"],
        }
        return substitute(trial, values) | {"metadata": substitute(metadata, values)}

    def _values(self, name: str, assignment: Mapping[str, str]) -> dict[str, str]:
        """What each trial parameter stands for: an assignment, or something of the trial's own
        metadata.
        """
        template = self._content["trialTemplate"]
        trial, metadata = template["trialSpec"], template["trialSpec"].get("metadata") or {}
        own = {
            "Name": name,
            "Namespace": self.experiment["metadata"]["namespace"],
            "Kind": trial["kind"],
            "APIVersion": trial["apiVersion"],
        }
        values = {}
        for parameter in template.get("trialParameters") or []:
            reference = parameter["reference"]
            if found := spec.META.fullmatch(reference):
                values[parameter["name"]] = (
                    own[found[1]]
                    if found[1] in own
                    else metadata.get(found[1].partition("[")[0].lower(), {}).get(found[2], "")
                )
            else:
                values[parameter["name"]] = assignment[reference]
        return values

    def _trial(self, name: str, server: "workers.Server | workers.Fresh") -> metrics.Observation:
        """Run a trial to its end; returns what it reported."""
        trial = self.trials[name]
        assignment = {one["name"]: one["value"] for one in trial["spec"]["parameterAssignments"]}
        values = self._values(name, assignment)
        own_file = (
            str((self._folder / "logs" / f"{name}.metrics").resolve())
            if trial["spec"]["metricsCollector"]["collector"]["kind"] == "File"
            else None
        )
        swap = (
            (lambda text: text.replace(metrics_file(self._content), own_file))
            if own_file
            else (lambda text: text)
        )
        environment = {
            key: swap(text) for key, text in substitute(self._plan.environment, values).items()
        }
        command = [
            swap(expand(word, environment)) for word in substitute(self._plan.command, values)
        ]
        if self._stopped.is_set():
            self._keep(with_condition(trial, "Killed", "TrialKilled", "Trial is killed"))
            return self._unseen()
        self._keep(with_condition(trial, "Running", "TrialRunning", "Trial is running"))
        began = time.monotonic()
        for _ in range(self._plan.attempts):
            if own_file:
                Path(own_file).unlink(missing_ok=True)  # each Pod of a Job begins with none
            attempt = self._attempt(
                name, server, command, environment, Path(own_file) if own_file else None, began
            )
            if attempt.code == 0 or attempt.early or attempt.late or self._stopped.is_set():
                break
        self._finish(name, attempt)
        return attempt.seen

    def _unseen(self) -> metrics.Observation:
        return metrics.Observation(
            self._collector.names, self._stopping.start_step if self._stopping else 0
        )

    def _attempt(
        self,
        name: str,
        server: "workers.Server | workers.Fresh",
        command: list[str],
        environment: dict[str, str],
        file: Path | None,
        began: float,
    ) -> _Attempt:
        """Start the program once, and read it until it ends; the trial began at the monotonic time
        `began`.
        """
        attempt = _Attempt(self._unseen())
        rule = next(iter(self.trials[name]["spec"].get("earlyStoppingRules", [])), None)
        read = 0
        try:
            program = self._programs[name] = server.start(command, self._plan.folder, environment)
        except workers.ServerGoneError as error:
            attempt.code = -1
            attempt.tail.append(str(error))
            return attempt
        if self._stopped.is_set():
            program.end()
        with (self._folder / "logs" / f"{name}.log").open("a", encoding="utf-8") as log:
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
                and report.name == self._collector.objective
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

    def _finish(self, name: str, attempt: _Attempt) -> None:
        """Give a trial its last condition, and its observation if it has one."""
        trial = self.trials[name]
        observed = attempt.seen.metrics()
        value = metrics.objective_value(observed, self._content["objective"])
        if self._stopped.is_set() and attempt.code != 0:
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
        name = self._collector.objective
        if (last := attempt.seen.latest) is not None:
            return f"the last {name} is {last!r}, which is no number"
        if (self._content.get("metricsCollectorSpec") or {}).get("collector", {}).get(
            "kind"
        ) == "File":
            return (
                f"{name} is not in the file {metrics_file(self._content)} (as text in quotes, if it"
                " is JSON), or nothing was written to it"
            )
        return f"the log has no line {name}=NUMBER"

    def _keep(self, trial: dict) -> None:
        """Replace a Trial object, here and on disk, and tell those who watch. Objects are never
        changed in place, so others may read them.
        """
        with self._changed:
            self.trials[trial["metadata"]["name"]] = trial
            _write(self._folder / "trials" / f"{trial['metadata']['name']}.yaml", trial)
        self._summarise()

    def _completed(self) -> bool:
        return state(self.experiment) in ("Succeeded", "Failed")

    def _summarise(self, exhausted: bool = False) -> None:
        """Bring the Experiment's status up to date, and decide whether it has ended: Katib's
        `status_util.go`.
        """
        with self._changed:
            kept = {
                name: self.experiment["status"][name]
                for name in ("conditions", "startTime", "completionTime")
                if name in self.experiment["status"]
            }
            self.experiment = self.experiment | {
                "status": kept | summary(list(self.trials.values()), self._content["objective"])
            }
            if self.trials and not self._completed():
                self._mark(*verdict(self._content, self.experiment["status"], exhausted))
            else:
                self._publish()

    def _mark(self, kind: str, reason: str, message: str) -> None:
        if state(self.experiment) != kind:
            self.experiment = with_condition(self.experiment, kind, reason, message)
            if self._completed():
                self.experiment = self.experiment | {
                    "status": self.experiment["status"] | {"completionTime": now()}
                }
        self._publish()

    def _publish(self) -> None:
        with self._changed:
            _write(self._folder / "experiment.yaml", self.experiment)
            self._changed.notify_all()


def substitute(value: object, values: Mapping[str, str]) -> object:
    """A template with `${trialParameters.NAME}` replaced in all its texts."""
    if isinstance(value, str):
        return re.sub(r"\$\{trialParameters\.([^{}]*)\}", lambda match: values[match[1]], value)
    if isinstance(value, Mapping):
        return {key: substitute(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [substitute(item, values) for item in value]
    return value


def _fixed(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that are the same in each trial: these a server can have before it imports
    anything.
    """
    return {name: value for name, value in environment.items() if "${" not in value}


def _letters(count: int) -> str:
    return "".join(random.SystemRandom().choices(_LETTERS, k=count))


def _write(path: Path, document: Mapping) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(spec.as_text(document), encoding="utf-8")
    os.replace(partial, path)


def _load(path: Path) -> dict:
    return yaml.load(
        path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
