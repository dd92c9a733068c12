"""Runs an Experiment on this machine: what Katib's controllers, collectors and services do on a
cluster, with a process in the place of each Pod.

Taught in notebook 05. Here are the door, the search that goes on behind it, and its status, in
Katib 0.19's own order of asking. How a trial is run is in `trial`, what is kept of it all in
`store`.

A search that was stopped, or whose runner was killed, goes on when the same Experiment is created
again. Trials that have ended count, and the algorithm and the early stopping learn from them again.
A trial that ran runs again from its beginning and stays the same Trial, with its name and its
assignments, as a Job on a cluster makes another Pod in the place of one that was lost. The same way
leads to more trials than were meant at first, where Katib lets an Experiment be restarted.
"""

import bisect
import random
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

import psutil

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.katib import Watch, metrics, spec, workers
from kubeflow_workshop.katib.plan import Plan, plan
from kubeflow_workshop.katib.rules import GRID
from kubeflow_workshop.katib.spec import View
from kubeflow_workshop.katib.store import Store
from kubeflow_workshop.katib.suggest import Suggestion
from kubeflow_workshop.katib.trial import Runner, new_trial
from kubeflow_workshop.objects import AbsentError, now, present, state, with_condition
from kubeflow_workshop.process import LONGEST
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
_ENDED = ("Succeeded", "Failed", "EarlyStopped", "MetricsUnavailable")
"""How a trial may have ended by itself, so that it does not run again in a search that goes on."""
EDITABLE = ("parallelTrialCount", "maxTrialCount", "maxFailedTrialCount")
"""What Katib lets be changed in the `spec` of an Experiment that is there."""
_RESTARTABLE = ("LongRunning", "FromVolume")
"""The `resumePolicy` of an Experiment that goes on when it has ended, and `maxTrialCount` is
raised.
"""
_MARK = "KATIB_EXPERIMENT_UID"
"""The variable by which the processes of a search are found again, whatever has become of the
runner and whichever group or parent they have now.
"""
_REST = 0.5
"""Seconds between two writings of an Experiment in which nothing but counts has changed. Its trials
are written at once, so nothing is lost by that.
"""


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
        """Start an Experiment, or let one go on that is kept; returns its name at once.

        Taught in notebook 05. One that was stopped before its end goes on, and so does one that has
        ended by `maxTrialCount`, if its `resumePolicy` is LongRunning or FromVolume and
        `maxTrialCount` is now more than its trials. In both, `parallelTrialCount`, `maxTrialCount`
        and `maxFailedTrialCount` may be other than before, and nothing else in its `spec`: these
        are Katib's rules for an Experiment that is applied again.

        Args:
            document: the raw document.
            where: what to call it in a message, such as the file's name.
            replace: delete the Experiment of that name first, if there is one.

        Raises:
            CourseError: if Katib would not take it, the laptop cannot run it faithfully, another
                process runs it, or one of that name is kept that does not go on; nothing has
                started then, and nothing is deleted.
        """
        view = spec.check(document, where)
        planned = plan(view, self._commands, where)
        metadata = view.document["metadata"]
        name = metadata.get("name") or metadata["generateName"] + _letters(5)
        if replace and name in self._searches:
            self.delete(name)
        store = Store(self.state, name)
        store.own()
        try:
            if replace:
                store.remove()
            if store.kept:
                search = _Search(view, planned, store, going_on=_go_on(view, store))
            else:
                search = _first(view, planned, store)
        except BaseException:
            store.release()
            raise
        self._searches[name] = search
        search.start()
        return name

    def differences(self, document: dict, where: str = "") -> list[str]:
        """What of an Experiment that was checked is not as on a cluster, a sentence each."""
        return plan(spec.view(document), self._commands, where).differences

    def wait(self, name: str, watch: Watch | None = None, timeout: float | None = None) -> dict:
        """Wait until an Experiment has succeeded or failed, and its last trial has ended.

        Taught in notebook 05. When the wait is broken off (Ctrl-C), the trials are ended and
        counted as killed; they run again when the Experiment is created again. An Experiment that
        another process runs is waited for, too, and goes on when the wait is broken off.

        Args:
            name: of the Experiment.
            watch: called with the Experiment and its trials whenever one of them changes.
            timeout: seconds; None is for ever.

        Returns:
            The Experiment with its status.

        Raises:
            CourseError: if there is no such Experiment, it was stopped before its end, or the time
                is over; it goes on running then.
        """
        if search := self._searches.get(name):
            search.wait(watch, timeout)
            return search.experiment
        store = Store(self.state, name).require()
        deadline = None if timeout is None else time.monotonic() + timeout
        seen: dict = {}
        while store.runs():
            if (experiment := self.get(name)) != seen and watch:
                watch(experiment, self.trials(name))
            seen = experiment
            if deadline is not None and time.monotonic() > deadline:
                raise _still_runs(name, timeout)
            time.sleep(_REST)
        experiment = self.get(name)
        if state(experiment) not in ("Succeeded", "Failed"):
            raise CourseError(
                f"Experiment {name} in {self.state} was stopped before its end; run it again, and"
                " it goes on from there."
            )
        return experiment

    def experiments(self) -> list[dict]:
        """Every Experiment that is kept, with its status, by name."""
        return [self.get(store.name) for store in Store.all(self.state)]

    def get(self, name: str) -> dict:
        """The Experiment with its status. Where a runner was killed, its condition Running is
        False, as after Ctrl-C.
        """
        if search := self._searches.get(name):
            return search.experiment
        store = Store(self.state, name).require()
        experiment = store.experiment()
        if state(experiment) in ("Succeeded", "Failed") or store.runs():
            return experiment
        # the runner may have been killed before it had written what it counted
        if trials := store.trials():
            counted = summary(trials, experiment["spec"]["objective"])
            experiment |= {"status": _without_counts(experiment["status"]) | counted}
        return _stopped(experiment) if state(experiment) == "Running" else experiment

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

    def stop(self) -> None:
        """End the trials of every Experiment that this door runs; each goes on when it is created
        again.
        """
        for search in list(self._searches.values()):
            search.stop()

    def delete(self, name: str) -> None:
        """End an Experiment, if this door runs it, and remove all that is kept of it.

        Raises:
            CourseError: if there is no such Experiment, or another process runs it.
        """
        if search := self._searches.pop(name, None):
            search.stop()
        store = Store(self.state, name)
        if not store.folder.is_dir():
            store.require()
        store.own()
        try:
            store.remove()
        finally:
            store.release()


