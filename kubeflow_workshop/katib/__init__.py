"""Katib on a laptop and on a cluster: the same Experiment (`spec`), run here (`laptop`) or there
(`cluster`).

Taught in notebook 05. This room knows nothing of the case study: it tunes any training program.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

Watch = Callable[[dict, list[dict]], None]
"""What is called with an Experiment and its Trials (oldest first) when one of them changes."""


class Door(Protocol):
    """Where Experiments run: what the laptop and a cluster both can do.

    Taught in notebook 05. Every method raises `CourseError` for what a user can mend, and its kind
    `objects.AbsentError` if there is no Experiment or Trial of that name.
    """

    def create(self, document: dict, *, replace: bool = False) -> str:
        """Start an Experiment from its document; returns its name at once. `replace` deletes the
        Experiment of that name first, if there is one.
        """

    def get(self, name: str) -> dict:
        """The Experiment with its status."""

    def experiments(self) -> list[dict]:
        """Every Experiment that is there, with its status, by name."""

    def trials(self, name: str) -> list[dict]:
        """Its Trial objects, oldest first."""

    def best(self, name: str) -> dict:
        """The best trial so far: `bestTrialName`, `parameterAssignments`, `observation`."""

    def logs(self, trial: str) -> str:
        """What a trial has printed so far."""

    def wait(self, name: str, watch: Watch | None = None, timeout: float | None = None) -> dict:
        """Wait until an Experiment has succeeded or failed; returns it with its status. `watch` is
        called with the Experiment and its Trials at every change; after `timeout` seconds it is a
        `CourseError`, and the Experiment goes on.
        """

    def delete(self, name: str) -> None:
        """End an Experiment, and return when it is gone with all that belongs to it."""


def connect(state: str | Path | None = None, commands: Sequence[tuple[str, str]] = ()) -> Door:
    """The door that `WORKSHOP_TARGET` chooses.

    Taught in notebook 05.

    Args:
        state: on a laptop, the directory in which Experiments are kept.
        commands: on a laptop, programs to run in the place of those that an Experiment names, as
            pairs of old and new.

    Raises:
        CourseError: if the target is unknown, or a cluster is meant and none can be reached; or the
            arguments mean nothing there.
    """
    from kubeflow_workshop.errors import CourseError
    from kubeflow_workshop.target import target

    if target() == "cluster":
        if state or commands:
            raise CourseError(
                "WORKSHOP_TARGET is cluster, which keeps the Experiments itself and runs the image:"
                " leave --state and --command out there."
            )
        from kubeflow_workshop.katib.cluster import Cluster

        return Cluster()
    from kubeflow_workshop.katib.laptop import STATE, Laptop

    return Laptop(state or STATE, commands)
