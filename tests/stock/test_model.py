"""The networks, their training, and the model version as the contract has it."""

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from kubeflow_workshop import repository
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.stock import model
from kubeflow_workshop.stock.windows import Windows, split, windows


@pytest.fixture(scope="module")
def parts(frame):
    """Windows of 2 days: the shortest with a change in it, and so the fastest."""
    return split(windows(frame["adj_close"], 2))


def weights(network) -> np.ndarray:
    """All weights of a network in one row."""
    return np.concatenate([np.ravel(weight) for weight in network.get_weights()])


def shaken(network, seed: int = 0):
    """The network with other weights everywhere, also where it begins at zero."""
    generator = np.random.default_rng(seed)
    network.set_weights(
        [
            weight + generator.normal(0, 0.3, weight.shape).astype(np.float32)
            for weight in network.get_weights()
        ]
    )
    return network


def listing(folder) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# The networks


def test_the_talks_network_is_that_of_its_slide():
    import keras

    network = model.build("talk", 3)
    lstm, *dense = network.layers[1:]
    assert isinstance(lstm, keras.layers.LSTM)
    assert lstm.units == 64
    assert [(layer.units, layer.activation.__name__) for layer in dense] == [
        (32, "relu"),
        (32, "relu"),
        (1, "linear"),
    ]
    assert network.count_params() == 4 * ((1 + 64) * 64 + 64) + (64 * 32 + 32) + (32 * 32 + 32) + (
        32 + 1
    )


@pytest.mark.parametrize("name", model.NETWORKS)
def test_both_networks_take_a_window_of_dollars_and_give_one_price(name):
    network = model.build(name, 5, units=2)
    assert (network.name, network.input_shape, network.output_shape) == (
        name,
        (None, 5, 1),
        (None, 1),
    )
    assert [(given.name, given.dtype) for given in network.inputs] == [("window", "float32")]


def test_an_unfitted_relative_network_is_persistence(parts):
    assert model.forecast(
        model.build("relative", 2, units=4, seed=7), parts.train
    ) == pytest.approx(parts.train.today, rel=1e-6)


@pytest.mark.parametrize("factor", [0.001, 7, 1000])
def test_the_relative_network_forecasts_in_the_unit_of_its_window(parts, factor):
    network = shaken(model.build("relative", 2, units=4))
    some = parts.train
    dear = Windows((some.inputs * factor).astype(np.float32), some.targets, some.dates)
    plain = model.forecast(network, some)
    assert np.abs(plain / some.today - 1).max() > 1e-3  # it is not persistence
    assert model.forecast(network, dear) == pytest.approx(plain * factor, rel=1e-4)


def test_the_talks_network_does_not():
    assert not np.allclose(
        *(
            np.asarray(
                shaken(model.build("talk", 1, units=4))(np.full((1, 1, 1), price, np.float32))
            )
            / price
            for price in (1, 50)
        )
    )


@pytest.mark.parametrize("length", [model.UNROLLED_UP_TO, model.UNROLLED_UP_TO + 1])
def test_a_graph_without_a_loop_computes_what_the_loop_does(length):
    import keras

    network = shaken(model.build("talk", length, units=4))
    assert network.layers[1].unroll == (length <= model.UNROLLED_UP_TO)
    days = keras.Input((length, 1))
    looped = keras.Model(days, [keras.layers.Dense(1)(keras.layers.LSTM(4, name="lstm")(days))])
    looped.get_layer("lstm").set_weights(network.layers[1].get_weights())
    some = np.random.default_rng(0).normal(0, 1, (5, length, 1)).astype(np.float32)
    states = keras.Model(network.input, network.layers[1].output)
    assert np.asarray(states(some)) == pytest.approx(
        np.asarray(keras.Model(days, looped.get_layer("lstm").output)(some)), abs=1e-6
    )


