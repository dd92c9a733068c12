"""Runs an Experiment on this machine: what Katib's controllers, collectors and services do on a
cluster, with a process in the place of each Pod.

Taught in notebook 05. Here are the door, the search that goes on behind it, and its status, in
Katib 0.19's own order of asking. How a trial is run is in `trial`, what is kept of it all in
`store`.
"""

import random
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.katib import Watch, metrics, spec, workers
from kubeflow_workshop.katib.plan import Plan, plan
from kubeflow_workshop.katib.spec import View
from kubeflow_workshop.katib.store import Store
from kubeflow_workshop.katib.suggest import Suggestion
from kubeflow_workshop.katib.trial import Runner, new_trial
from kubeflow_workshop.objects import AbsentError, now, state, with_condition
from kubeflow_workshop.target import NAMESPACE

STATE = Path("build/katib")
"""Where the Experiments are kept unless another directory is given."""
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes makes random names of these."""
_LISTS = {
    "Pending": ("pendingTrialList", "trialsPending"),
    "Running": ("runningTrialList", "trialsRunning"),
    "Succeeded": ("succeededTrialList", "trialsSucceeded"),
    "Failed": ("failedTrialList", "trialsFailed"),
    "Killed": ("killedTrialList", "trialsKilled"),
    "EarlyStopped": ("earlyStoppedTrialList", "trialsEarlyStopped"),
    "MetricsUnavailable": ("metricsUnavailableTrialList", "trialMetricsUnavailable"),
}
"""What a trial may be, and where the Experiment's status lists and counts it."""
_COMPLETED = tuple(
    count for kind, (_, count) in _LISTS.items() if kind not in ("Pending", "Running")
)


class Laptop:
    """The laptop's door to Katib: a `katib.Door`, as `cluster.Cluster` is another."""

    def __init__(self, state: str | Path = STATE, commands: Sequence[tuple[str, str]] = ()):
        """Look at what is kept.

        Args:
            state: the directory in which Experiments are kept, `STATE/NAME/`.
            commands: programs to run in the place of those that an Experiment names, as pairs of
                old and new.
        """
        self.state, self._commands = Path(state), tuple(commands)
        self._searches: dict[str, _Search] = {}

    def create(self, document: dict, where: str = "", *, replace: bool = False) -> str:
        """Start an Experiment; returns its name at once.

        Taught in notebook 05.

        Args:
            document: the raw document.
            where: what to call it in a message, such as the file's name.
            replace: delete the Experiment of that name first, if there is one.

        Raises:
            CourseError: if Katib would not take it, the laptop cannot run it faithfully, or one of
                that name is kept already; nothing has started then, and nothing is deleted.
        """
        view = spec.check(document, where)
        planned = plan(view, self._commands, where)
        metadata = view.document["metadata"]
        store = Store(self.state, metadata.get("name") or metadata["generateName"] + _letters(5))
        if replace:
            with suppress(AbsentError):
                self.delete(store.name)
        store.make()
        try:
            self._searches[store.name] = _Search(view, planned, store)
        except BaseException:
            store.remove()  # or the name would be taken by nothing
            raise
        return store.name

    def differences(self, document: dict, where: str = "") -> list[str]:
        """What of an Experiment that was checked is not as on a cluster, a sentence each."""
        return plan(spec.view(document), self._commands, where).differences

    def wait(self, name: str, watch: Watch | None = None, timeout: float | None = None) -> dict:
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
        if search := self._searches.get(name):
            search.wait(watch, timeout)
        return self.get(name)

    def get(self, name: str) -> dict:
        """The Experiment with its status."""
        if search := self._searches.get(name):
            return search.experiment
        return Store(self.state, name).require().experiment()

    def trials(self, name: str) -> list[dict]:
        """Its Trial objects, oldest first."""
        if search := self._searches.get(name):
            return list(search.trials.values())
        return Store(self.state, name).require().trials()

    def logs(self, trial: str) -> str:
        """What a trial printed, so far or in all."""
        path = Store.of_trial(self.state, trial).require().log(trial)
        if not path.is_file():
            raise AbsentError(
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
        store = Store(self.state, name).require()
        if search := self._searches.pop(name, None):
            search.stop()
        store.remove()


class _Search:
    """One Experiment that runs: the part of Katib's controllers."""

    def __init__(self, view: View, planned: Plan, store: Store):
        self._view, self._plan, self._store = view, planned, store
        self._stopping = (
            metrics.MedianStop(view.content) if view.content.get("earlyStopping") else None
        )
        self._suggestion = Suggestion(view.content)
        self._runner = Runner(view, planned, store, self._stopping, self._keep)
        self._changed = threading.Condition()
        self._done = False
        self._failure: BaseException | None = None
        self.trials: dict[str, dict] = {}
        began = now()
        metadata = view.document["metadata"] | {
            "name": store.name,
            "creationTimestamp": began,
            "uid": str(uuid.uuid4()),
        }
        metadata.setdefault("namespace", NAMESPACE)
        self.experiment = dict(view.document) | {
            "metadata": metadata,
            "status": {"conditions": [], "startTime": began},
        }
        self._mark("Created", "ExperimentCreated", "Experiment is created")
        threading.Thread(target=self._run, name=store.name).start()

    def wait(self, watch: Watch | None, timeout: float | None) -> None:
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
                        raise CourseError(
                            f"{self._store.name} still runs after {timeout:g} seconds; it goes on,"
                            " wait for it again."
                        )
        except KeyboardInterrupt:
            self.stop()
            raise
        if self._failure:
            raise self._failure

    def stop(self) -> None:
        """End the trials, which count as killed, and start no more."""
        self._runner.end()
        with self._changed:
            self._changed.wait_for(lambda: self._done)

    def _run(self) -> None:
        try:
            module = workers.module_of(self._plan.command)
            server = (workers.Server if workers.CAN_FORK else workers.Fresh)(
                _fixed(self._plan.environment), module, self._plan.folder
            )
            try:
                with ThreadPoolExecutor(self._view.parallel) as pool:
                    try:
                        self._control(pool, server)
                    except BaseException:
                        self._runner.end()  # the pool waits for the trials
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
            if self._completed() or self._runner.ended:
                break
            wanted = self._view.parallel
            if self._view.most is not None:
                wanted = min(wanted, self._view.most - completed(self.experiment["status"]))
            while len(active) < wanted and not ended:
                if (asked := self._suggestion.ask()) is None:
                    ended = True
                    break
                number, assignment = asked
                trial = self._new(assignment)
                running = pool.submit(self._runner.run, trial, server)
                active[running] = (number, trial["metadata"]["name"])
            if active:
                for future in wait(active, return_when=FIRST_COMPLETED).done:
                    self._learn(future, *active.pop(future))
        # on a cluster too, what runs when the Experiment has ended runs to its end
        for future in list(active):
            future.result()
            self._summarise()

    def _learn(self, future: Future, number: int, name: str) -> None:
        """Tell the suggestion and the stopping rule how a trial went."""
        seen = future.result()
        trial = self.trials[name]
        kind = state(trial)
        judged = kind in ("Succeeded", "EarlyStopped")
        value = (
            metrics.objective_value(trial["status"]["observation"]["metrics"], self._view.objective)
            if judged
            else None
        )
        self._suggestion.tell(number, value)
        if self._stopping and kind == "Succeeded":
            self._stopping.succeeded(seen)

    def _new(self, assignment: Mapping[str, str]) -> dict:
        """Make a Trial object."""
        name = f"{self._store.name}-{_letters(8)}"
        rule = self._stopping.rule() if self._stopping else None
        trial = new_trial(name, self.experiment, self._view, assignment, rule)
        self._keep(trial)
        return trial

    def _keep(self, trial: dict) -> None:
        """Replace a Trial object, here and on disk, and tell those who watch. Objects are never
        changed in place, so others may read them.
        """
        with self._changed:
            self.trials[trial["metadata"]["name"]] = trial
            self._store.keep_trial(trial)
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
                "status": kept | summary(list(self.trials.values()), self._view.objective)
            }
            if self.trials and not self._completed():
                self._mark(*verdict(self._view, self.experiment["status"], exhausted))
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
            self._store.keep_experiment(self.experiment)
            self._changed.notify_all()


