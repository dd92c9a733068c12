"""What goes wrong around the model server: damaged versions, taken ports, and its end under load."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from kubeflow_workshop import repository
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.serving.laptop import Served
from kubeflow_workshop.serving.model import signature

from .conftest import make_version, write_card


def command(*arguments, timeout=120):
    return subprocess.run(
        [sys.executable, "-m", "kubeflow_workshop.serving.server", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def refused(done, sentence):
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert sentence in line, line


@pytest.fixture
def copy(version, tmp_path):
    return shutil.copytree(version, tmp_path / "msft" / "1")


# A version


def test_a_version_is_read_with_its_card_and_number(version):
    found = repository.read(version)
    assert found.number == "1"
    assert found.card["network"] == "a line"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda version: (version / "card.json").unlink(), "holds no model version"),
        (lambda version: (version / "card.json").write_text('{"files": {"saved_mo'), "holds no model version"),
        (lambda version: (version / "card.json").write_text('{"files": 3}'), "holds no model version"),
        (lambda version: (version / "saved_model.pb").unlink(), "saved_model.pb is named by card.json and cannot be read; the version is not whole"),
        (lambda version: (version / "variables/variables.index").unlink(), "the version is not whole"),
        (lambda version: (version / "saved_model.pb").write_bytes((version / "saved_model.pb").read_bytes()[:-1]), "its SHA-256 differs"),
        (lambda version: shutil.rmtree(version), "holds no model version"),
    ],
)  # fmt: skip
def test_a_damaged_version_is_refused(copy, damage, sentence):
    damage(copy)
    with pytest.raises(CourseError, match=r"^[^\n]*$") as refusal:
        repository.read(copy)
    assert sentence in str(refusal.value)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "variables/../../x"])
def test_a_card_that_names_a_file_outside_is_refused(copy, name):
    card = json.loads((copy / "card.json").read_text())
    card["files"][name] = "0"
    (copy / "card.json").write_text(json.dumps(card))
    with pytest.raises(CourseError, match="lies outside of the version"):
        repository.read(copy, altered=True)


def test_an_altered_version_is_served_only_if_asked(copy):
    (copy / "calibration.json").write_text("{}")
    with pytest.raises(CourseError, match="SHA-256 differs"):
        repository.read(copy)
    assert repository.read(copy, altered=True).number == "1"


def test_the_highest_version_is_current(version, tmp_path):
    for number in ("1", "2", "10", "02", ".11.partial", "x"):
        (tmp_path / "msft" / number).mkdir(parents=True)
        (tmp_path / "msft" / number / "card.json").touch()
    (tmp_path / "msft" / "11").mkdir()  # being copied: no card yet
    assert repository.current(tmp_path, "msft") == tmp_path / "msft" / "10"
    assert repository.names(tmp_path) == ["msft"]
    for name in ("nobody", "..", "msft/10", ""):
        with pytest.raises(CourseError, match="holds no version of a model"):
            repository.current(tmp_path, name)


def test_a_graph_that_is_none_is_refused(copy):
    (copy / "saved_model.pb").write_bytes(b"\xff" * 100)
    write_card(copy)
    with pytest.raises(CourseError, match="is no SavedModel"):
        signature(repository.read(copy))


def test_a_version_without_a_saved_model_is_refused(copy):
    """A pickle, or a Keras file with a Lambda layer, could run any code."""
    (copy / "saved_model.pb").rename(copy / "model.pkl")
    write_card(copy)
    with pytest.raises(CourseError, match="only a SavedModel is served"):
        signature(repository.read(copy))


def _writes_a_file(made):
    import tensorflow as tf

    with tf.control_dependencies([tf.io.write_file("/tmp/written-by-a-model", "x")]):
        return tf.identity(made)


def _calls_python(made):
    import tensorflow as tf

    return tf.reshape(tf.py_function(lambda value: value, [made], tf.float32), [-1, 1])


@pytest.mark.parametrize(("operation", "named"), [(_writes_a_file, "WriteFile"), (_calls_python, "EagerPyFunc")])  # fmt: skip
def test_a_graph_that_does_more_than_compute_is_refused(tmp_path, operation, named):
    made = make_version(tmp_path / "1", operation=operation, calibrated=False)
    with pytest.raises(CourseError, match=f"uses {named}, which reach out of the graph"):
        signature(repository.read(made))


# The command


def test_a_damaged_version_is_told_in_one_line_before_anything_is_loaded(copy):
    (copy / "variables/variables.index").unlink()
    begin = time.monotonic()
    refused(command(f"msft={copy}", "--port", 0, "--grpc-port", 0), "the version is not whole")
    assert time.monotonic() - begin < 10, "TensorFlow was imported for it"


@pytest.mark.parametrize("option", ["--port", "--grpc-port"])
def test_a_port_in_use_is_told_in_one_line(version, option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = "--grpc-port" if option == "--port" else "--port"
        done = command(f"msft={version}", option, port, other, 0)
    refused(done, f"port {port} of 127.0.0.1 is not to be had (Address already in use)")
    assert option in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "names no model version to serve; give NAME=VERSION_DIR"),
        (["models/msft/1"], "is not of the form NAME=VERSION_DIR"),
        (["../x=models/msft/1"], "is not of the form NAME=VERSION_DIR"),
        (["a=x", "a=y"], "a is given twice"),
        (["--models", "no-such-folder"], "no-such-folder names no model version to serve"),
        (["--port", "99999", "a=x"], "'99999' is no port"),
    ],
)
def test_a_command_that_cannot_be_done_is_told_in_one_line(arguments, sentence):
    refused(command(*arguments), sentence)


def test_a_log_that_cannot_be_written_is_told_in_one_line(version, tmp_path):
    (tmp_path / "file").write_text("")
    done = command(f"msft={version}", "--port", 0, "--grpc-port", 0, "--log", tmp_path / "file")
    refused(done, "cannot be written (File exists)")


# A server that runs


def test_a_server_that_cannot_start_shows_its_last_lines(copy):
    (copy / "card.json").unlink()
    with pytest.raises(CourseError, match="ended before it could answer") as failed:
        Served({"msft": copy})
    assert "holds no model version" in str(failed.value)


@pytest.fixture(scope="module")
def stocked(version, tmp_path_factory):
    """A server of a model repository, which tests add versions to."""
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(version, models / "msft" / "1")
    with Served(models=models, log=models.with_name("log")) as server:
        server.models = models
        yield server


WINDOW = {"instances": [[[27.0], [27.5], [28.0]]]}


def predict(server, model="msft"):
    return httpx.post(f"{server.url}/v1/models/{model}:predict", json=WINDOW, timeout=30)


def test_a_damaged_new_version_is_refused_and_the_old_one_goes_on(stocked):
    half = shutil.copytree(stocked.models / "msft/1", stocked.models / "msft/2")
    (half / "saved_model.pb").write_bytes(b"")
    answer = httpx.post(f"{stocked.url}/v2/repository/models/msft/load", timeout=60)
    assert answer.status_code == 503
    assert "its SHA-256 differs" in answer.json()["error"]
    assert answer.json()["error"].endswith("Version 1 goes on serving.")
    assert predict(stocked).json() == {"predictions": [[28.25]]}
    shutil.rmtree(half)


def test_a_new_version_takes_the_place_of_the_old_one_while_that_answers(stocked, plain_version):
    answers, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            answers.append(predict(stocked))

    asking = threading.Thread(target=ask)
    asking.start()
    shutil.copytree(plain_version, stocked.models / "msft/3")
    answer = httpx.post(f"{stocked.url}/v2/repository/models/msft/load", timeout=60)
    assert answer.json() == {"name": "msft", "load": True}
    assert predict(stocked).json() == {"predictions": [[29.0]]}
    stop.set()
    asking.join()
    assert {one.status_code for one in answers} == {200}
    assert httpx.get(f"{stocked.url}/v2/models/msft").json()["versions"] == ["3"]


def test_a_model_that_is_unloaded_is_gone_until_it_is_loaded(stocked):
    models = f"{stocked.url}/v2/repository/models/msft"
    assert httpx.post(f"{models}/unload").status_code == 200
    assert predict(stocked).status_code == 404
    assert httpx.post(f"{models}/load", timeout=60).status_code == 200
    assert predict(stocked).status_code == 200


def test_ctrl_c_answers_what_was_taken(version, tmp_path):
    with Served({"msft": version}, log=tmp_path) as server:
        end_under_load(server, tmp_path, signal.SIGINT)


def test_sigterm_answers_what_was_taken(stocked):
    """The last test of this server."""
    end_under_load(stocked, stocked.models.with_name("log"), signal.SIGTERM)


def end_under_load(server, log, number):
    """Whatever stands in the server's own log was answered, to the client that asked."""
    answered, broken, stop = [], [], threading.Event()
    windows = {"instances": WINDOW["instances"] * 200}

    def load(client_number):
        with httpx.Client(timeout=30) as client:
            for turn in range(10**6):
                asked = f"{client_number}x{turn}"
                try:
                    answer = client.post(
                        f"{server.url}/v1/models/msft:predict",
                        json=windows,
                        headers={"x-request-id": asked},
                    )
                except httpx.TransportError as error:
                    broken.append((asked, error))
                    return
                assert answer.status_code == 200, answer.text
                assert len(answer.json()["predictions"]) == 200
                answered.append(asked)

    clients = [threading.Thread(target=load, args=(one,)) for one in range(8)]
    for client in clients:
        client.start()
    while len(answered) < 100:
        stop.wait(0.01)
    server._program._process.send_signal(number)
    for client in clients:
        client.join(60)
    assert server._program.wait() == 0, server.said
    logged = {
        line["id"].split("-")[0]
        for file in log.glob("*.jsonl")
        for line in map(json.loads, file.read_text().splitlines())
        if "x" in line["id"].split("-")[0]
    }
    assert logged == set(answered)
    assert len(broken) == 8
    assert all(isinstance(error, httpx.ConnectError) for _, error in broken), broken
    assert "Traceback" not in server.said, server.said
