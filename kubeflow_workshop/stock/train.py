"""The training program: prices in, metrics on standard output, a model version out.

Taught in notebook 04. The notebook calls `train`; Katib's trials, the pipeline's step and the image
run this module as a command:

    python -m kubeflow_workshop.stock.train --ticker MSFT --start 2012-03-01 --window 3 --output
    models/msft/1

Each metric is one line `name=value`, as Katib's StdOut collector reads them. With `--times` the
time stands before it: Katib's database sorts by it, and may take another value for the latest if
there is none.
"""

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kubeflow_workshop import repository
from kubeflow_workshop.errors import CourseError, CourseParser, exit_with_one_sentence
from kubeflow_workshop.stock import evaluate, model, prices
from kubeflow_workshop.stock.windows import Split, Windows, split, split_by_date, windows

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Hyperparameters:
    """What is chosen before the training begins; the defaults are those of the talk.

    Attributes:
        network: `talk` or `relative`.
        window: days in a window.
        units: size of the LSTM's state.
        learning_rate: of Adam.
        epochs: how many times training goes through all training windows.
        seed: of the first weights and of the shuffle.
    """

    network: str = "relative"
    window: int = 3
    units: int = 64
    learning_rate: float = 0.001
    epochs: int = 100
    seed: int = 0


@dataclass(frozen=True)
class Trained:
    """A trained network, the windows it was trained on, and how good it is.

    Attributes:
        model: window float32 [batch, window, 1], dollars → next close float32 [batch, 1], dollars.
        hyperparameters: what was chosen.
        parts: the windows it was trained, validated and tested on.
        progress: the errors as the training went, the last entry at its end.
        scores: on the test days, persistence beside them.
    """

    model: "keras.Model"
    hyperparameters: Hyperparameters
    parts: Split
    progress: list[model.Progress]
    scores: evaluate.Scores


def train(
    frame: pd.DataFrame,
    chosen: Hyperparameters | None = None,
    report: Callable[[model.Progress], None] | None = None,
    cut: Callable[[Windows], Split] = split,
) -> Trained:
    """Train a network on the oldest days, and judge it on the newest.

    Taught in notebook 04. The same prices and hyperparameters give the same numbers on the same
    machine.

    Args:
        frame: prices, as `prices.load` returns them; `adj_close` is used.
        chosen: the hyperparameters; the defaults without it.
        report: called after every ten epochs.
        cut: splits the windows; without it, 80 % train, 10 % validate, 10 % test.

    Raises:
        CourseError: if a hyperparameter is out of range, or there are too few prices for it.
    """
    chosen = chosen or Hyperparameters()
    parts = cut(windows(frame["adj_close"], chosen.window))
    network = model.build(chosen.network, chosen.window, chosen.units, chosen.seed)
    progress = model.fit(
        network,
        parts.train,
        parts.validation,
        chosen.learning_rate,
        chosen.epochs,
        chosen.seed,
        report,
    )
    scores = evaluate.score(model.forecast(network, parts.test), parts.test)
    return Trained(network, chosen, parts, progress, scores)


def card(trained: Trained, frame: pd.DataFrame, series: str, directory: Path) -> dict:
    """What a model version says about itself; the files' hashes are added when it is written.

    Taught in notebook 04. A score that is not a finite number (on very few test days, for example)
    is None, since JSON cannot write it.

    Args:
        trained: what `train` returned.
        frame: the prices it was given.
        series: where they came from, in a few words, such as `MSFT (bundled)`.
        directory: `MODELS/NAME/N`, where the version will be; a directory whose name is no number
            is a NAME of its own, at version 1.
    """
    directory = directory.absolute()
    numbered = directory.name.isdecimal()
    return {
        "name": directory.parent.name if numbered else directory.name,
        "version": int(directory.name) if numbered else 1,
        "network": trained.hyperparameters.network,
        "hyperparameters": asdict(trained.hyperparameters),
        "data": {
            "series": series,
            "column": "adj_close",
            "first_day": f"{frame.index[0]:%Y-%m-%d}",
            "last_day": f"{frame.index[-1]:%Y-%m-%d}",
            "rows": len(frame),
            "validation_from": f"{trained.parts.validation.dates[0]:%Y-%m-%d}",
            "test_from": f"{trained.parts.test.dates[0]:%Y-%m-%d}",
            "sha256": prices.fingerprint(frame),
        },
        "scores": {
            "training_mae": _finite(trained.progress[-1].training_mae),
            "validation_mae": _finite(trained.progress[-1].validation_mae),
            "test": trained.scores.as_json(),
        },
        "libraries": (
            {name: version(name) for name in ("kubeflow-workshop", "keras", "numpy", "pandas")}
            | {"tensorflow": _tensorflow_version()}
        ),
    }


