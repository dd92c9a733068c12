"""The whole chain of the course in one go, without opening a notebook: `workshop tour`, or `make
tour`.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from kubeflow_workshop.errors import CourseError

if TYPE_CHECKING:
    from kubeflow_workshop.stock import train

STEPS = ("prices", "train the talk's network", "train the relative network", "tune", "judge")
FIRST_DAY = "2012-03-01"
TRIALS = 6
EPOCHS = 30
"""Of each trial: a short search, to see one. Notebook 05 has a longer one."""


def run(output: Path) -> Path:
    """Prices, training, tuning, judgement: a line a step, a table, and a figure.

    What each step does is taught in notebooks 03 to 05.

    Args:
        output: the directory that the figure is written to, made if need be.

    Returns:
        The path of the figure.

    Raises:
        CourseError: if `output` cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output).close()
    except OSError as error:
        raise CourseError(
            f"{output} cannot be written ({error.strerror}); give a directory where you may write."
        ) from None
    figure = output / "tour.png"
    steps = iter(STEPS)
    with _step(steps) as say:
        from kubeflow_workshop.stock import prices

        year = prices.load("MSFT", start=FIRST_DAY)
        say(f"{len(year)} days of Microsoft, {year.index[0]:%Y-%m-%d} to {year.index[-1]:%Y-%m-%d}")
    trained = {}
    for network in ("talk", "relative"):
        with _step(steps) as say:
            from kubeflow_workshop.stock import train

            trained[network] = train.train(year, train.Hyperparameters(network=network))
            say(f"validation MAE {trained[network].progress[-1].validation_mae:.2f} dollars")
    with _step(steps) as say:
        chosen = _tune()
        trained["tuned"] = train.train(year, chosen)
        say(
            f"the best of {TRIALS} trials: window {chosen.window}, learning rate"
            f" {chosen.learning_rate:.2g}, units {chosen.units};"
        )
        say(f"validation MAE {trained['tuned'].progress[-1].validation_mae:.2f} dollars")
    with _step(steps) as say:
        table = _judge(trained)
        errors = table["test MAE, dollars"]
        _draw(trained, errors, figure)
        say(
            f"on {trained['talk'].scores.days} days that no network has seen, the best is:"
            f" {errors.idxmin()}"
        )
    print(f"\n{table.to_string(float_format='{:.3f}'.format)}\n\nThe figure: {figure}")
    return figure


@contextmanager
def _step(steps: Iterator[str]) -> Iterator:
    """Number a step, and print what it said with the seconds it took."""
    name = next(steps)
    said: list[str] = []
    begin = time.monotonic()
    yield said.append
    print(
        f"[{STEPS.index(name) + 1}/{len(STEPS)}] {name}: {' '.join(said)}"
        f" ({time.monotonic() - begin:.1f} s)",
        flush=True,
    )


def _tune() -> "train.Hyperparameters":
    """Search with a Katib Experiment on this machine, wherever WORKSHOP_TARGET points: a tour needs
    no cluster.
    """
    from kubeflow_workshop import case_study
    from kubeflow_workshop.katib import rules
    from kubeflow_workshop.katib.laptop import Laptop
    from kubeflow_workshop.stock import train

    arguments = [
        "--ticker=MSFT",
        f"--start={FIRST_DAY}",
        "--network=relative",
        f"--epochs={EPOCHS}",
    ]
    with tempfile.TemporaryDirectory() as room:
        door = Laptop(room)
        name = door.create(
            case_study.experiment(
                rules.RANDOM,
                {"random_state": 0},
                name="tour",
                max_trials=TRIALS,
                early_stopping=False,
                arguments=arguments,
            )
        )
        door.wait(name)
        best = {one["name"]: one["value"] for one in door.best(name)["parameterAssignments"]}
    return train.Hyperparameters(
        window=int(best["window"]),
        learning_rate=float(best["learning-rate"]),
        units=int(best["units"]),
        epochs=EPOCHS,
    )


def _judge(trained: dict) -> pd.DataFrame:
    """One row per forecaster: its error on the test days, and its skill against persistence."""
    rows = {
        network: (
            result.scores.mae,
            result.scores.skill,
            f"{result.scores.skill_low:+.2f} to {result.scores.skill_high:+.2f}",
        )
        for network, result in trained.items()
    }
    rows["tomorrow = today"] = (trained["talk"].scores.persistence_mae, 0.0, "")
    return pd.DataFrame.from_dict(
        rows, orient="index", columns=["test MAE, dollars", "skill", "95 % of it"]
    )


def _draw(trained: dict, errors: pd.Series, figure: Path) -> None:
    import matplotlib.pyplot as plt

    from kubeflow_workshop.stock import model, plots

    plots.style()
    # the same days, whatever the window
    tests = {name: result.parts.test for name, result in trained.items()}
    days = {"price": pd.Series(tests["talk"].targets, tests["talk"].dates)}
    days |= {
        name: pd.Series(model.forecast(trained[name].model, test), test.dates)
        for name, test in tests.items()
    }
    drawn, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), width_ratios=[3, 2])
    plots.lines(
        days,
        title="The last month, forecast a day ahead",
        x="",
        y="Microsoft, dollars",
        ax=left,
    )
    plots.bars(
        {name.replace(" = ", "\n= "): error for name, error in errors.items()},
        title="Doing nothing is hard to beat",
        y="test MAE, dollars",
        ax=right,
    )
    partial = figure.with_name(".tour.partial.png")
    drawn.savefig(partial)
    partial.replace(figure)
    plt.close(drawn)
