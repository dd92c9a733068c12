"""The folder of a pipeline's run on a laptop: what a cluster would keep of it.

That is the YAML file, byte for byte, the Run and its tasks in the shape of KFP's v2 API, each
step's log, and what the steps have made. A document is written under another name and then renamed,
so that a reader finds it whole.

The process that runs the pipeline holds a lock that the system takes from it when it ends, however
that happens, so the lock also tells a run that goes on from one whose runner is gone.
"""

import json
import os
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.objects import AbsentError
from kubeflow_workshop.pipelines import ENDED
from kubeflow_workshop.process import held


class Store:
    """What is kept of one run."""

    def __init__(self, state: Path, run: str):
        """The run `run` in the directory `state`; nothing is read or written yet."""
        self.run, self.folder = run, state / "runs" / run
        self.pipeline = self.folder / "pipeline.yaml"
        self._plan = self.folder / "plan.json"
        self.lock = FileLock(self.folder / "runner.lock", thread_local=False)
        self._run, self._tasks = self.folder / "run.json", self.folder / "tasks.json"

    @classmethod
    def all(cls, state: Path) -> list["Store"]:
        """Every run that is kept in a directory."""
        return [cls(state, path.parent.name) for path in sorted(state.glob("runs/*/run.json"))]

    @classmethod
    def find(cls, state: Path, run: str) -> "Store":
        """The run of that id, or the only one whose id begins so.

        Raises:
            AbsentError: if there is none.
            CourseError: if there are several.
        """
        found = [store for store in cls.all(state) if store.run.startswith(run)] if run else []
        if exact := [store for store in found if store.run == run]:
            return exact[0]
        if not found:
            raise AbsentError(
                f"{state} keeps no run {run}; see the runs with workshop pipeline list."
            )
        if len(found) > 1:
            raise CourseError(
                f"{run} is the beginning of {len(found)} runs; give more letters of the run's id."
            )
        return found[0]

    def runs(self) -> bool:
        """Whether a process runs it."""
        return held(self.lock)

    def log(self, task: str) -> Path:
        """Where the log of a task is."""
        return self.folder / "logs" / f"{task}.log"

    def page(self, task: str) -> Path:
        """Where the HTML page that a task has written is."""
        return self.folder / "pages" / f"{task}.html"

    @property
    def changed(self) -> tuple[int, ...]:
        """What differs when the run or its tasks have been written anew."""
        return tuple(path.stat().st_mtime_ns for path in (self._run, self._tasks) if path.is_file())

    def keep(self, run: Mapping, tasks: list[dict]) -> None:
        """Write the Run and its tasks, the tasks first: a Run that has ended has all of them."""
        _write(self._tasks, tasks)
        _write(self._run, run)

    def make(self, pipeline: bytes, plan: Mapping, run: Mapping) -> None:
        """Make the folder of a run that waits to be run: `plan` is for the runner."""
        self.folder.mkdir(parents=True)
        self.pipeline.write_bytes(pipeline)
        _write(self._plan, plan)
        self.keep(run, [])

    def read_plan(self) -> dict:
        """What the runner is to do."""
        return _load(self._plan)

    def get(self) -> dict:
        """The Run, as it was last written."""
        return _load(self._run)

    def tasks(self) -> list[dict]:
        """Its tasks, oldest first."""
        return _load(self._tasks)

    def remove(self) -> None:
        """Remove all that is kept; the Run first, so that a rest is not taken for one."""
        self._run.unlink(missing_ok=True)
        shutil.rmtree(self.folder)


def ended(thing: Mapping) -> bool:
    """Whether a run or a task has ended."""
    return thing["state"] in ENDED


def duration(thing: Mapping) -> float | None:
    """Seconds that a task, or a run, took; None if it has not begun or not ended."""
    begin = thing.get("start_time") or thing.get("created_at")
    end = thing.get("end_time") or thing.get("finished_at")
    if not (begin and end):
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def _write(path: Path, content: object) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
    os.replace(partial, path)


def _load(path: Path) -> Any:
    """A document of ours.

    Raises:
        CourseError: if someone has changed it so that it is none any more.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CourseError(
            f"{path} cannot be read as what is kept of a run; remove its folder {path.parent}."
        ) from None
