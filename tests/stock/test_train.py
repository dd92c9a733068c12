"""The training program: what it prints, what it writes, and that the future stays out."""

import contextlib
import dataclasses
import io
import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.katib import metrics
from kubeflow_workshop.stock import evaluate, model, prices, train
from kubeflow_workshop.stock.train import Hyperparameters

KATIB = re.compile(r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)")
"""How Katib's StdOut collector reads a metric."""
SMALL = ["--start", "2012-09-05", "--units", "4", "--epochs", "12"]
"""What the fixture `trained` was trained with."""


def weights(network) -> np.ndarray:
    return np.concatenate([np.ravel(weight) for weight in network.get_weights()])


# The function


def test_the_defaults_are_the_talks():
    assert dataclasses.asdict(Hyperparameters()) == {
        "network": "relative",
        "window": 3,
        "units": 64,
        "learning_rate": 0.001,
        "epochs": 100,
        "seed": 0,
    }


def test_training_gives_the_parts_the_progress_and_the_scores(trained, frame):
    assert [len(part) for part in trained.parts] == [94, 12, 12]
    assert trained.parts.test.dates[-1] == frame.index[-1]
    assert [each.epochs for each in trained.progress] == [10, 12]
    assert trained.scores == evaluate.score(
        model.forecast(trained.model, trained.parts.test), trained.parts.test
    )
    assert trained.scores.persistence_mae == pytest.approx(
        float(frame["adj_close"].diff().abs().iloc[-12:].mean()), rel=1e-5
    )


def test_the_same_prices_and_hyperparameters_give_the_same_numbers(trained, frame):
    again = train.train(frame, trained.hyperparameters)
    assert (weights(again.model) == weights(trained.model)).all()
    assert (again.progress, again.scores) == (trained.progress, trained.scores)


def test_nothing_but_the_adjusted_prices_of_the_training_days_reaches_training(frame, trained):
    """Every other price is another one, and the weights are the same to the bit."""
    last = trained.parts.train.dates[-1]
    other = frame.copy()
    other.loc[other.index > last, "adj_close"] *= np.linspace(2, 9, (other.index > last).sum())
    other[["open", "high", "low", "close", "volume"]] *= 3
    again = train.train(other, trained.hyperparameters)
    assert (weights(again.model) == weights(trained.model)).all()
    assert again.progress[-1].training_mae == trained.progress[-1].training_mae
    assert again.progress[-1].validation_mae != trained.progress[-1].validation_mae


def test_a_series_shorter_than_its_window_is_refused():
    with pytest.raises(CourseError, match="196 prices are too few for a window of 200 days"):
        train.train(prices.load("FB"), Hyperparameters(window=200))


# The card


def test_the_card_says_what_the_contract_asks_for(version, trained, frame):
    card = json.loads((version / "card.json").read_text())
    assert (card["name"], card["version"], card["network"]) == ("msft", 3, "relative")
    assert card["hyperparameters"] == {
        "network": "relative",
        "window": 3,
        "units": 4,
        "learning_rate": 0.001,
        "epochs": 12,
        "seed": 0,
    }
    assert card["data"] == {
        "series": "MSFT (bundled)",
        "column": "adj_close",
        "first_day": "2012-09-05",
        "last_day": "2013-03-01",
        "rows": len(frame),
        "validation_from": f"{trained.parts.validation.dates[0]:%Y-%m-%d}",
        "test_from": f"{trained.parts.test.dates[0]:%Y-%m-%d}",
        "sha256": prices.fingerprint(frame),
    }
    assert card["scores"]["training_mae"] == trained.progress[-1].training_mae
    assert card["scores"]["validation_mae"] == trained.progress[-1].validation_mae
    assert card["scores"]["test"] == dataclasses.asdict(trained.scores)
    assert card["scores"]["test"]["persistence_mae"] > 0
    assert set(card["libraries"]) == {"kubeflow-workshop", "keras", "numpy", "pandas", "tensorflow"}
    assert card["libraries"]["numpy"] == np.__version__


