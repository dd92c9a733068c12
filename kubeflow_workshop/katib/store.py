"""The folder of an Experiment on disk: what a cluster would keep of it.

That is the Experiment with its status, a Trial object for each trial, and each trial's log. A file
is written under another name and then renamed, so that a reader finds it whole.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import yaml

from kubeflow_workshop import objects
from kubeflow_workshop.errors import CourseError


class Store:
    """What is kept of one Experiment."""

    def __init__(self, state: Path, name: str):
        """The Experiment `name` in the directory `state`; nothing is read or written yet."""
        self.state, self.name = state, name
        self.folder = state / name
        self._experiment = self.folder / "experiment.yaml"

    @classmethod
    def of_trial(cls, state: Path, trial: str) -> "Store":
        """The Experiment that a trial belongs to, by the trial's name."""
        return cls(state, trial.rpartition("-")[0])

    def make(self) -> None:
        """Make the folder.

        Raises:
            CourseError: if it is there already, or cannot be written.
        """
        try:
            (self.folder / "logs").mkdir(parents=True)
            (self.folder / "trials").mkdir()
        except FileExistsError:
            raise CourseError(
                f"an Experiment {self.name} is kept in {self.state} already; delete it first"
                " (workshop tune --replace), or give another name."
            ) from None
        except OSError as error:
            raise CourseError(
                f"{self.folder} cannot be written ({error.strerror}); give a directory where you"
                " may write (--state DIR)."
            ) from None

    def require(self) -> "Store":
        """This store, if an Experiment is kept in it.

        Raises:
            AbsentError: if there is none.
        """
        if not self._experiment.is_file():
            raise objects.AbsentError(
                f"{self.state} keeps no Experiment {self.name}; create it first."
            )
        return self

    def experiment(self) -> dict:
        """The Experiment with its status."""
        return _load(self._experiment)

    def trials(self) -> list[dict]:
        """The Trial objects, oldest first."""
        kept = [_load(path) for path in (self.folder / "trials").glob("*.yaml")]
        return sorted(kept, key=lambda trial: trial["metadata"]["creationTimestamp"])

    def log(self, trial: str) -> Path:
        """Where the log of a trial is."""
        return self.folder / "logs" / f"{trial}.log"

    def metrics(self, trial: str) -> Path:
        """Where a trial writes its metrics, if its collector reads a file; the whole path."""
        return (self.folder / "logs" / f"{trial}.metrics").resolve()

    def keep_experiment(self, experiment: Mapping) -> None:
        """Write the Experiment."""
        _write(self._experiment, experiment)

    def keep_trial(self, trial: Mapping) -> None:
        """Write a Trial object."""
        _write(self.folder / "trials" / f"{trial['metadata']['name']}.yaml", trial)

    def remove(self) -> None:
        """Remove all that is kept."""
        shutil.rmtree(self.folder)


def _write(path: Path, document: Mapping) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(objects.as_text(document), encoding="utf-8")
    os.replace(partial, path)


def _load(path: Path) -> dict:
    return yaml.load(
        path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
