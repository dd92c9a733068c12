"""See an Experiment while it runs, and as a table of numbers afterwards.

Taught in notebook 05. The table is the same in a terminal and in a notebook, on a laptop and on a
cluster: it reads Experiment and Trial objects.
"""

import sys
from collections.abc import Callable, Mapping, Sequence

import pandas as pd
from rich.console import Console
from rich.live import Live
from rich.table import Table

from kubeflow_workshop.katib import Door, Watch
from kubeflow_workshop.katib.metrics import objective_value
from kubeflow_workshop.katib.rules import as_number
from kubeflow_workshop.katib.spec import view
from kubeflow_workshop.objects import state

ROWS = 15
"""How many trials the table shows: the latest ones; the best is shown in any case."""


def frame(experiment: Mapping, trials: Sequence[Mapping]) -> pd.DataFrame:
    """The trials as numbers, for plots and for asking questions.

    Taught in notebook 05.

    Args:
        experiment: the Experiment.
        trials: its Trial objects, oldest first.

    Returns:
        One row per trial, with the trial's name as index `trial`. Columns: one per parameter
        (float64 if all its values are numbers, else text), one with the objective's name (float64,
        NaN without a value), and `state`.
    """
    said = view(experiment)
    names = [parameter["name"] for parameter in said.parameters]
    rows = []
    for trial in trials:
        value = _value(trial, said.objective)
        assigned = {one["name"]: one["value"] for one in trial["spec"]["parameterAssignments"]}
        rows.append(
            [
                trial["metadata"]["name"],
                *(assigned.get(name) for name in names),
                float("nan") if value is None else value,
                state(trial),
            ]
        )
    made = pd.DataFrame(rows, columns=["trial", *names, said.metrics[0], "state"]).set_index(
        "trial"
    )
    for name in names:
        if len(made) and all(as_number(value) is not None for value in made[name]):
            made[name] = made[name].astype("float64")
    return made


def table(experiment: Mapping, trials: Sequence[Mapping]) -> Table:
    """The trials as a table for people: the best, marked, and the latest.

    Taught in notebook 05.

    Args:
        experiment: the Experiment.
        trials: its Trial objects, oldest first.
    """
    said = view(experiment)
    names = [parameter["name"] for parameter in said.parameters]
    best = experiment.get("status", {}).get("currentOptimalTrial", {}).get("bestTrialName")
    title = (
        f"{experiment['metadata']['name']}: {state(experiment) or 'Created'},"
        f" {len(trials)}{f' of {said.most}' if said.most else ''} trials"
    )
    made = Table(title=title, title_justify="left")
    made.add_column("trial")
    made.add_column("state")
    for name in (*names, said.metrics[0]):
        made.add_column(name, justify="right")
    numbered = list(enumerate(trials, 1))
    shown = [
        one for one in numbered if one[1]["metadata"]["name"] == best or one[0] > len(trials) - ROWS
    ]
    for number, trial in shown:
        is_best = trial["metadata"]["name"] == best
        assigned = {one["name"]: one["value"] for one in trial["spec"]["parameterAssignments"]}
        value = _value(trial, said.objective)
        cells = [_short(assigned.get(name, "")) for name in names] + [
            "" if value is None else f"{value:.4g}"
        ]
        made.add_row(
            f"{number}{' best' if is_best else ''}",
            state(trial),
            *cells,
            style="bold" if is_best else None,
        )
    return made


def _value(trial: Mapping, objective: Mapping) -> float | None:
    """The number by which a trial is judged, as far as it has one."""
    observation = trial.get("status", {}).get("observation", {})
    return objective_value(observation.get("metrics"), objective)


def _short(value: str) -> str:
    number = as_number(value)
    return value if number is None else f"{number:.4g}"


def follow(door: Door, name: str) -> dict:
    """Wait for an Experiment, with its table on the screen; returns the Experiment and its status.

    Taught in notebook 05. In a notebook and in a terminal the table changes as the trials do. Where
    the output is a file, one line is written for each trial that ends.
    """
    console = Console(stderr=True)
    if "IPython" in sys.modules and Console().is_jupyter:
        from IPython.display import display

        shown = display(table(door.get(name), door.trials(name)), display_id=True)
        return door.wait(name, lambda experiment, trials: shown.update(table(experiment, trials)))
    if console.is_terminal:
        with Live(table(door.get(name), door.trials(name)), console=console) as live:
            return door.wait(
                name, lambda experiment, trials: live.update(table(experiment, trials))
            )
    return door.wait(name, _lines(console.file.write))


def _lines(write: Callable[[str], object]) -> Watch:
    """Writes a line for each trial that has ended since the last call."""
    told: set[str] = set()

    def watch(experiment: dict, trials: list[dict]) -> None:
        for trial in trials:
            name = trial["metadata"]["name"]
            if name in told or (kind := state(trial)) in ("", "Created", "Running"):
                continue
            told.add(name)
            said = view(experiment)
            value = _value(trial, said.objective)
            assigned = " ".join(
                f"{one['name']}={_short(one['value'])}"
                for one in trial["spec"]["parameterAssignments"]
            )
            result = "" if value is None else f" → {said.metrics[0]}={value:.4g}"
            write(f"{name}: {kind}, {assigned}{result}\n")

    return watch
