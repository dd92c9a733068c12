"""The command line: every mistake of a user is one sentence, and costs nothing that was there
before.
"""

import io
import os
import re
import subprocess
import sys

import pytest

from kubeflow_workshop import cli, doctor
from kubeflow_workshop.stock import prices, train

HEADER = "date,open,high,low,close,adj_close,volume\n"


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A folder to work in, with a model in it and some files that are no prices."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "msft" / "1").mkdir(parents=True)
    (tmp_path / "models" / "msft" / "1" / "card.json").write_text('{"name": "msft"}')
    for name, data in {
        "empty.csv": b"",
        "binary.csv": bytes(range(256)),
        "few.csv": (HEADER + "2012-03-01,1,1,1,1,1,1\n").encode(),
        "zero.csv": (HEADER + "2012-03-01,1,1,1,0,1,1\n").encode(),
        "no column.csv": b"date,open\n2012-03-01,1\n",
        "text.csv": (HEADER + "2012-03-01,1,1,1,one,1,1\n").encode(),
        "twice.csv": (HEADER + "2012-03-01,1,1,1,1,1,1\n" * 2).encode(),
    }.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def tree(folder) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_a_command_is_needed(capsys):
    assert cli.main([]) == 2
    assert (
        capsys.readouterr().err
        == "error: the following arguments are required: COMMAND; see workshop --help.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            "--ticker NOPE",
            "ticker 'NOPE' is not among the bundled series (AAPL, FB, GOOG, IBM, MSFT)",
        ),
        ("--ticker ../MSFT", "ticker '../MSFT' is not among"),
        ("--source google", "argument --source: invalid choice: 'google'"),
        (
            "--start 1999-01-01",
            (
                "start 1999-01-01 is outside the prices of MSFT, which run from 2000-03-01 to"
                " 2013-03-01"
            ),
        ),
        ("--end 2020-01-01", "end 2020-01-01 is outside the prices of MSFT"),
        ("--start 2012-03-02 --end 2012-03-01", "start 2012-03-02 comes after end 2012-03-01"),
        ("--start yesterday", "start 'yesterday' is no day; write it as 2012-03-01"),
        ("--start 2013-03-01", "1 prices are too few for a window of 3 days"),
        ("--ticker FB --window 196", "196 prices are too few for a window of 196 days"),
        (
            "--ticker FB --window 194",
            "2 windows are too few to split: nothing is left for validation",
        ),
        ("--window 0", "window 0 is too short"),
        ("--window -1", "window -1 is too short"),
        ("--window 1.5", "argument --window: invalid int value: '1.5'; see workshop train --help"),
        ("--units 0", "units 0 is too small; give a whole number of at least 1"),
        ("--epochs 0", "epochs 0 is too few; give a whole number of at least 1"),
        ("--epochs -3", "epochs -3 is too few"),
        (
            "--learning-rate 0",
            "learning rate 0.0 cannot train; give a number above 0, such as 0.001",
        ),
        ("--learning-rate -0.1", "learning rate -0.1 cannot train"),
        ("--learning-rate nan", "learning rate nan cannot train"),
        ("--learning-rate inf", "learning rate inf cannot train"),
        ("--learning-rate fast", "argument --learning-rate: invalid float value: 'fast'"),
        (
            "--learning-rate 1e30 --epochs 1 --units 1 --start 2012-09-05",
            "the training error is no longer a number; try a learning rate below",
        ),
        ("--seed -1", "seed -1 is too small"),
        (
            "--seed 99999999999",
            "seed 99999999999 is too large; give a whole number of at most 4294967295",
        ),
        ("--network gru", "argument --network: invalid choice: 'gru'"),
        (
            "--learning-rates 0.1",
            "unrecognized arguments: --learning-rates 0.1; see workshop --help",
        ),
        ("--start", "argument --start: expected one argument"),
        ("2012", "unrecognized arguments: 2012"),
        ("--csv none.csv", "none.csv does not exist; give the path of a CSV file"),
        ("--csv=", "Is a directory; give the path of a CSV file"),
        ("--csv models", "models cannot be read: Is a directory"),
        ("--csv empty.csv", "empty.csv is empty; a CSV of prices begins with the line date,open"),
        ("--csv binary.csv", "binary.csv is no text file"),
        ("--csv zero.csv", "zero.csv, row 2 (2012-03-01): close is 0; prices must be above zero"),
        (
            "--csv text.csv",
            (
                "text.csv, row 2 (2012-03-01): close is 'one', which is no number; mend the row, or"
                " drop it"
            ),
        ),
        (
            "--csv twice.csv",
            "twice.csv, row 3 (2012-03-01): the day of the row before stands here again",
        ),
        ("--csv few.csv", "1 prices are too few for a window of 3 days"),
        ("--csv|no column.csv", "no column.csv has no column high, low, close, adj_close, volume"),
        ("--csv few.csv --ticker IBM", "argument --ticker: not allowed with argument --csv"),
        (
            "--output models/msft/1",
            (
                "models/msft/1 exists already, and a model version is never written over; give a"
                " new directory"
            ),
        ),
        ("--output few.csv", "few.csv exists already"),
        (
            "--output few.csv/1",
            "few.csv/1 cannot be written (Not a directory); give a directory where you may write",
        ),
        ("--output=", ". exists already"),
        (f"--output {'x' * 300}", "cannot be written (File name too long)"),
    ],
)
def test_a_mistake_is_one_sentence_and_costs_nothing(arguments, says, models, capsys):
    before = tree(models)
    words = arguments.split("|") if "|" in arguments else arguments.split()
    output = [] if "--output" in arguments else ["--output", "models/new/1"]
    assert cli.main(["train", *output, *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"error: .+\.\n", printed.err)
    assert says in printed.err
    assert tree(models) == before


def test_without_a_network_one_sentence_names_the_bundled_choice(models, monkeypatch, capsys):
    import yfinance

    def down(ticker):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(yfinance, "Ticker", down)
    monkeypatch.setattr(prices._download.retry, "sleep", lambda seconds: None)
    monkeypatch.setattr(prices, "user_cache_path", lambda name: models / "cache" / name)
    before = tree(models)
    assert cli.main(["train", "--source", "yahoo", "--output", "models/new/1"]) == 2
    printed = capsys.readouterr()
    assert re.fullmatch(
        r"error: Yahoo! Finance gave no prices of MSFT \(.+--source bundled \(AAPL, FB, GOOG, IBM,"
        r" MSFT\)\.\n",
        printed.err,
    )
    assert printed.out == ""
    assert tree(models) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tran"], "argument COMMAND: invalid choice: 'tran'"),
        (["doctor", "--fix"], "unrecognized arguments: --fix"),
        (["tour", "--output", "few.csv"], "few.csv cannot be written (File exists)"),
        (["doctor", "train"], "unrecognized arguments: train"),
    ],
)
def test_a_mistake_before_or_in_another_command_is_one_sentence(arguments, says, models, capsys):
    before = tree(models)
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    assert re.fullmatch(r"error: .+\.\n", printed.err)
    assert says in printed.err
    assert (printed.out, tree(models)) == ("", before)


