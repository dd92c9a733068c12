"""The two networks of the case study: how they are built, fitted, and written as a model version.

Taught in notebook 04. Both take windows of dollars and give dollars, so a server has nothing to
prepare.
"""

import errno
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kubeflow_workshop import repository
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.stock.windows import Windows

if TYPE_CHECKING:
    import keras

BATCH = 32
EPOCHS_PER_REPORT = 10
LARGEST_SEED = 2**32 - 1
UNROLLED_UP_TO = 10
"""Windows of up to this many days become a graph without a loop, which is several times faster to
train and to serve. With longer windows, the graph would take too long to build.
"""


@dataclass(frozen=True)
class Progress:
    """How far a fit has come: the epochs done, and the mean absolute errors (dollars) with the
    weights at that moment. `validation_mae` is NaN in a fit without validation windows.
    """

    epochs: int
    training_mae: float
    validation_mae: float


def talk(window: int, units: int = 64) -> "keras.Model":
    """The network of the talk's slide: dollars go in as they are.

    Taught in notebook 04. An LSTM, two dense layers of 32 with ReLU, and one number out.

    Args:
        window: days in a window.
        units: size of the LSTM's state.

    Returns:
        An unfitted model: window float32 [batch, window, 1], dollars → next close float32 [batch,
            1], dollars.
    """
    import keras

    days = keras.Input((window, 1), name="window")
    return keras.Model(days, _body(days, window, units), name="talk")


def relative(window: int, units: int = 64) -> "keras.Model":
    """The same layers, but they read and forecast changes in percent; dollars go in and come out.

    Taught in notebook 04. Each price becomes its difference from the window's last price (today's)
    in percent. The layers forecast tomorrow's difference from today in percent, and the model turns
    that back into dollars. The last layer begins at zero, so an unfitted model is persistence.

    Args:
        window: days in a window.
        units: size of the LSTM's state.

    Returns:
        An unfitted model: window float32 [batch, window, 1], dollars → next close float32 [batch,
            1], dollars.
    """
    import keras

    days = keras.Input((window, 1), name="window")
    today = days[:, -1:, :]
    percent = _body((days / today - 1) * 100, window, units, last_kernel="zeros")
    return keras.Model(days, today[:, 0, :] * (1 + percent / 100), name="relative")


NETWORKS = {"talk": talk, "relative": relative}


def _body(
    inputs: "keras.KerasTensor", window: int, units: int, last_kernel: str = "glorot_uniform"
) -> "keras.KerasTensor":
    from keras import layers

    x = layers.LSTM(units, unroll=window <= UNROLLED_UP_TO)(inputs)
    x = layers.Dense(32, activation="relu")(x)
    x = layers.Dense(32, activation="relu")(x)
    return layers.Dense(1, kernel_initializer=last_kernel)(x)


def build(network: str, window: int, units: int = 64, seed: int = 0) -> "keras.Model":
    """Build a network by its name, with first weights drawn from a seed.

    Taught in notebook 04.

    Raises:
        CourseError: if the network is unknown, if `window` or `units` is below 1, or if the seed is
            below 0 or above `LARGEST_SEED`.
    """
    if network not in NETWORKS:
        raise CourseError(f"network {network!r} is unknown; use one of {', '.join(NETWORKS)}.")
    for name, value, least in (("window", window, 1), ("units", units, 1), ("seed", seed, 0)):
        if value < least:
            raise CourseError(
                f"{name} {value} is too small; give a whole number of at least {least}."
            )
    if seed > LARGEST_SEED:
        raise CourseError(
            f"seed {seed} is too large; give a whole number of at most {LARGEST_SEED}."
        )
    import keras

    keras.utils.set_random_seed(seed)
    return NETWORKS[network](window, units)