def summary(trials: Sequence[Mapping], objective: Mapping) -> dict:
    """The part of an Experiment's status that follows from its trials: counts, lists of names, and
    the best trial so far.

    Taught in notebook 05.

    Args:
        trials: Trial objects.
        objective: the Experiment's `spec.objective`.
    """
    made: dict = {"trials": len(trials)}
    for kind, (names, count) in _LISTS.items():
        of_kind = [
            trial["metadata"]["name"]
            for trial in trials
            if state(trial) == kind or (kind == "Pending" and state(trial) in ("Created", ""))
        ]
        # as on a cluster: what is empty is left out
        made |= {names: of_kind, count: len(of_kind)} if of_kind else {}
    judged = {}
    for number, trial in enumerate(trials):
        value = metrics.objective_value(
            trial["status"].get("observation", {}).get("metrics"), objective
        )
        if value is not None and state(trial) in ("Succeeded", "EarlyStopped"):
            judged[number] = value
    if judged:
        choose = min if objective["type"] == "minimize" else max
        best = trials[choose(judged, key=judged.__getitem__)]
        made["currentOptimalTrial"] = {
            "bestTrialName": best["metadata"]["name"],
            "parameterAssignments": best["spec"]["parameterAssignments"],
            "observation": best["status"]["observation"],
        }
    return made


def verdict(view: View, status: Mapping, exhausted: bool = False) -> tuple[str, str, str]:
    """Whether an Experiment goes on: type, reason and message of its condition, in the order in
    which Katib asks.

    Taught in notebook 05.

    Args:
        view: what the Experiment says.
        status: with the counts and the best trial of `summary`.
        exhausted: whether the algorithm has nothing more to suggest and no trial runs.
    """
    best = metrics.objective_value(
        status.get("currentOptimalTrial", {}).get("observation", {}).get("metrics"), view.objective
    )
    if (
        view.goal is not None
        and best is not None
        and (best <= view.goal if view.minimize else best >= view.goal)
    ):
        return (
            "Succeeded",
            "ExperimentGoalReached",
            "Experiment has succeeded because Objective goal has reached",
        )
    failed = status.get("trialsFailed", 0) + status.get("trialMetricsUnavailable", 0)
    if view.failures is not None and failed and failed >= view.failures:
        return (
            "Failed",
            "ExperimentMaxFailedTrialsReached",
            "Experiment has failed because max failed count has reached",
        )
    if view.most is not None and completed(status) >= view.most:
        return (
            "Succeeded",
            "ExperimentMaxTrialsReached",
            "Experiment has succeeded because max trial count has reached",
        )
    if exhausted:
        return (
            "Succeeded",
            "ExperimentSuggestionEndReached",
            "Experiment has succeeded because suggestion service has reached the end",
        )
    return "Running", "ExperimentRunning", "Experiment is running"


def completed(status: Mapping) -> int:
    """How many trials are completed, by an Experiment's status."""
    return sum(status.get(name, 0) for name in _COMPLETED)


def _fixed(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that are the same in each trial: these a server can have before it imports
    anything.
    """
    return {name: value for name, value in environment.items() if "${" not in value}


def _letters(count: int) -> str:
    return "".join(random.SystemRandom().choices(_LETTERS, k=count))
