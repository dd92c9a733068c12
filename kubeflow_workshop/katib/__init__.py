"""Katib on a laptop and on a cluster: the same Experiment (`spec`), run here (`laptop`) or there
(`cluster`).

Taught in notebook 05. This room knows nothing of the case study: it tunes any training program.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubeflow_workshop.katib.cluster import Cluster
    from kubeflow_workshop.katib.laptop import Laptop


def connect(
    state: str | Path | None = None, commands: Sequence[tuple[str, str]] = ()
) -> "Laptop | Cluster":
    """The door that `WORKSHOP_TARGET` chooses: both have create, wait, get, trials, logs, best and
    delete.

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
