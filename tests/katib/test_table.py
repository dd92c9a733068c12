"""Trials as numbers and as a table."""

import io

import pandas as pd
from rich.console import Console

from kubeflow_workshop.katib import table
from tests.katib.experiments import choice, experiment, number


def trial(name: str, kind: str, loss: str | None, **assigned: str) -> dict:
    made = {
        "metadata": {"name": name},
        "spec": {
            "parameterAssignments": [
                {"name": key, "value": value} for key, value in assigned.items()
            ]
        },
    }
    made["status"] = {
        "conditions": [{"type": "Created", "status": "True"}, {"type": kind, "status": "True"}]
    }
    if loss is not None:
        made["status"]["observation"] = {
            "metrics": [{"name": "loss", "min": loss, "max": loss, "latest": loss}]
        }
    return made


SEARCH = experiment(
    parameters=[number(min="0", max="1"), choice("categorical", "a", "1", name="c")],
    maxTrialCount=40,
)
TRIALS = [
    trial("t1", "Succeeded", "0.25", x="0.123456789", c="a"),
    trial("t2", "Failed", None, x="1e-05", c="1"),
    trial("t3", "Running", None, x="0.5", c="1"),
]


def shown(experiment: dict, trials: list) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(table.table(experiment, trials))
    return console.file.getvalue()


def test_the_frame_holds_numbers_where_all_are_numbers():
    frame = table.frame(SEARCH, TRIALS)
    assert list(frame.columns) == ["x", "c", "loss", "state"]
    assert list(frame.index) == ["t1", "t2", "t3"]
    assert frame["x"].tolist() == [0.123456789, 1e-5, 0.5]
    assert frame["c"].tolist() == ["a", "1", "1"]
    assert frame["loss"].iloc[0] == 0.25
    assert frame["loss"].isna().tolist() == [False, True, True]
    assert frame["loss"].dtype == "float64"
    assert frame["state"].tolist() == ["Succeeded", "Failed", "Running"]


def test_the_frame_of_no_trials_has_the_columns():
    frame = table.frame(SEARCH, [])
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == ["x", "c", "loss", "state"]
    assert len(frame) == 0


def test_the_table_marks_the_best_and_shortens_numbers():
    lines = shown(
        SEARCH | {"status": {"currentOptimalTrial": {"bestTrialName": "t1"}}}, TRIALS
    ).splitlines()
    assert "try: Created, 3 of 40 trials" in lines[0]
    best = next(line for line in lines if "best" in line)
    for word in ("1 best", "Succeeded", "0.1235", "0.25"):
        assert word in best
    assert sum("best" in line for line in lines) == 1


def test_of_many_trials_the_best_and_the_latest_are_shown():
    trials = [trial(f"t{n}", "Succeeded", str(n), x="0", c="a") for n in range(40)]
    text = shown(SEARCH | {"status": {"currentOptimalTrial": {"bestTrialName": "t0"}}}, trials)
    numbers = [line.split()[1] for line in text.splitlines() if "Succeeded" in line]
    assert numbers == ["1", *(str(n) for n in range(41 - table.ROWS, 41))]


def test_where_nothing_moves_each_ended_trial_is_a_line_once():
    written: list[str] = []
    watch = table._lines(written.append)
    watch(SEARCH, TRIALS[:1])
    watch(SEARCH, TRIALS)
    watch(SEARCH, TRIALS)
    assert written == ["t1: Succeeded, x=0.1235 c=a → loss=0.25\n", "t2: Failed, x=1e-05 c=1\n"]
