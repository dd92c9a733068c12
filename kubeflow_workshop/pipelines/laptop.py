"""The door to this laptop: a pipeline's compiled YAML, run here with kfp.local.

Taught in notebook 06. The file is run as it is: its bytes are copied into the run's folder, and a
process of its own (`runner`) loads that copy. A run that was stopped, or has failed, goes on from
the cache when it is run again: steps that ended well, with the same inputs, are not run twice.
"""

import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from sys import executable
from typing import Any

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.objects import AbsentError, now
from kubeflow_workshop.pipelines import Watch, spec
from kubeflow_workshop.pipelines.store import Store, ended
from kubeflow_workshop.process import Program, start

STATE = Path("build/pipelines")
"""Where the runs are kept unless another directory is given."""
_REST = 0.1
"""Seconds between two looks at a run."""


class Laptop:
    """The laptop's door to Kubeflow Pipelines: a `pipelines.Door`, as `cluster.Cluster` is another.

    Taught in notebook 06.
    """

    def __init__(self, state: str | Path = STATE, volumes: Mapping[str, str | Path] | None = None):
        """Look at what is kept.

        Args:
            state: the directory in which runs are kept, `STATE/runs/RUN_ID/`, and the cache.
            volumes: folders that stand for volume claims, by the claim's name; a claim without one
                gets `STATE/volumes/CLAIM`.
        """
        self.state = Path(state)
        self._volumes = {claim: str(folder) for claim, folder in (volumes or {}).items()}
        self._programs: dict[str, tuple[Program, threading.Thread]] = {}

    def create(
        self,
        file: str | Path,
        arguments: Mapping[str, object] | None = None,
        *,
        name: str | None = None,
        experiment: str | None = None,
        cache: bool = True,
    ) -> str:
        """Start a run of the pipeline in a compiled YAML file; returns its `run_id` at once.

        Taught in notebook 06.

        Args:
            file: the file, which is run as it is.
            arguments: the pipeline's parameters; those with a default may be left out.
            name: what to call the run; without it, the pipeline's name and the time.
            experiment: the group of runs that it belongs to.
            cache: take results of earlier runs where a step with the same inputs has ended well.

        Raises:
            CourseError: if the file is no pipeline, the laptop cannot run one of its steps, an
                argument does not fit, or the state cannot be written; nothing has started then.
        """
        pipeline = spec.read(file)
        spec.refuse_on_laptop(pipeline)
        bound = spec.bind(pipeline, arguments or {})
        created = now(precise=True)
        run: dict[str, Any] = {
            "run_id": str(uuid.uuid4()),
            "display_name": name or pipeline.run_name(created),
            "experiment_id": experiment or "Default",
            "state": "PENDING",
            "created_at": created,
            "runtime_config": {"parameters": bound},
        }
        store = Store(self.state, run["run_id"])
        plan = {
            "arguments": bound,
            "cache": cache,
            "cache_root": str((self.state / "cache").absolute()),
            "volumes": self._volumes,
            "volume_root": str(self.state / "volumes"),
        }
        try:
            store.make(Path(file).read_bytes(), plan, run)
        except OSError as error:
            raise CourseError(
                f"{self.state} cannot be written ({error.strerror}); give a directory where you may"
                " write (--state DIR)."
            ) from None
        program = start(
            [executable, "-m", "kubeflow_workshop.pipelines.runner", str(self.state), store.run]
        )
        waiting = threading.Thread(target=program.wait, daemon=True)
        waiting.start()
        self._programs[store.run] = program, waiting
        return store.run

    def get(self, run: str) -> dict:
        """The Run. One whose runner was ended from outside has failed."""
        return self._now(Store.find(self.state, run))

    def _now(self, store: Store) -> dict:
        found = store.get()
        begun = self._programs.get(store.run)
        runs = begun[1].is_alive() if begun else store.runs() or found["state"] == "PENDING"
        if runs or ended(found):
            return found
        if ended(found := store.get()):  # it ended while we looked
            return found
        message = (
            "the process that ran it was ended from outside (was there memory enough?); run it"
            " again, and what has succeeded is taken from the cache"
        )
        return found | {"state": "FAILED", "error": {"message": message}}

    def runs(self) -> list[dict]:
        """Every run that is kept, the newest first."""
        kept = [self._now(store) for store in Store.all(self.state)]
        return sorted(kept, key=lambda run: run["created_at"], reverse=True)

    def tasks(self, run: str) -> list[dict]:
        """The steps of a run that were begun or skipped, oldest first, each iteration of a loop on
        its own. Beside the keys that `Door.tasks` names, there is `outputs`: what the step
        returned, by name; an artifact is its `uri`, `type` and `metadata`.
        """
        return Store.find(self.state, run).tasks()

    def logs(self, run: str, task: str) -> str:
        """What a task has printed so far; nothing if its result comes from the cache.

        Raises:
            AbsentError: if the run has no such task.
            CourseError: if there are several of that name.
        """
        store = Store.find(self.state, run)
        tasks = store.tasks()
        found = [one["task_id"] for one in tasks if task in (one["task_id"], one["display_name"])]
        if task in found:
            found = [task]
        if not found:
            raise AbsentError(
                f"run {run} has no task {task}; it has"
                f" {', '.join(one['task_id'] for one in tasks) or 'none yet'}."
            )
        if len(found) > 1:
            raise CourseError(f"run {run} has several tasks {task}; give one: {', '.join(found)}.")
        log = store.log(found[0])
        return log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""

    def pages(self, run: str) -> dict[str, Path]:
        """The HTML pages that the steps of a run have written, by task; open them in a browser."""
        store = Store.find(self.state, run)
        pages = {one["task_id"]: store.page(one["task_id"]) for one in store.tasks()}
        return {task: page for task, page in pages.items() if page.is_file()}

    def pipeline(self, run: str) -> Path:
        """The file that a run runs: its own copy of it."""
        return Store.find(self.state, run).pipeline

    def wait(self, run: str, watch: Watch | None = None, timeout: float | None = None) -> dict:
        """Wait until a run has ended.

        Taught in notebook 06. When the wait is broken off (Ctrl-C), a run that this door has begun
        is ended, too, and is CANCELED; another process's run goes on.

        Args:
            run: its id.
            watch: called with the Run and its tasks whenever one of them changes.
            timeout: seconds; None is for ever.

        Returns:
            The Run.

        Raises:
            CourseError: if there is no such run, or the time is over; it goes on running then.
        """
        store = Store.find(self.state, run)
        deadline = None if timeout is None else time.monotonic() + timeout
        seen: tuple[int, ...] = ()
        try:
            while True:
                changed = store.changed
                found = self._now(store)
                if watch and (changed != seen or ended(found)):
                    watch(found, store.tasks())
                seen = changed
                if ended(found):
                    return found
                if deadline is not None and time.monotonic() > deadline:
                    raise CourseError(
                        f"run {store.run} still runs after {timeout:g} seconds; it goes on, wait"
                        " for it again."
                    )
                time.sleep(_REST)
        except KeyboardInterrupt:
            self._stop(store)
            raise

    def stop(self) -> None:
        """End every run that this door has begun."""
        for run in list(self._programs):
            self._stop(Store(self.state, run))

    def _stop(self, store: Store) -> None:
        if not (begun := self._programs.pop(store.run, None)):
            return
        program, waiting = begun
        program.end()
        waiting.join()
        if ended(run := store.get()):
            return
        canceled = {"state": "CANCELED"}
        tasks = [one if ended(one) else one | canceled for one in store.tasks()]
        store.keep(run | canceled | {"finished_at": now(precise=True)}, tasks)

    def delete(self, run: str) -> None:
        """End a run, if this door has begun it, and remove all that is kept of it. What it has put
        into the cache is not taken from there any more, because the results were in its folder.

        Raises:
            CourseError: if there is no such run, or another process runs it.
        """
        store = Store.find(self.state, run)
        self._stop(store)
        if store.runs():
            raise CourseError(
                f"run {store.run} is being run by another process; wait until it has ended, or end"
                " it with Ctrl-C."
            )
        store.remove()