def _first(view: View, planned: Plan, store: Store) -> "_Search":
    """A search for an Experiment that is not kept yet."""
    store.make()
    try:
        return _Search(view, planned, store)
    except BaseException:
        store.remove()  # or the name would be taken by nothing
        raise


def _go_on(view: View, store: Store) -> dict:
    """The Experiment as it is kept, if it may go on with what `view` says: the rules of Katib's
    webhook (`validator.go`) and of its controller (`IsCompletedExperimentRestartable`).

    Raises:
        CourseError: if it may not.
    """
    kept = store.experiment()
    there = f"an Experiment {store.name} is kept in {store.state} already"
    instead = "delete it first (workshop tune --replace), or give another name"
    policy = {"resumePolicy": "Never"}
    before, wanted = policy | present(kept["spec"]), policy | dict(view.content)
    if _fixed_part(before) != _fixed_part(wanted):
        raise CourseError(
            f"{there}; {instead}: of its spec, only {', '.join(EDITABLE)} may be changed."
        )
    trials = store.trials()
    ended = state(kept) in ("Succeeded", "Failed")
    if ended and before == wanted and all(state(trial) in _ENDED for trial in trials):
        raise CourseError(f"{there}; {instead}: it has ended ({state(kept)}).")
    if before == wanted:
        return kept
    reason = kept["status"]["conditions"][-1]["reason"]
    if ended and not (
        reason == "ExperimentMaxTrialsReached" and wanted["resumePolicy"] in _RESTARTABLE
    ):
        raise CourseError(
            f"{there}; {instead}: it goes on only where it has ended by maxTrialCount"
            f" (it ended by {reason}) and spec.resumePolicy is {' or '.join(_RESTARTABLE)}"
            f" (it is {wanted['resumePolicy']})."
        )
    if view.most is not None and view.most <= len(trials):
        raise CourseError(
            f"spec.maxTrialCount: is {view.most}, and Experiment {store.name} has {len(trials)}"
            " trials already; give a larger number, or leave the spec as it was."
        )
    return kept


