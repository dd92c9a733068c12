"""The folder of an Experiment on disk: what a cluster would keep of it.

That is the Experiment with its status, a Trial object for each trial, each trial's log, and the
search's history: which trials it has made and learnt from, in this order. A document is written
under another name and then renamed, so that a reader finds it whole; the history grows by a line at
a time. Whatever moment a runner is killed at, what it has written before is there.

One process at a time runs an Experiment. It holds a lock that the system takes from it when it
ends, however that happens, so the lock also tells an Experiment that runs from one whose runner is
gone.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import yaml
from filelock import FileLock, Timeout

from kubeflow_workshop import objects
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.process import held

_PATIENCE = 0.5
"""Seconds for which a lock is waited for: another process may be looking whether it is held."""


class Store:
    """What is kept of one Experiment."""

    def __init__(self, state: Path, name: str):
        """The Experiment `name` in the directory `state`; nothing is read or written yet."""
        self.state, self.name = state, name
        self.folder = state / name
        self._experiment = self.folder / "experiment.yaml"
        self._history = self.folder / "history.jsonl"
        self._runner = self.folder / "runner"
        # beside the folder, so that the folder can be deleted while the lock is held
        self._lock = FileLock(state / f".{name}.lock", thread_local=False)
        self._noting: TextIO | None = None

    @classmethod
    def of_trial(cls, state: Path, trial: str) -> "Store":
        """The Experiment that a trial belongs to, by the trial's name."""
        return cls(state, trial.rpartition("-")[0])

    @classmethod
    def all(cls, state: Path) -> list["Store"]:
        """Every Experiment that is kept in a directory, by name."""
        return [cls(state, path.parent.name) for path in sorted(state.glob("*/experiment.yaml"))]

    def own(self) -> None:
        """Become the only one who runs or deletes this Experiment, until `release`.

        Raises:
            CourseError: if another process, or another search of this one, runs it; or the
                directory cannot be written.
        """
        with self._written(
            f"{self.state} cannot be written; give a directory where you may write (--state DIR)"
        ):
            self.state.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=_PATIENCE)
            except Timeout:
                runner = ""
                with suppress(OSError):
                    runner = f" (process {self._runner.read_text(encoding='utf-8')})"
                raise CourseError(
                    f"Experiment {self.name} in {self.state} is being run by another"
                    f" process{runner}; wait until it has ended, or end it with Ctrl-C."
                ) from None

    def release(self) -> None:
        """Let others run or delete this Experiment."""
        if self._noting:
            with suppress(OSError):  # a full disk has been told already
                self._noting.close()
            self._noting = None
        self._lock.release()

    def runs(self) -> bool:
        """Whether a process runs this Experiment."""
        return held(self._lock)

    def make(self) -> None:
        """Make the folder; what a creation or a deletion has left there half done goes.

        Raises:
            CourseError: if it cannot be written.
        """
        with self._written(
            f"{self.folder} cannot be written; give a directory where you may write (--state DIR)"
        ):
            self.remove()
            (self.folder / "logs").mkdir(parents=True)
            (self.folder / "trials").mkdir()

    def claim(self) -> None:
        """Say in the folder which process runs this Experiment."""
        with self._written():
            self._runner.write_text(str(os.getpid()), encoding="utf-8")

    @property
    def kept(self) -> bool:
        """Whether an Experiment is kept; a folder without one is half made."""
        return self._experiment.is_file()

    def require(self) -> "Store":
        """This store, if an Experiment is kept in it.

        Raises:
            AbsentError: if there is none.
        """
        if not self.kept:
            raise objects.AbsentError(
                f"{self.state} keeps no Experiment {self.name}; create it first."
            )
        return self

    def experiment(self) -> dict:
        """The Experiment with its status, as it was last written."""
        return _load(self._experiment)

    def trials(self) -> list[dict]:
        """The Trial objects, oldest first."""
        kept = [_load(path) for path in (self.folder / "trials").glob("*.yaml")]
        return sorted(kept, key=lambda trial: trial["metadata"]["creationTimestamp"])

    def history(self) -> list[dict]:
        """What was noted with `note`, in that order. A last line that is not whole was never
        noted.
        """
        if not self._history.is_file():
            return []
        *lines, _ = self._history.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines]

    def log(self, trial: str) -> Path:
        """Where the log of a trial is."""
        return self.folder / "logs" / f"{trial}.log"

    def metrics(self, trial: str) -> Path:
        """Where a trial writes its metrics, if its collector reads a file; the whole path."""
        return (self.folder / "logs" / f"{trial}.metrics").resolve()

    def keep_experiment(self, experiment: Mapping) -> None:
        """Write the Experiment."""
        with self._written():
            _write(self._experiment, objects.as_text(experiment))

    def keep_trial(self, trial: Mapping) -> None:
        """Write a Trial object."""
        with self._written():
            _write(
                self.folder / "trials" / f"{trial['metadata']['name']}.yaml",
                objects.as_text(trial),
            )

    def note(self, event: Mapping) -> None:
        """Write a line of the history."""
        with self._written():
            if not self._noting:
                # a line that a killed runner has not finished goes
                whole = "".join(f"{json.dumps(one)}\n" for one in self.history())
                _write(self._history, whole)
                self._noting = self._history.open("a", encoding="utf-8")
            self._noting.write(f"{json.dumps(event)}\n")
            self._noting.flush()

    def remove(self) -> None:
        """Remove all that is kept; the Experiment first, so that a rest is not taken for one."""
        self._experiment.unlink(missing_ok=True)
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def lost(self, error: OSError) -> CourseError:
        """What to say when something could not be written while the Experiment ran."""
        return CourseError(
            f"{error.filename or self.folder} cannot be written any more ({error.strerror}), so the"
            f" trials of {self.name} were ended; mend that and run it again: what is kept of it"
            " goes on."
        )

    @contextmanager
    def _written(self, otherwise: str = "") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not otherwise:
                raise self.lost(error) from None
            what, _, do = otherwise.partition(";")
            raise CourseError(f"{what} ({error.strerror});{do}.") from None


def _write(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _load(path: Path) -> dict:
    """A document of ours.

    Raises:
        CourseError: if someone has changed it so that it is none any more.
    """
    try:
        document = yaml.load(
            path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        )
    except (yaml.YAMLError, UnicodeDecodeError):
        document = None
    if not isinstance(document, dict):
        raise CourseError(
            f"{path} holds no object any more; delete the Experiment, and run it again."
        )
    return document
