"""See a run while it goes on, and its numbers afterwards.

Taught in notebook 06. In a notebook this is the drawn pipeline, in a terminal a table; both read
the Run and the tasks of a door, on a laptop and on a cluster.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.live import Live
from rich.table import Table

from kubeflow_workshop.pipelines import Door, Watch, spec
from kubeflow_workshop.pipelines.store import duration, ended


def table(run: Mapping, tasks: Sequence[Mapping]) -> Table:
    """The steps of a run for people, oldest first.

    Taught in notebook 06.
    """
    seconds = duration(run)
    title = f"{run['display_name']}: {run['state']}" + (f", {seconds:.1f} s" if seconds else "")
    made = Table(title=title, title_justify="left")
    made.add_column("step")
    made.add_column("state")
    made.add_column("seconds", justify="right")
    for task in tasks:
        seconds = None if task.get("cached") else duration(task)
        state = f"{task['state']} (cached)" if task.get("cached") else task["state"]
        dim = "dim" if task["state"] == "SKIPPED" else None
        made.add_row(task["task_id"], state, "" if seconds is None else f"{seconds:.1f}", style=dim)
    return made


def metrics(tasks: Sequence[Mapping]) -> pd.DataFrame:
    """The scalar metrics that the steps of a run have logged.

    Taught in notebook 06.

    Returns:
        One row per task that has logged any, with its id as index `task`; one float64 column per
        metric, by name (the metadata of an artifact has no order), NaN where a task has not
        logged it.
    """
    rows = {
        task["task_id"]: artifact["metadata"]
        for task in tasks
        for artifact in artifacts(task)
        if artifact["type"] == "system.Metrics"
    }
    made = pd.DataFrame.from_dict(rows, orient="index").rename_axis("task")
    extra = ["display_name", "store_session_info"]
    return made.drop(columns=extra, errors="ignore").sort_index(axis="columns")


def artifacts(task: Mapping) -> list[dict]:
    """The artifacts that a task on a laptop has made: `uri`, `type`, `metadata`."""
    outputs = task.get("outputs", {}).values()
    found = [one for value in outputs for one in (value if isinstance(value, list) else [value])]
    return [
        one for one in found if isinstance(one, dict) and set(one) == {"uri", "type", "metadata"}
    ]


def follow(door: Door, run: str, file: str | Path | None = None) -> dict:
    """Wait for a run, with its graph or its table on the screen; returns the Run.

    Taught in notebook 06. In a notebook the drawn pipeline changes as the steps do, if the file is
    given. In a terminal it is a table, and where the output is a file, one line is written for each
    step that ends.
    """
    console = Console(stderr=True)
    if file and "IPython" in sys.modules and Console().is_jupyter:
        from IPython.display import display

        from kubeflow_workshop.pipelines.graph import Drawing

        pipeline = spec.read(file)
        shown = display(Drawing(pipeline, door.tasks(run)), display_id=True)
        return door.wait(run, lambda _, tasks: shown.update(Drawing(pipeline, tasks)))
    if console.is_terminal:
        with Live(table(door.get(run), door.tasks(run)), console=console) as live:
            return door.wait(run, lambda one, tasks: live.update(table(one, tasks)))
    return door.wait(run, _lines(console.file.write))


def _lines(write: Callable[[str], object]) -> Watch:
    """Writes a line for each task that has ended since the last call."""
    told: set[str] = set()

    def watch(run: dict, tasks: list[dict]) -> None:
        for task in tasks:
            name = task["task_id"]
            if name in told or not ended(task):
                continue
            told.add(name)
            seconds = duration(task)
            how = ", cached" if task.get("cached") else f", {seconds:.1f} s" if seconds else ""
            write(f"{name}: {task['state']}{how}\n")

    return watch