def _fixed_part(content: Mapping) -> dict:
    return {key: value for key, value in content.items() if key not in EDITABLE}


def _still_runs(name: str, timeout: float | None) -> CourseError:
    return CourseError(
        f"{name} still runs after {timeout:g} seconds; it goes on, wait for it again."
    )


class _Search:
    """One Experiment that runs: the part of Katib's controllers."""

    def __init__(self, view: View, planned: Plan, store: Store, going_on: Mapping | None = None):
        """`store` is owned, until the search has ended; `going_on` is the Experiment as it is kept
        there, if it is.
        """
        self._view, self._plan, self._store = view, planned, store
        self._stopping = (
            metrics.MedianStop(view.content) if view.content.get("earlyStopping") else None
        )
        self._suggestion = Suggestion(view.content)
        self._runner = Runner(view, planned, store, self._stopping, self._keep)
        self._changed = threading.Condition()
        self._done = False
        self._failure: BaseException | None = None
        self._tally = Tally(view.objective)
        self._write_from = 0.0
        self._stale = False
        self.trials: dict[str, dict] = {}
        self._goes_on = going_on is not None
        began = now()
        metadata = view.document["metadata"] | {
            "name": store.name,
            "creationTimestamp": began,
            "uid": str(uuid.uuid4()),
        }
        metadata.setdefault("namespace", NAMESPACE)
        status: dict = {"conditions": [], "startTime": began}
        if going_on:
            kept = going_on["metadata"]
            metadata |= {key: kept[key] for key in ("namespace", "creationTimestamp", "uid")}
            status = _without_counts(going_on["status"])
        self.experiment = dict(view.document) | {"metadata": metadata, "status": status}
        store.claim()
        if not self._goes_on:
            self._mark("Created", "ExperimentCreated", "Experiment is created")
            return
        for trial in [*store.trials(), *self._only_asked()]:
            self._take(trial if state(trial) in _ENDED else _again(trial))
        if self._restarts():
            self.experiment = _without(self.experiment, "Succeeded", "Failed")
            self._mark("Restarting", "ExperimentRestarting", "Experiment is restarted")
        else:
            self._write()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name=self._store.name).start()

    def _restarts(self) -> bool:
        """Whether more trials begin, so that it is not only a rest that runs to its end."""
        if not self._completed():
            return True
        counted = summary(list(self.trials.values()), self._view.objective)
        return self._view.most is not None and self._view.most > counted["trials"]

    def _only_asked(self) -> Iterable[dict]:
        """Trials that were noted, and not begun when the runner was killed."""
        written = {trial["metadata"]["name"] for trial in self._store.trials()}
        for one in self._store.history():
            if "asked" in one and one["asked"] not in written:
                yield self._trial(one["asked"], one["assignment"])

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
                        raise _still_runs(self._store.name, timeout)
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
            if self._goes_on:
                _end_processes(self.experiment["metadata"]["uid"])
            module = workers.module_of(self._plan.command)
            server = (workers.Server if workers.CAN_FORK else workers.Fresh)(
                _fixed(self._plan.environment) | {_MARK: self.experiment["metadata"]["uid"]},
                module,
                self._plan.folder,
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
        except OSError as error:  # a trial's log, or the folder it works in
            self._failure = self._store.lost(error)
        except BaseException as error:
            self._failure = error  # told to everyone who waits
        finally:
            self._finish()

    def _finish(self) -> None:
        """Write how it has ended, and let go of it."""
        with self._changed:
            if not self._completed():
                self.experiment = _stopped(self.experiment)
            try:
                self._write()
            except CourseError as error:
                self._failure = self._failure or error
            self._store.release()
            self._done = True
            self._changed.notify_all()

    def _control(self, pool: ThreadPoolExecutor, server: "workers.Server | workers.Fresh") -> None:
        active: dict[Future, tuple[int | None, str]] = {}
        again = self._recall() if self._goes_on else []

        def begin(number: int | None, trial: dict) -> None:
            running = pool.submit(self._runner.run, trial, server)
            active[running] = (number, trial["metadata"]["name"])

        ended = False
        while True:
            self._summarise(ended and not active and not again)
            if self._completed() or self._runner.ended:
                break
            wanted = self._view.parallel
            if self._view.most is not None:
                wanted = min(wanted, self._view.most - completed(self.experiment["status"]))
            while len(active) < wanted and (again or not ended):
                if again:
                    begin(*again.pop(0))
                elif asked := self._suggestion.ask():
                    begin(asked[0], self._new(asked[1]))
                else:
                    ended = True
            for future in self._next(active):
                self._learn(future, *active.pop(future))
        # on a cluster too, what runs when the Experiment has ended runs to its end
        for number, trial in [] if self._runner.ended else again:
            begin(number, trial)
        for future in list(active):
            future.result()
            self._summarise()

    def _next(self, active: Mapping[Future, object]) -> set[Future]:
        """The trials that have ended, when one has; meanwhile the Experiment is written when that
        is due.
        """
        while active:
            if done := wait(active, timeout=_REST, return_when=FIRST_COMPLETED).done:
                return done
            with self._changed:
                if self._stale:
                    self._write()
        return set()

    def _recall(self) -> list[tuple[int | None, dict]]:
        """Tell the suggestion and the stopping rule, in the same order, what they were told before
        the search was stopped.

        With a seed, the suggestions are asked for again, and are the same; so the next ones are
        those that would have come.

        Returns:
            The trials to run, each with its number among the suggestions, if it has one.
        """
        settings = self._view.content["algorithm"].get("algorithmSettings") or []
        seeded = self._view.algorithm != GRID and any(
            one["name"] == "random_state" for one in settings
        )
        history = self._store.history()
        known = {one["asked"] for one in history if "asked" in one}
        told = {one["told"] for one in history if "told" in one}
        history += [{"asked": name} for name in self.trials if name not in known]
        history += [
            {"told": name}
            for name, trial in self.trials.items()
            if state(trial) in _ENDED and name not in told
        ]
        numbers: dict[str, int] = {}
        for one in history:
            if name := one.get("told"):
                if state(self.trials[name]) in _ENDED:
                    self._tell(numbers.pop(name, None), name, self._seen(name))
                    if name not in told:
                        self._store.note(one)
                continue
            name = one["asked"]
            assignment = _assignment(self.trials[name])
            self._suggestion.learn(assignment, None)
            if seeded and (asked := self._suggestion.ask()):
                if asked[1] == assignment:
                    numbers[name] = asked[0]
                else:
                    self._suggestion.tell(asked[0], None)
        return [
            (numbers.get(name), trial)
            for name, trial in self.trials.items()
            if state(trial) not in _ENDED
        ]

    def _seen(self, name: str) -> metrics.Observation:
        """What a trial that has ended had reported; read only where it is asked for, by the early
        stopping.
        """
        stopping = self._stopping
        seen = metrics.Observation(self._view.metrics, stopping.start_step if stopping else 0)
        if not stopping:
            return seen
        path = self._store.metrics(name) if self._view.metrics_file else self._store.log(name)
        collector = metrics.Collector(self._view.content)
        with suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as lines:
            while line := lines.readline(LONGEST):
                with suppress(ValueError):
                    for report in collector.read(line):
                        seen.add(report)
        return seen

    def _learn(self, future: Future, number: int | None, name: str) -> None:
        """Tell the suggestion and the stopping rule how a trial went."""
        seen = future.result()
        if state(self.trials[name]) == "Killed":  # it will run again
            return
        self._tell(number, name, seen)
        self._store.note({"told": name})

    def _tell(self, number: int | None, name: str, seen: metrics.Observation) -> None:
        trial = self.trials[name]
        kind = state(trial)
        judged = kind in ("Succeeded", "EarlyStopped")
        value = (
            metrics.objective_value(trial["status"]["observation"]["metrics"], self._view.objective)
            if judged
            else None
        )
        if number is None:
            self._suggestion.learn(_assignment(trial), value)
        else:
            self._suggestion.tell(number, value)
        if self._stopping and kind == "Succeeded":
            self._stopping.succeeded(seen)

    def _new(self, assignment: Mapping[str, str]) -> dict:
        """Make a Trial object. It is noted now, and written when it runs."""
        trial = self._trial(f"{self._store.name}-{_letters(8)}", assignment)
        name = trial["metadata"]["name"]
        self._store.note({"asked": name, "assignment": dict(assignment)})
        self._take(trial)
        self._summarise()
        return trial

    def _trial(self, name: str, assignment: Mapping[str, str]) -> dict:
        rule = self._stopping.rule() if self._stopping else None
        return new_trial(name, self.experiment, self._view, assignment, rule)

    def _keep(self, trial: dict) -> None:
        """Replace a Trial object, here and on disk, and tell those who watch. Objects are never
        changed in place, so others may read them.
        """
        if state(trial) == "Running":  # what an earlier runner's trial has left
            name = trial["metadata"]["name"]
            self._store.log(name).unlink(missing_ok=True)
        self._store.keep_trial(trial)
        self._take(trial)
        self._summarise()

    def _take(self, trial: dict) -> None:
        with self._changed:
            self.trials[trial["metadata"]["name"]] = trial
            self._tally.take(trial)

    def _completed(self) -> bool:
        return state(self.experiment) in ("Succeeded", "Failed")

    def _summarise(self, exhausted: bool = False) -> None:
        """Bring the Experiment's status up to date, and decide whether it has ended: Katib's
        `status_util.go`.
        """
        with self._changed:
            self.experiment = self.experiment | {
                "status": _without_counts(self.experiment["status"]) | self._tally.status()
            }
            # trials that were killed here count on a cluster, too, and would use up the budget
            if self.trials and not self._completed() and not self._runner.ended:
                self._mark(*verdict(self._view, self.experiment["status"], exhausted))
            else:
                self._publish()

    def _mark(self, kind: str, reason: str, message: str) -> None:
        with self._changed:
            if marked := state(self.experiment) != kind:
                self.experiment = with_condition(
                    _without(self.experiment, kind), kind, reason, message
                )
                if self._completed():
                    self.experiment = self.experiment | {
                        "status": self.experiment["status"] | {"completionTime": now()}
                    }
            self._publish(marked)

    def _publish(self, at_once: bool = False) -> None:
        """Tell those who watch, and write the Experiment if it is time."""
        with self._changed:
            self._stale = True
            if at_once or time.monotonic() >= self._write_from:
                self._write()
            self._changed.notify_all()

    def _write(self) -> None:
        began = time.monotonic()
        self._store.keep_experiment(self.experiment)
        self._stale = False
        ended = time.monotonic()
        # its lists grow with the trials, and the time that it takes should not
        self._write_from = ended + max(_REST, 50 * (ended - began))


def _without_counts(status: Mapping) -> dict:
    return {
        name: status[name]
        for name in ("conditions", "startTime", "completionTime")
        if name in status
    }


def _without(thing: Mapping, *kinds: str) -> dict:
    """The thing without its conditions of these types: Katib has one of each."""
    left = [one for one in thing["status"]["conditions"] if one["type"] not in kinds]
    return {**thing, "status": {**thing["status"], "conditions": left}}


def _stopped(experiment: Mapping) -> dict:
    """The Experiment when nobody runs it any more before it has ended. Katib has no condition for
    that, since its controllers always go on: that it is Running is no longer true.
    """
    marked = with_condition(
        _without(experiment, "Running"),
        "Running",
        "ExperimentRunning",
        "Experiment is stopped before its end; run it again, and it goes on",
    )
    *before, last = marked["status"]["conditions"]
    marked["status"]["conditions"] = [*before, last | {"status": "False"}]
    return marked


def _again(trial: Mapping) -> dict:
    """A Trial that was ended, as it was before it began."""
    created = [one for one in trial["status"]["conditions"] if one["type"] == "Created"]
    return {**trial, "status": {"conditions": created, "startTime": trial["status"]["startTime"]}}


def _assignment(trial: Mapping) -> dict[str, str]:
    return {one["name"]: one["value"] for one in trial["spec"]["parameterAssignments"]}


def _end_processes(uid: str) -> None:
    """End what an earlier runner of an Experiment has left running."""
    left = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(_MARK) == uid:
                process.kill()
                left.append(process)
    psutil.wait_procs(left, timeout=5)


class Tally:
    """What `summary` says of an Experiment's trials, brought up to date a trial at a time, in a
    time that does not grow with their number.
    """

    def __init__(self, objective: Mapping):
        """No trial yet; `objective` is the Experiment's `spec.objective`."""
        self._objective = objective
        self._numbers: dict[str, int] = {}
        self._kinds: dict[str, str] = {}
        self._names: dict[str, list[str]] = {kind: [] for kind in _LISTS}
        self._best: tuple[float, int, Mapping] | None = None

    def take(self, trial: Mapping) -> None:
        """Count in a trial, new or in a new state; one that has ended stays as it is."""
        name, kind = trial["metadata"]["name"], _kind(trial)
        number = self._numbers.setdefault(name, len(self._numbers))
        before = self._kinds.get(name)
        self._kinds[name] = kind
        if before != kind:
            if before:
                names = self._names[before]
                del names[bisect.bisect_left(names, number, key=self._numbers.__getitem__)]
            bisect.insort(self._names[kind], name, key=self._numbers.__getitem__)
        if (value := _judged(trial, self._objective)) is not None:
            # of two as good, the older one
            rank = (value if self._objective["type"] == "minimize" else -value, number, trial)
            if self._best is None or rank[:2] < self._best[:2]:
                self._best = rank

    def status(self) -> dict:
        """The part of the Experiment's status that follows from its trials."""
        return _status(len(self._numbers), self._names, self._best and self._best[2])


def _kind(trial: Mapping) -> str:
    return "Pending" if (kind := state(trial)) in ("Created", "") else kind


def _judged(trial: Mapping, objective: Mapping) -> float | None:
    """The value by which a trial is compared with others; None for one that is not."""
    if state(trial) not in ("Succeeded", "EarlyStopped"):
        return None
    return metrics.objective_value(trial["status"].get("observation", {}).get("metrics"), objective)


def _status(trials: int, names: Mapping[str, Sequence[str]], best: Mapping | None) -> dict:
    made: dict = {"trials": trials}
    for kind, (listed, count) in _LISTS.items():
        if names[kind]:  # as on a cluster: what is empty is left out
            made |= {listed: list(names[kind]), count: len(names[kind])}
    if best:
        made["currentOptimalTrial"] = {
            "bestTrialName": best["metadata"]["name"],
            "parameterAssignments": best["spec"]["parameterAssignments"],
            "observation": best["status"]["observation"],
        }
    return made


def summary(trials: Sequence[Mapping], objective: Mapping) -> dict:
    """The part of an Experiment's status that follows from its trials: counts, lists of names, and
    the best trial so far.

    Taught in notebook 05.

    Args:
        trials: Trial objects.
        objective: the Experiment's `spec.objective`.
    """
    names: dict[str, list[str]] = {kind: [] for kind in _LISTS}
    judged = {}
    for number, trial in enumerate(trials):
        names[_kind(trial)].append(trial["metadata"]["name"])
        if (value := _judged(trial, objective)) is not None:
            judged[number] = value
    choose = min if objective["type"] == "minimize" else max
    best = trials[choose(judged, key=judged.__getitem__)] if judged else None
    return _status(len(trials), names, best)


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
            "ExperimentFailed",
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
