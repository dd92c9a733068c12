"""The whole chain of the course in one go, without opening a notebook: `workshop tour`, or `make tour`."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from kubeflow_workshop.errors import CourseError

STEPS = ("prices", "train the talk's network", "train the relative network", "judge")


def run(output: Path) -> Path:
    """Prices, training, judgement: a line a step, a table, and a figure.

    What each step does is taught in notebooks 03 and 04.

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
        raise CourseError(f"{output} cannot be written ({error.strerror}); give a directory where you may write.") from None
    figure = output / "tour.png"
    steps = iter(STEPS)
    with _step(steps) as say:
        from kubeflow_workshop.stock import prices

        year = prices.load("MSFT", start="2012-03-01")
        say(f"{len(year)} days of Microsoft, {year.index[0]:%Y-%m-%d} to {year.index[-1]:%Y-%m-%d}")
    trained = {}
    for network in ("talk", "relative"):
        with _step(steps) as say:
            from kubeflow_workshop.stock import train

            trained[network] = train.train(year, train.Hyperparameters(network=network))
            say(f"validation MAE {trained[network].progress[-1].validation_mae:.2f} dollars")
    with _step(steps) as say:
        table = _judge(trained)
        errors = table["test MAE, dollars"]
        _draw(trained, errors, figure)
        say(f"on {trained['talk'].scores.days} days that no network has seen, the best is: {errors.idxmin()}")
    print(f"\n{table.to_string(float_format='{:.3f}'.format)}\n\nThe figure: {figure}")
    return figure


@contextmanager
def _step(steps: Iterator[str]) -> Iterator:
    """Number a step, and print what it said with the seconds it took."""
    name = next(steps)
    said: list[str] = []
    begin = time.monotonic()
    yield said.append
    print(f"[{STEPS.index(name) + 1}/{len(STEPS)}] {name}: {' '.join(said)} ({time.monotonic() - begin:.1f} s)", flush=True)


def _judge(trained: dict) -> pd.DataFrame:
    """A row a forecaster: its error on the test days, and its skill against persistence."""
    rows = {
        network: (result.scores.mae, result.scores.skill, f"{result.scores.skill_low:+.2f} to {result.scores.skill_high:+.2f}")
        for network, result in trained.items()
    }
    rows["tomorrow = today"] = (trained["talk"].scores.persistence_mae, 0.0, "")
    return pd.DataFrame.from_dict(rows, orient="index", columns=["test MAE, dollars", "skill", "95 % of it"])


def _draw(trained: dict, errors: pd.Series, figure: Path) -> None:
    import matplotlib.pyplot as plt

    from kubeflow_workshop.stock import model, plots

    plots.style()
    test = trained["talk"].parts.test
    days = {"price": test.targets, **{name: model.forecast(result.model, test) for name, result in trained.items()}}
    drawn, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), width_ratios=[3, 2])
    plots.lines(
        {name: pd.Series(values, test.dates) for name, values in days.items()},
        title="The last month, forecast a day ahead",
        x="",
        y="Microsoft, dollars",
        ax=left,
    )
    plots.bars(errors.to_dict(), title="Doing nothing is hard to beat", y="test MAE, dollars", ax=right)
    partial = figure.with_name(".tour.partial.png")
    drawn.savefig(partial)
    partial.replace(figure)
    plt.close(drawn)