@dataclass(frozen=True)
class Judged:
    """A model version on the days that it was not trained on.

    Attributes:
        card: of the version.
        windows: the test days.
        forecast: the price forecast for each, dollars; float32 [windows].
        scores: of that forecast.
    """

    card: dict
    windows: Windows
    forecast: np.ndarray
    scores: evaluate.Scores


def judge(version: Path, frame: pd.DataFrame) -> Judged:
    """Load a model version, and judge what it forecasts for its test days.

    Taught in notebook 06. What is judged is what was saved, and would be served.

    Args:
        version: the directory of a model version.
        frame: the prices that it was trained on; the test days are those of its card.

    Raises:
        CourseError: if there is no whole model version in `version`, or the prices are others than
            those it was trained on, so that nobody could say what it has seen of them.
    """
    network = model.load(version)
    described = repository.card(version)
    data = described["data"]
    if prices.fingerprint(frame) != data["sha256"]:
        raise CourseError(
            f"{version} was trained on other prices ({data['series']}, {data['first_day']} to"
            f" {data['last_day']}, SHA-256 {data['sha256'][:12]}…); give these, or train a version"
            " on the new ones."
        )
    test = test_days(described, frame)
    forecast = model.forecast(network, test)
    return Judged(described, test, forecast, evaluate.score(forecast, test))


def test_days(card: Mapping, frame: pd.DataFrame) -> Windows:
    """The windows on which a model version is judged: those of the test days that its card names.

    Args:
        card: of the version.
        frame: the prices that it was trained on.
    """
    made = windows(frame["adj_close"], card["hyperparameters"]["window"])
    return split_by_date(made, card["data"]["validation_from"], card["data"]["test_from"]).test


@contextmanager
def tensorboard(directory: Path) -> Iterator[Callable[[model.Progress], None]]:
    """Write the errors of a training as TensorBoard reads them, while it goes.

    Taught in notebook 06. As with Keras, there are two runs, `directory/train` and
    `directory/validation`, so that TensorBoard draws both lines in one figure: the scalar `mae`,
    dollars, by epoch.

    Args:
        directory: where the logs will be; each training needs one of its own.

    Returns:
        What `train` takes as `report`. The first call makes the directory.

    Raises:
        CourseError: if the directory holds logs already, or cannot be written.
    """
    places = {part: directory / part for part in ("train", "validation")}
    for place in places.values():
        if os.path.lexists(place):
            raise CourseError(
                f"{directory} holds the logs of a training already, and TensorBoard would draw two"
                " as one line; give a directory of its own, such as"
                f" {directory.with_name(directory.name + '-2')}."
            )
        repository.free_directory(place)
    import tensorflow as tf

    with ExitStack() as opened:
        writers: dict[str, tf.summary.SummaryWriter] = {}

        def report(progress: model.Progress) -> None:
            errors = {"train": progress.training_mae, "validation": progress.validation_mae}
            for part, place in places.items():
                if part not in writers:
                    writers[part] = tf.summary.create_file_writer(str(place))
                    opened.callback(writers[part].close)
                # at its end it flushes, so the logs can be watched as they grow
                with writers[part].as_default(step=progress.epochs):
                    tf.summary.scalar(
                        "mae", errors[part], description="mean absolute error, dollars"
                    )

        yield report


def save(trained: Trained, frame: pd.DataFrame, series: str, directory: Path) -> Path:
    """Write what `train` returned as a model version: the model, its card and its calibration.

    Taught in notebook 04. The arguments are those of `card`.

    Raises:
        CourseError: if the directory exists or cannot be written; then nothing is left of it.
    """
    described = card(trained, frame, series, directory)
    return model.save(trained.model, directory, described, calibration(trained, frame))