def fit(
    model: "keras.Model",
    train: Windows,
    validation: Windows | None = None,
    learning_rate: float = 0.001,
    epochs: int = 100,
    seed: int = 0,
    report: Callable[[Progress], None] | None = None,
) -> list[Progress]:
    """Train a model in place: Adam on the mean squared error, in batches of 32 that are shuffled
    anew in each epoch.

    Taught in notebook 04. It computes what Keras's own `fit` computes with the same batches. It
    saves the time that Keras spends between epochs, which is most of the time with 200 windows: ten
    epochs run as one TensorFlow graph.

    Args:
        model: a model, such as `build` returns.
        train: the windows that it learns from.
        validation: windows on which its error is measured during the training; it learns nothing
            from them.
        learning_rate: of Adam, above 0.
        epochs: how often it sees every training window, at least 1.
        seed: for the order of the batches.
        report: called after every ten epochs, and after the last one.

    Returns:
        What was reported.

    Raises:
        CourseError: if the learning rate or the epochs are out of range, or if the training error
            stops being a number.
    """
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise CourseError(
            f"learning rate {learning_rate} cannot train; give a number above 0, such as 0.001."
        )
    if epochs < 1:
        raise CourseError(f"epochs {epochs} is too few; give a whole number of at least 1.")
    import keras
    import tensorflow as tf

    batches = iter(
        tf.data.Dataset.from_tensor_slices((train.inputs, train.targets))
        .cache()
        .shuffle(len(train), seed=seed)
        .batch(BATCH)
        .repeat()
    )
    weights = model.trainable_variables
    optimizer = keras.optimizers.Adam(learning_rate)
    optimizer.build(weights)

    @tf.function
    def learn(steps: tf.Tensor) -> None:
        for _ in tf.range(steps):
            inputs, targets = next(batches)
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(model(inputs, training=True)[:, 0] - targets))
            optimizer.apply(tape.gradient(loss, weights), weights)

    measured = [train] if validation is None else [train, validation]
    inputs = np.concatenate([part.inputs for part in measured])
    answers = np.concatenate([part.targets for part in measured])
    done: list[Progress] = []
    for seen in [*range(EPOCHS_PER_REPORT, epochs, EPOCHS_PER_REPORT), epochs]:
        learn(
            tf.constant((seen - (done[-1].epochs if done else 0)) * math.ceil(len(train) / BATCH))
        )
        errors = np.abs(np.asarray(model(inputs))[:, 0] - answers)
        training_mae = float(errors[: len(train)].mean())
        validation_mae = math.nan if validation is None else float(errors[len(train) :].mean())
        done.append(Progress(seen, training_mae, validation_mae))
        if not math.isfinite(training_mae):
            raise CourseError(
                f"after {seen} epochs the training error is no longer a number; try a learning"
                f" rate below {learning_rate}."
            )
        if report:
            report(done[-1])
    return done


def forecast(model: "keras.Model", windows: Windows) -> np.ndarray:
    """Tomorrow's price for each window; dollars, float32 [windows]. Taught in notebook 04."""
    return np.asarray(model(windows.inputs))[:, 0]


def save(
    model: "keras.Model", directory: Path, card: dict, calibration: dict | None = None
) -> Path:
    """Write a model version: the files that TensorFlow Serving, KServe and Keras read, and a card
    that describes it.

    Taught in notebook 04. `directory` will hold `saved_model.pb` and `variables/` (signature
    `serving_default`: `window` float32 [batch, window, 1], dollars, oldest first → `next_close`
    float32 [batch, 1], dollars), `model.keras` and `card.json`. It is written under another name
    and then renamed, so it is there as a whole or not at all.

    Args:
        model: a fitted model.
        directory: where the version will be; it must not exist. In a model repository this is
            `MODELS/NAME/N`.
        card: the description; the SHA-256 of each file is added to it under `files`.
        calibration: the days from which a server reads how far off a forecast may be, as
            `train.calibration` gives them; they become `calibration.json`.

    Returns:
        `directory`.

    Raises:
        CourseError: if the directory exists or cannot be written; then nothing is left of it.
    """
    import keras
    import tensorflow as tf

    repository.free_directory(directory)
    with repository.new(directory) as partial:
        try:
            archive = keras.export.ExportArchive()
            archive.track(model)
            archive.add_endpoint(
                "serving_default",
                lambda window: {"next_close": model(window, training=False)},
                input_signature=[
                    tf.TensorSpec([None, *model.input_shape[1:]], tf.float32, name="window")
                ],
            )
            archive.write_out(partial, verbose=False)
            model.save(partial / "model.keras")
            if calibration:
                (partial / "calibration.json").write_text(json.dumps(calibration))
        except tf.errors.ResourceExhaustedError as error:  # TensorFlow's word for a full disk
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        repository.describe(partial, card)
    return directory


def load(directory: Path) -> "keras.Model":
    """The Keras model of a model version.

    Taught in notebook 04.

    Raises:
        CourseError: if there is no model version in `directory`, or if a file is not the one that
            the card describes.
    """
    files = repository.whole(directory)["files"]
    if "model.keras" not in files:
        raise CourseError(
            f"{directory} holds no model that Keras can read (no model.keras in its"
            f" {repository.CARD}); train one into a new directory with --output."
        )
    import keras

    return keras.models.load_model(directory / "model.keras")