@pytest.mark.parametrize(
    ("directory", "name", "number"),
    [
        ("models/msft/12", "msft", 12),
        ("models/msft", "msft", 1),
        ("1", "here", 1),
        ("msft", "msft", 1),
    ],
)
def test_the_directory_gives_the_name_and_the_version(
    directory, name, number, trained, frame, tmp_path, monkeypatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    card = train.card(trained, frame, "x", model.Path(directory))
    assert (card["name"], card["version"]) == (name, number)


def test_a_score_that_is_no_number_is_null(trained, frame, tmp_path):
    scores = dataclasses.replace(trained.scores, skill_low=float("nan"), dm=float("inf"))
    card = train.card(dataclasses.replace(trained, scores=scores), frame, "x", tmp_path / "1")
    written = json.loads(
        (model.save(trained.model, tmp_path / "1", card) / "card.json").read_text(),
        parse_constant=pytest.fail,
    )
    assert written["scores"]["test"]["skill_low"] is written["scores"]["test"]["dm"] is None


# The program


@pytest.fixture(scope="module")
def printed():
    """What the program prints, line by line; on stderr it prints nothing."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert train.main(SMALL) == 0
    assert err.getvalue() == ""
    return out.getvalue().splitlines()


def test_every_line_is_a_metric_that_katib_reads_in_full(printed):
    lines = [KATIB.fullmatch(line) for line in printed]
    assert [line and line[1] for line in lines] == ["Training-MAE", "Validation-MAE"] * 2 + [
        "Test-MAE",
        "Persistence-MAE",
    ]
    assert all(float(line[2]) > 0 for line in lines)


def test_on_request_the_time_stands_before_each_metric_as_katib_reads_it(printed, capsys):
    """Katib's database sorts by it; without, the order of equal times decides what is the latest."""
    collector = metrics.Collector({"objective": {"objectiveMetricName": "Validation-MAE"}})
    begin = datetime.now(UTC)
    assert train.main([*SMALL, "--times"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" ")[2] for line in lines] == printed
    reports = [report for line in lines for report in collector.read(line)]
    times = [begin, *(report.time for report in reports), datetime.now(UTC)]
    assert len(reports) == 2
    assert times == sorted(set(times))


@pytest.mark.parametrize("value", [1.23456789e-7, 1e22, 0.5, 123456.789])
def test_a_value_of_any_size_is_read_in_full(value, capsys, monkeypatch, trained):
    """Katib's regex takes what it can and drops the rest, so `1e-07` must be taken whole."""

    def report(frame, chosen, say, cut):
        say(model.Progress(10, value, value))
        return trained

    monkeypatch.setattr(train, "train", report)
    train.main(SMALL)
    read = KATIB.match(capsys.readouterr().out.splitlines()[0])
    assert float(read[2]) == pytest.approx(value, rel=1e-5)


def test_the_program_prints_the_numbers_of_the_function(printed, trained):
    numbers = [float(line.split("=")[1]) for line in printed]
    errors = [
        error for each in trained.progress for error in (each.training_mae, each.validation_mae)
    ]
    assert numbers == pytest.approx(
        [*errors, trained.scores.mae, trained.scores.persistence_mae], rel=1e-5
    )


def test_a_file_of_ones_own_gives_the_numbers_of_the_same_prices(tmp_path, capsys, frame, printed):
    path = tmp_path / "meine Kurse.csv"
    frame.to_csv(path)
    output = tmp_path / "models" / "mine" / "1"
    assert train.main([*SMALL, "--csv", str(path), "--output", str(output)]) == 0
    assert capsys.readouterr().out.splitlines() == printed
    assert json.loads((output / "card.json").read_text())["data"]["series"] == "meine Kurse.csv"
    assert model.load(output).name == "relative"


def test_the_days_to_validate_and_to_test_can_be_given_by_date(trained, capsys):
    """The days of the split by shares, given by date, make the same numbers; others do not."""
    parts = trained.parts
    days = [
        f"--validation-from={parts.validation.dates[0]:%Y-%m-%d}",
        f"--test-from={parts.test.dates[0]:%Y-%m-%d}",
    ]
    assert train.main([*SMALL, *days]) == 0
    assert capsys.readouterr().out.splitlines() == printed_by(trained)
    assert train.main([*SMALL, "--validation-from=2013-01-02", "--test-from=2013-02-01"]) == 0
    assert capsys.readouterr().out.splitlines() != printed_by(trained)


@pytest.mark.parametrize(
    ("days", "says"),
    [
        (
            ["--validation-from=2013-01-02"],
            "--validation-from and --test-from go together; give both days, or neither.",
        ),
        (
            ["--test-from=2013-01-02"],
            "--validation-from and --test-from go together; give both days, or neither.",
        ),
        (
            ["--validation-from=2013-01-02", "--test-from=2012-12-03"],
            "validation-from 2013-01-02 and test-from 2012-12-03 leave no day for validation;",
        ),
        (
            ["--validation-from=2013-01-02", "--test-from=never"],
            "test-from 'never' is no day; write it as 2012-03-01.",
        ),
    ],
)
def test_days_that_do_not_fit_are_refused_with_one_sentence(days, says, capsys, tmp_path):
    assert train.main([*SMALL, *days, "--output", str(tmp_path / "1")]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert says in said.err
    assert not (tmp_path / "1").exists()


def printed_by(trained) -> list[str]:
    """The lines that the program prints for a training."""
    return [
        line
        for each in trained.progress
        for line in (
            f"Training-MAE={each.training_mae:.6g}",
            f"Validation-MAE={each.validation_mae:.6g}",
        )
    ] + [
        f"Test-MAE={trained.scores.mae:.6g}",
        f"Persistence-MAE={trained.scores.persistence_mae:.6g}",
    ]


@pytest.fixture
def given(monkeypatch, trained):
    """The prices and hyperparameters that the program would train with; it is `trained` that comes
    out.
    """
    kept = []
    monkeypatch.setattr(
        train, "train", lambda frame, chosen, report, cut: kept.append((frame, chosen)) or trained
    )
    return kept


def test_every_argument_reaches_the_training(given):
    words = (
        "--network talk --window 7 --units 5 --learning-rate 0.02 --epochs 9 --seed 8 --ticker ibm"
        " --start 2012-03-01 --end 2012-12-31"
    )
    train.main(words.split())
    ((prices_given, chosen),) = given
    assert chosen == Hyperparameters(
        "talk", window=7, units=5, learning_rate=0.02, epochs=9, seed=8
    )
    pd.testing.assert_frame_equal(prices_given, prices.load("IBM", "2012-03-01", "2012-12-31"))


def test_without_arguments_the_defaults_and_all_of_microsoft_are_used(given):
    train.main([])
    ((prices_given, chosen),) = given
    assert chosen == Hyperparameters()
    pd.testing.assert_frame_equal(prices_given, prices.load("MSFT"))


def test_the_card_names_the_ticker_as_the_market_does_and_the_days_that_were_chosen(
    given, tmp_path
):
    train.main(
        [
            "--ticker",
            "ibm",
            "--start",
            "2012-09-05",
            "--end",
            "2013-02-27",
            "--output",
            str(tmp_path / "1"),
        ]
    )
    data = json.loads((tmp_path / "1" / "card.json").read_text())["data"]
    assert (data["series"], data["first_day"], data["last_day"]) == (
        "IBM (bundled)",
        "2012-09-05",
        "2013-02-27",
    )


def test_the_live_source_is_asked_only_when_it_is_named(monkeypatch, frame, given):
    asked = []

    def download(ticker, first, last):
        asked.append((ticker, first, last))
        return frame

    monkeypatch.setattr(prices, "_download", download)
    monkeypatch.setattr(prices, "user_cache_path", lambda name: model.Path("/dev/null"))
    train.main(SMALL)
    assert asked == []
    train.main([*SMALL, "--source", "yahoo", "--end", "2013-03-01"])
    assert asked == [("MSFT", pd.Timestamp("2012-09-05").date(), pd.Timestamp("2013-03-01").date())]
    pd.testing.assert_frame_equal(given[0][0], given[1][0])


# TensorBoard's logs


def scalars(directory: Path) -> dict[int, float]:
    """Epoch → value of the one scalar in a run's logs, as TensorBoard itself reads them."""
    from tensorboard.backend.event_processing import event_multiplexer
    from tensorboard.util import tensor_util

    read = event_multiplexer.EventMultiplexer().AddRun(str(directory)).Reload()
    (run,) = read.Runs()
    assert read.Runs()[run]["tensors"] == ["mae"]
    return {
        event.step: float(tensor_util.make_ndarray(event.tensor_proto))
        for event in read.Tensors(run, "mae")
    }


def test_tensorboard_reads_the_errors_of_both_parts_by_epoch(tmp_path, capsys, printed, trained):
    logs = tmp_path / "logs" / "1"
    assert train.main([*SMALL, "--tensorboard", str(logs)]) == 0
    assert capsys.readouterr().out.splitlines() == printed
    for part in ("train", "validation"):
        errors = [
            each.training_mae if part == "train" else each.validation_mae
            for each in trained.progress
        ]
        assert scalars(logs / part) == {
            epochs: pytest.approx(error) for epochs, error in zip([10, 12], errors, strict=True)
        }


def test_the_logs_can_be_read_while_the_training_goes(tmp_path):
    with train.tensorboard(tmp_path / "logs") as log:
        log(model.Progress(10, 0.5, 0.25))
        assert scalars(tmp_path / "logs" / "train") == {10: 0.5}
        assert scalars(tmp_path / "logs" / "validation") == {10: 0.25}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--tensorboard", "logs"], "logs holds the logs of a training already, and TensorBoard"),
        (["--tensorboard", "few.csv"], "few.csv/train cannot be written (Not a directory); give"),
        (["--tensorboard", "new", "--learning-rate", "0"], "learning rate 0.0 cannot train"),
        (["--tensorboard", "new", "--output", "logs"], "logs exists already"),
    ],
)
def test_logs_that_cannot_be_written_are_told_before_the_training(
    words, says, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs" / "train").mkdir(parents=True)
    (tmp_path / "few.csv").write_text("mine")
    assert train.main([*SMALL, *words]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert says in said.err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["few.csv", "logs", "train"]


# The program as a process


@pytest.mark.slow
def test_a_process_gives_the_same_numbers_and_ctrl_c_ends_it_without_a_traceback_or_a_trace(
    tmp_path, printed
):
    command = [
        sys.executable,
        "-m",
        "kubeflow_workshop.stock.train",
        *SMALL[:-1],
        "10000000",
        "--output",
        str(tmp_path / "models" / "msft" / "1"),
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert [process.stdout.readline().rstrip() for _ in range(2)] == printed[:2]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    assert (process.returncode, errors) == (130, "stopped.\n")
    assert list(tmp_path.iterdir()) == []


def test_a_version_knows_the_days_on_which_its_forecasts_are_measured():
    year = prices.load("MSFT", start="2012-03-01")
    trained = train.train(year, train.Hyperparameters(epochs=1))
    days = train.calibration(trained, year)
    first = days["dates"].index(days["validation_from"])
    assert first == trained.hyperparameters.window
    assert days["validation_from"] == f"{trained.parts.validation.dates[0]:%Y-%m-%d}"
    assert days["test_from"] == f"{trained.parts.test.dates[0]:%Y-%m-%d}"
    assert days["dates"][-1] == f"{year.index[-1]:%Y-%m-%d}"
    assert np.float32(days["prices"][first]) == trained.parts.validation.targets[0]
    assert len(days["prices"]) == len(days["dates"])
