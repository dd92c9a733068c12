"""Kubeflow Pipelines on a laptop and on a cluster: the same compiled YAML (`spec`), run here
(`laptop`) or there (`cluster`).

Taught in notebook 06. What both doors show of a run is the Run of KFP's v2 API, as its JSON has it
(`run_id`, `display_name`, `state`, `created_at`, `finished_at`, `error`, `runtime_config`,
`run_details`), so that one table and one graph read both.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

Watch = Callable[[dict, list[dict]], None]
"""What is called with a Run and its tasks (oldest first) when one of them changes."""

ENDED = {"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"}
"""The states of a Run or a task that has ended. The others: PENDING, RUNNING, CANCELING, PAUSED."""


class Door(Protocol):
    """Where pipelines run: what the laptop and a cluster both can do.

    Taught in notebook 06. Every method raises `CourseError` for what a user can mend, and its kind
    `objects.AbsentError` if there is no run or task of that name. A run is named by its `run_id`,
    or by the first letters of it, if they are enough.
    """

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

        Args:
            file: the file, which is run as it is.
            arguments: the pipeline's parameters; those with a default may be left out.
            name: what to call the run; without it, the pipeline's name and the time.
            experiment: the group of runs that it belongs to (an experiment of KFP, and not of
                Katib); without it, the one that is called Default.
            cache: take results of earlier runs where a step with the same inputs has ended well.
        """

    def get(self, run: str) -> dict:
        """The Run, without the details of its tasks."""

    def runs(self) -> list[dict]:
        """Every Run that is there, the newest first."""

    def tasks(self, run: str) -> list[dict]:
        """The steps of a run, oldest first, as the `task_details` of KFP's v2 API: one for each
        step that was begun or skipped, and each iteration of a loop has its own. Drivers and groups
        (conditions, loops) are not among them.

        Keys: `task_id`; `display_name`, the step's name in the YAML; `state`, also SKIPPED;
        `start_time`, `end_time` (RFC 3339, absent if it has not begun or ended); `error` with
        `message`, if it failed; and beside KFP's own, `iteration`, which says in which turn of a
        loop (such as `2`; `0.1` in nested loops; empty outside of loops), and `cached`, true if
        the result is an earlier run's.
        """

    def logs(self, run: str, task: str) -> str:
        """What a task has printed so far; `task` is its `task_id`, or its `display_name` if there
        is one of it.
        """

    def wait(self, run: str, watch: Watch | None = None, timeout: float | None = None) -> dict:
        """Wait until a run has ended; returns the Run. `watch` is called with the Run and its
        tasks at every change; after `timeout` seconds it is a `CourseError`, and the run goes on.
        """

    def delete(self, run: str) -> None:
        """End a run, and return when it is gone with all that belongs to it."""


def connect(
    state: str | Path | None = None, volumes: Mapping[str, str | Path] | None = None
) -> Door:
    """The door that `WORKSHOP_TARGET` chooses.

    Taught in notebook 06.

    Args:
        state: on a laptop, the directory in which runs are kept.
        volumes: on a laptop, the folders that stand for volume claims, by the claim's name.

    Raises:
        CourseError: if the target is unknown, or a cluster is meant and none can be reached; or the
            arguments mean nothing there.
    """
    from kubeflow_workshop.errors import CourseError
    from kubeflow_workshop.target import target

    if target() == "cluster":
        if state or volumes:
            raise CourseError(
                "WORKSHOP_TARGET is cluster, which keeps the runs itself and mounts the claims:"
                " leave --state and --volume out there."
            )
        from kubeflow_workshop.pipelines.cluster import Cluster

        return Cluster()
    from kubeflow_workshop.pipelines.laptop import STATE, Laptop

    return Laptop(state or STATE, volumes)