def test_the_seed_decides_the_first_weights():
    one, same, other = (weights(model.build("talk", 3, units=4, seed=seed)) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({"network": "gru"}, "network 'gru' is unknown; use one of talk, relative"),
        ({"window": 0}, "window 0 is too small; give a whole number of at least 1"),
        ({"units": 0}, "units 0 is too small"),
        ({"units": -5}, "units -5 is too small"),
        ({"seed": -1}, "seed -1 is too small; give a whole number of at least 0"),
        (
            {"seed": 2**32},
            "seed 4294967296 is too large; give a whole number of at most 4294967295",
        ),
    ],
)
def test_a_network_that_cannot_be_is_refused(chosen, says):
    with pytest.raises(CourseError, match=says):
        model.build(**({"network": "talk", "window": 3} | chosen))


def test_the_largest_seed_is_one():
    model.build("talk", 1, units=1, seed=2**32 - 1)


# The fit


@pytest.mark.slow
@pytest.mark.parametrize("name", model.NETWORKS)
def test_the_fit_is_what_keras_does_with_the_same_batches(name, parts):
    import keras
    import tensorflow as tf

    train = parts.train
    ours, plain = model.build(name, 2, units=4), model.build(name, 2, units=4)
    model.fit(ours, train, parts.validation, learning_rate=0.01, epochs=3, seed=5)
    keras.utils.set_random_seed(0)  # as `build` left it before the fit
    batches = (
        tf.data.Dataset.from_tensor_slices((train.inputs, train.targets))
        .shuffle(len(train), seed=5)
        .batch(32)
        .repeat()
    )
    plain.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
    before = weights(plain)
    plain.fit(batches, steps_per_epoch=-(-len(train) // 32), epochs=3, shuffle=False, verbose=0)
    assert np.abs(weights(plain) - before).max() > 0.01
    assert weights(ours) == pytest.approx(weights(plain), abs=1e-5)


def test_the_same_seeds_give_the_same_numbers_and_another_shuffle_others(parts):
    def fitted(seed):
        network = model.build("talk", 2, units=4)
        return (
            weights(network),
            model.fit(network, parts.train, parts.validation, epochs=2, seed=seed),
            weights(network),
        )

    (
        (first, progress, after),
        (same_first, same_progress, same_after),
        (other_first, _, other_after),
    ) = (fitted(1), fitted(1), fitted(2))
    assert (first == same_first).all()
    assert (first == other_first).all()
    assert progress == same_progress
    assert (after == same_after).all()
    assert (after != other_after).any()


def test_a_fit_reports_every_ten_epochs_and_at_its_end(parts):
    network, said = model.build("talk", 2, units=2), []
    progress = model.fit(network, parts.train, parts.validation, epochs=23, report=said.append)
    assert said == progress
    assert [each.epochs for each in progress] == [10, 20, 23]
    for part, error in (
        (parts.train, progress[-1].training_mae),
        (parts.validation, progress[-1].validation_mae),
    ):
        assert error == pytest.approx(
            float(np.abs(model.forecast(network, part) - part.targets).mean()), rel=1e-5
        )


def test_a_fit_without_validation_learns_the_same_and_has_no_validation_error(parts):
    networks = [model.build("talk", 2, units=2) for _ in range(2)]
    with_it = model.fit(networks[0], parts.train, parts.validation, epochs=2)
    without = model.fit(networks[1], parts.train, epochs=2)
    assert (weights(networks[0]) == weights(networks[1])).all()
    assert without[0].training_mae == pytest.approx(with_it[0].training_mae)
    assert np.isnan(without[0].validation_mae)


def test_a_fit_learns(parts):
    progress = model.fit(
        model.build("talk", 2, units=8),
        parts.train,
        parts.validation,
        learning_rate=0.01,
        epochs=20,
    )
    assert progress[-1].training_mae < progress[0].training_mae


def test_nothing_is_learnt_from_what_validates(parts):
    networks = [model.build("talk", 2, units=2) for _ in range(2)]
    other = Windows(
        parts.validation.inputs * 3, parts.validation.targets * 5, parts.validation.dates
    )
    told = [
        model.fit(network, parts.train, held, epochs=2)
        for network, held in zip(networks, (parts.validation, other), strict=True)
    ]
    assert (weights(networks[0]) == weights(networks[1])).all()
    assert told[0][-1].training_mae == told[1][-1].training_mae
    assert told[0][-1].validation_mae != told[1][-1].validation_mae


@pytest.mark.parametrize("rate", [0, -0.1, float("nan"), float("inf")])
def test_a_learning_rate_that_cannot_train_is_refused_before_anything_is_learnt(parts, rate):
    network = model.build("talk", 2, units=2)
    before = weights(network)
    with pytest.raises(
        CourseError, match=f"learning rate {rate} cannot train; give a number above 0"
    ):
        model.fit(network, parts.train, parts.validation, learning_rate=rate)
    assert (weights(network) == before).all()


@pytest.mark.parametrize("epochs", [0, -1])
def test_too_few_epochs_are_refused(parts, epochs):
    with pytest.raises(
        CourseError, match=f"epochs {epochs} is too few; give a whole number of at least 1"
    ):
        model.fit(model.build("talk", 2, units=2), parts.train, parts.validation, epochs=epochs)


def test_a_fit_that_diverges_says_so(parts):
    with pytest.raises(
        CourseError,
        match=r"the training error is no longer a number; try a learning rate below 1e\+30",
    ):
        model.fit(
            model.build("talk", 2, units=2),
            parts.train,
            parts.validation,
            learning_rate=1e30,
            epochs=1,
        )


def test_a_forecast_is_one_float32_a_window(trained):
    given = model.forecast(trained.model, trained.parts.test)
    assert (given.shape, given.dtype) == ((len(trained.parts.test),), np.float32)
    assert given == pytest.approx(
        trained.model.predict(trained.parts.test.inputs, verbose=0)[:, 0], rel=1e-6
    )


# The model version


def test_a_version_holds_what_its_readers_want(version):
    held = listing(version)
    assert {"saved_model.pb", "model.keras", "card.json"} <= set(held)
    assert {name.split("/")[0] for name in held} <= {
        "saved_model.pb",
        "fingerprint.pb",
        "variables",
        "assets",
        "model.keras",
        "card.json",
    }
    assert any(name.startswith("variables/variables.data") for name in held)
    assert [path.name for path in version.parent.iterdir()] == ["3"]
    assert version.stat().st_mode & 0o055 == 0o055  # a server that is another user can read it


def test_the_signature_is_that_of_the_contract(version):
    import tensorflow as tf

    signature = tf.saved_model.load(str(version)).signatures["serving_default"]
    _, taken = signature.structured_input_signature
    assert {name: (spec.dtype, spec.shape.as_list()) for name, spec in taken.items()} == {
        "window": (tf.float32, [None, 3, 1])
    }
    assert {
        name: (spec.dtype, spec.shape.as_list())
        for name, spec in signature.structured_outputs.items()
    } == {"next_close": (tf.float32, [None, 1])}


def test_the_signature_gives_what_the_keras_model_gives(version, trained):
    import tensorflow as tf

    signature = tf.saved_model.load(str(version)).signatures["serving_default"]
    for some in (trained.parts.test, trained.parts.test[:1]):
        served = signature(window=tf.constant(some.inputs))["next_close"].numpy()
        assert served.shape == (len(some), 1)
        assert served[:, 0] == pytest.approx(model.forecast(trained.model, some), rel=1e-6)
        assert np.abs(served[:, 0] - some.today).max() > 1e-4  # it is not persistence


def test_a_loaded_version_forecasts_as_before(version, trained):
    assert model.forecast(model.load(version), trained.parts.test) == pytest.approx(
        model.forecast(trained.model, trained.parts.test), rel=1e-6
    )


def test_the_card_has_the_hash_of_every_other_file(version):
    files = json.loads((version / "card.json").read_text())["files"]
    assert files == {
        name: hashlib.sha256(data).hexdigest()
        for name, data in listing(version).items()
        if name != "card.json"
    }


def test_a_card_that_is_given_stays_as_it_was(trained, tmp_path):
    card = {"name": "x"}
    model.save(trained.model, tmp_path / "1", card)
    assert card == {"name": "x"}


def test_a_version_is_never_written_over(version, trained):
    before = listing(version)
    with pytest.raises(
        CourseError,
        match="exists already, and a model version is never written over; give a new directory",
    ):
        model.save(trained.model, version, {})
    assert listing(version) == before


def full(step: str) -> Exception:
    """What a full disk raises there."""
    import tensorflow as tf

    return (
        OSError(errno.ENOSPC, "No space left on device")
        if step == "Keras"
        else tf.errors.ResourceExhaustedError(None, None, "/x; No space left on device")
    )


@pytest.mark.parametrize("failure", [full, RuntimeError("a bug"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["SavedModel", "Keras"])
def test_a_version_is_there_as_a_whole_or_not_at_all(step, failure, trained, tmp_path, monkeypatch):
    import keras
    import tensorflow as tf

    def break_off(what, path, **words):
        (Path(path) if Path(path).is_dir() else Path(path).parent).joinpath("half").write_text(
            "half"
        )
        raise full(step) if failure is full else failure

    monkeypatch.setattr(
        *{"SavedModel": (tf.saved_model, "save"), "Keras": (keras.Model, "save")}[step], break_off
    )
    expected = CourseError if failure is full else type(failure)
    with pytest.raises(
        expected,
        match=r"cannot be written \(No space left on device\)" if expected is CourseError else None,
    ):
        model.save(trained.model, tmp_path / "msft" / "1", {})
    assert listing(tmp_path) == {}
    assert not list(tmp_path.glob("msft/*"))


def test_a_place_that_cannot_be_written_is_refused_and_nothing_is_left(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link", "."):
        with pytest.raises(CourseError, match="exists already"):
            repository.free_directory(tmp_path / name)
    for name, why in (
        ("file/1", "Not a directory"),
        ("x" * 300, "File name too long"),
        ("link/1", "cannot be written"),
    ):
        with pytest.raises(CourseError, match=why):
            repository.free_directory(tmp_path / name)
    repository.free_directory(tmp_path / "new" / "1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="root may write everywhere, and Windows asks otherwise",
)
def test_a_folder_that_one_may_not_write_into_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(CourseError, match="Permission denied"):
        repository.free_directory(tmp_path / "msft" / "1")


@pytest.fixture
def copy(version, tmp_path):
    return shutil.copytree(version, tmp_path / "copy")


@pytest.mark.parametrize("name", ["model.keras", "saved_model.pb", "variables/variables.index"])
def test_a_damaged_file_is_found(name, copy):
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(
        CourseError,
        match=rf"{name} is not the file that card.json names \(its SHA-256 differs\)",
    ):
        model.load(copy)


def test_a_missing_file_is_found(copy):
    (copy / "model.keras").unlink()
    with pytest.raises(CourseError, match=r"model\.keras is named by card.json and cannot be read"):
        model.load(copy)


@pytest.mark.parametrize(
    "card", [None, "", "{", "[]", "{}", '{"files": {}}', '{"files": 3}', "null"]
)
def test_a_directory_without_a_card_is_no_model_version(card, copy):
    (copy / "card.json").unlink() if card is None else (copy / "card.json").write_text(card)
    with pytest.raises(CourseError, match="holds no model version"):
        model.load(copy)


def test_a_directory_that_is_not_there_is_no_model_version(tmp_path):
    with pytest.raises(CourseError, match="holds no model version"):
        model.load(tmp_path / "none")