def test_workshop_train_is_the_training_program(monkeypatch):
    kept = []
    monkeypatch.setattr(
        train,
        "run",
        lambda arguments: kept.append(
            {name: value for name, value in vars(arguments).items() if name != "command"}
        ),
    )
    for words in ([], ["--csv", "x.csv", "--window", "5", "--output", "1"]):
        assert cli.main(["train", *words]) == train.main(words) == 0
    assert kept[0] == kept[1]
    assert kept[2] == kept[3] != kept[0]


def test_workshop_doctor_prints_the_report(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "look", list)
    assert cli.main(["doctor"]) == 0
    assert capsys.readouterr().out == doctor.report([]) + "\n"


def test_an_output_that_knows_few_letters_gets_what_it_can(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(doctor, "report", lambda: "Docker\n → install it")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="cp1252"))
    assert cli.main(["doctor"]) == 0
    sys.stdout.flush()
    assert written.getvalue().split() == b"Docker ? install it".split()


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [["workshop", "train"], ["python", "-m", "kubeflow_workshop.stock.train"]]
)
def test_a_process_says_its_sentence_and_exits_with_2(command, tmp_path):
    program = {
        "workshop": [
            "-c",
            "import sys; from kubeflow_workshop.cli import main; sys.exit(main())",
            "train",
        ],
        "python": command[1:],
    }[command[0]]
    done = subprocess.run(
        [sys.executable, *program, "--ticker", "NOPE", "--output", str(tmp_path / "models" / "1")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: ticker 'NOPE' is not among .+\.\n", done.stderr)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a closed pipe is another error on Windows")
@pytest.mark.parametrize(
    "words", ["doctor", "train --epochs 1 --units 1 --start 2012-09-05 --output models/1"]
)
def test_a_reader_that_has_seen_enough_ends_a_command_quietly(words, tmp_path):
    """As in `workshop train … | head -1`, with a reader that has gone before the first line."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import sys; from kubeflow_workshop.cli import main; sys.exit(main())",
            *words.split(),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