def calibration(trained: Trained, frame: pd.DataFrame) -> dict:
    """The days of validation and test, from a window before the first of them: a server forecasts
    over them, and reads how far off a forecast may be.

    Taught in notebook 09.

    Returns:
        `dates` and `prices` (dollars), oldest first; `validation_from` and `test_from`, dates among
            them.
    """
    first, test = (part.dates[0] for part in trained.parts[1:])
    begin = frame.index.get_loc(first) - trained.hyperparameters.window
    days = frame["adj_close"].iloc[begin:]
    return {
        "dates": [f"{day:%Y-%m-%d}" for day in days.index],
        "prices": [float(price) for price in days],
        "validation_from": f"{first:%Y-%m-%d}",
        "test_from": f"{test:%Y-%m-%d}",
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the program's arguments to a parser: this module's own, and that of `workshop train`."""
    default = Hyperparameters()
    data = parser.add_mutually_exclusive_group()
    data.add_argument("--ticker", default="MSFT", help="symbol of the stock (default: %(default)s)")
    data.add_argument(
        "--csv",
        metavar="PATH",
        help="a CSV of your own: date, open, high, low, close, adj_close, volume",
    )
    parser.add_argument(
        "--source",
        choices=prices.SOURCES,
        default="bundled",
        help="where a ticker's prices come from (default: %(default)s)",
    )
    parser.add_argument("--start", metavar="DAY", help="first day, such as 2012-03-01")
    parser.add_argument("--end", metavar="DAY", help="last day")
    for name, part in (("validation", "validate"), ("test", "test")):
        parser.add_argument(
            f"--{name}-from",
            metavar="DAY",
            help=f"first day to {part}; give both, or neither (default: by shares, 80, 10, 10 %%)",
        )
    parser.add_argument(
        "--network", choices=model.NETWORKS, default=default.network, help="(default: %(default)s)"
    )
    parser.add_argument(
        "--window", type=int, default=default.window, help="days in a window (default: %(default)s)"
    )
    parser.add_argument(
        "--units",
        type=int,
        default=default.units,
        help="size of the LSTM's state (default: %(default)s)",
    )
    parser.add_argument(
        "--learning-rate", type=float, default=default.learning_rate, help="(default: %(default)s)"
    )
    parser.add_argument("--epochs", type=int, default=default.epochs, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=default.seed, help="(default: %(default)s)")
    parser.add_argument(
        "--times",
        action="store_true",
        help="put the time before each metric, so that a database can tell the latest",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="write the model version here; in a model repository, MODELS/NAME/N",
    )
    parser.add_argument(
        "--tensorboard",
        type=Path,
        metavar="DIR",
        help="write the errors here as the training goes, for tensorboard --logdir DIR",
    )


def run(arguments: argparse.Namespace) -> None:
    """Do what the command line asks for.

    Raises:
        CourseError: if an argument is wrong; then nothing is written.
    """
    days = (arguments.validation_from, arguments.test_from)
    if (days[0] is None) != (days[1] is None):
        raise CourseError(
            "--validation-from and --test-from go together; give both days, or neither."
        )
    cut = (
        split
        if days[0] is None
        else partial(split_by_date, validation_from=days[0], test_from=days[1])
    )
    if arguments.csv is not None:
        frame, series = (
            prices.read_csv(arguments.csv, arguments.start, arguments.end),
            Path(arguments.csv).name,
        )
    else:
        frame = prices.load(arguments.ticker, arguments.start, arguments.end, arguments.source)
        series = f"{arguments.ticker.upper()} ({arguments.source})"
    if arguments.output:
        repository.free_directory(arguments.output)
    chosen = Hyperparameters(
        arguments.network,
        arguments.window,
        arguments.units,
        arguments.learning_rate,
        arguments.epochs,
        arguments.seed,
    )

    def say(metrics: dict[str, float]) -> None:
        begin = f"{datetime.now(UTC).isoformat()} " if arguments.times else ""
        for name, value in metrics.items():
            print(f"{begin}{name}={value:.6g}", flush=True)

    with tensorboard(arguments.tensorboard) if arguments.tensorboard else nullcontext() as log:

        def report(progress: model.Progress) -> None:
            say({"Training-MAE": progress.training_mae, "Validation-MAE": progress.validation_mae})
            if log:
                log(progress)

        trained = train(frame, chosen, report, cut)
    say({"Test-MAE": trained.scores.mae, "Persistence-MAE": trained.scores.persistence_mae})
    if arguments.output:
        save(trained, frame, series, arguments.output)


def _tensorflow_version() -> str:
    import tensorflow as tf

    return tf.__version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run the training program; returns 0, or 2 after one sentence on stderr."""
    parser = CourseParser(
        prog="python -m kubeflow_workshop.stock.train",
        description="Train a network of the case study and judge it.",
    )
    add_arguments(parser)
    return exit_with_one_sentence(lambda: run(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
