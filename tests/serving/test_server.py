"""The model server as a process, asked with plain HTTP and with clients that nobody here wrote."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from kubeflow_workshop.serving.forecast import LONGEST
from kubeflow_workshop.serving.inputs import MOST_BYTES, MOST_WINDOWS

from .conftest import prices

WINDOW = [[27.0], [27.5], [28.0]]
NEXT = 28.25
"""The model's answer to it: half of the last change is added."""
V1, V2, FORECAST = "/v1/models/msft:predict", "/v2/models/msft/infer", "/v1/timeseries/forecast"


def tensor(**other):
    return {
        "name": "window",
        "datatype": "FP32",
        "shape": [1, 3, 1],
        "data": [27, 27.5, 28],
    } | other


def series(**other):
    given = {
        "type": "univariate_time_series",
        "name": "MSFT",
        "series": [27.0, 27.5, 28.0],
        "frequency": "D",
        "start_timestamp": "2013-02-27",
    }
    return given | other


def asked_forecast(horizon=3, **other):
    quantiles = other.pop("quantiles", None)
    return {
        "model": other.pop("model", "msft"),
        "inputs": [series(**other)],
        "options": {"horizon": horizon} | ({"quantiles": quantiles} if quantiles else {}),
    }


# What it answers


def test_v1_answers_each_window(client):
    answer = client.post(V1, json={"instances": [WINDOW, [[1], [2], [4]]]})
    assert answer.status_code == 200
    assert answer.json() == {"predictions": [[NEXT], [5.0]]}


def test_a_body_is_json_whatever_its_type_says_for_curl_says_a_form(client):
    body = json.dumps({"instances": [WINDOW]})
    for kind in (
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-8",
        "text/plain",
    ):
        answer = client.post(V1, content=body, headers={"Content-Type": kind})
        assert answer.json() == {"predictions": [[NEXT]]}, kind


def test_v2_answers_with_the_version_and_the_clients_id(client):
    answer = client.post(V2, json={"id": "42", "inputs": [tensor()]}).json()
    assert answer == {
        "id": "42",
        "model_name": "msft",
        "model_version": "1",
        "outputs": [{"name": "next_close", "datatype": "FP32", "shape": [1, 1], "data": [NEXT]}],
    }


def test_v2_takes_nested_data_too(client):
    answer = client.post(V2, json={"inputs": [tensor(data=[WINDOW])]}).json()
    assert answer["outputs"][0]["data"] == [NEXT]


def test_health_and_readiness(client):
    assert client.get("/").json() == {"status": "alive"}
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v1/models/msft").json() == {"name": "msft", "ready": True}
    assert client.get("/v2/models/msft/ready").json() == {"name": "msft", "ready": True}
    assert client.get("/v1/models").json() == {"models": ["msft", "plain"]}


def test_metadata_has_the_version_and_the_card(client, version):
    found = client.get("/v2/models/msft").json()
    assert found["versions"] == ["1"]
    assert found["inputs"] == [{"name": "window", "datatype": "FP32", "shape": [-1, 3, 1]}]
    assert found["outputs"] == [{"name": "next_close", "datatype": "FP32", "shape": [-1, 1]}]
    assert found["card"] == json.loads((version / "card.json").read_text())


def test_metrics_count_the_answers_of_each_model(client):
    def count():
        (line,) = [
            line
            for line in client.get("/metrics").text.splitlines()
            if line.startswith('request_predict_seconds_count{model_name="plain"}')
        ] or ["x 0"]
        return float(line.split()[1])

    before = count()
    client.post("/v1/models/plain:predict", json={"instances": [WINDOW]})
    assert count() == before + 1


@pytest.mark.parametrize("batch", [1, 100, MOST_WINDOWS])
def test_a_batch_is_answered_window_by_window(client, batch):
    windows = np.random.default_rng(0).uniform(1, 100, (batch, 3, 1)).astype(np.float32)
    answer = client.post(V1, json={"instances": windows.tolist()}).json()
    last, before = windows[:, 2, 0], windows[:, 1, 0]
    np.testing.assert_allclose(
        np.array(answer["predictions"])[:, 0], last + 0.5 * (last - before), rtol=1e-5
    )


# Who may ask


def test_rest_and_grpc_listen_on_loopback_only(server):
    listening = {  # gRPC's is an IPv6 socket that has an IPv4 address
        (found.laddr.ip.removeprefix("::ffff:"), found.laddr.port)
        for found in psutil.net_connections("inet")
        if found.pid == server.pid and found.status == psutil.CONN_LISTEN
    }
    rest, grpc = int(server.url.rsplit(":", 1)[1]), int(server.grpc.rsplit(":", 1)[1])
    assert listening == {("127.0.0.1", rest), ("127.0.0.1", grpc)}


# Clients that nobody here wrote


@pytest.fixture(scope="module", params=["http", "grpc"])
def triton(request, server):
    """Asks with tritonclient; a call returns what it got."""
    address = server.grpc if request.param == "grpc" else server.url.removeprefix("http://")
    program = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("triton.py"), request.param, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def ask(does="infer", model="msft", **what):
        if does == "infer" and request.param == "http":
            what.setdefault("binary", True)
        program.stdin.write(json.dumps({"does": does, "model": model, **what}) + "\n")
        program.stdin.flush()
        return json.loads(program.stdout.readline())

    ask.protocol = request.param
    yield ask
    program.stdin.close()
    program.wait(10)


def test_tritonclient_finds_it_ready(triton):
    assert triton("ready") == [True, True, True]


def test_tritonclient_reads_its_metadata(triton):
    found = triton("metadata")
    assert found["name"] == "msft"
    assert found["versions"] == ["1"]
    assert [one["name"] for one in found["inputs"]] == ["window"]


def test_tritonclient_gets_an_answer_from_binary_tensors(triton):
    answer = triton(values=[WINDOW, [[1], [2], [4]]], id="42")
    assert answer["values"] == [[NEXT], [5.0]]
    assert answer["response"]["id"] == "42"
    assert answer["response"]["model_version"] == "1"


@pytest.mark.parametrize(
    ("binary", "binary_output"), [(True, True), (True, False), (False, True), (False, False)]
)
def test_tritonclient_may_send_and_ask_for_bytes_or_json(triton, binary, binary_output):
    if triton.protocol == "grpc":
        pytest.skip("gRPC knows bytes only")
    answer = triton(values=[WINDOW], binary=binary, binary_output=binary_output)
    assert answer["values"] == [[NEXT]]
    assert ("data" in answer["response"]["outputs"][0]) is not binary_output


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"model": "nobody"}, "nobody does not exist"),
        ({"name": "prices"}, 'the model takes one input, "window"; the request has 1: "prices"'),
        ({"dtype": "float64", "datatype": "FP64"}, 'has the datatype "FP64"; this model takes "FP32"'),
        ({"values": [[[1], [2]]]}, "has the shape [1, 2, 1]; this model takes [batch, 3, 1]"),
        ({"values": [[1, 2, 3]]}, "has the shape [1, 3]; this model takes [batch, 3, 1]"),
        ({"values": np.zeros((0, 3, 1)).tolist(), "shape": [0, 3, 1]}, "is empty"),
        ({"values": np.ones((MOST_WINDOWS + 1, 3, 1)).tolist()}, f"send at most {MOST_WINDOWS}"),
        ({"values": [[[1], [float("nan")], [3]]]}, "not finite"),
        ({"values": [[[1], [2], [float("inf")]]]}, "not finite"),
    ],
)  # fmt: skip
def test_tritonclient_reads_what_is_wrong(triton, wrong, sentence):
    answer = triton(**{"values": [WINDOW]} | wrong)
    assert sentence in answer["message"], answer
    status = (
        ("404", "StatusCode.NOT_FOUND")
        if "model" in wrong
        else ("400", "StatusCode.INVALID_ARGUMENT")
    )
    assert answer["status"] in status


def test_a_version_cannot_be_asked_for(triton):
    answer = triton(values=[WINDOW], version="7")
    assert answer["status"] in ("501", "StatusCode.UNIMPLEMENTED")


def test_kserves_own_client_gets_an_answer(server):
    code = """
import asyncio, sys
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

async def main(url):
    v1 = InferenceRESTClient(RESTConfig(protocol="v1"))
    print((await v1.infer(url, {"instances": [[[27.0], [27.5], [28.0]]]}, model_name="msft"))["predictions"])
    v2 = InferenceRESTClient(RESTConfig(protocol="v2"))
    print(await v2.is_server_ready(url), await v2.is_model_ready(url, "msft"))
    for binary in (True, False):
        tensor = InferInput("window", [1, 3, 1], "FP32")
        tensor.set_data_from_numpy(np.float32([[[27.0], [27.5], [28.0]]]), binary_data=binary)
        answer = await v2.infer(url, InferRequest("msft", [tensor]), model_name="msft")
        print(answer.outputs[0].as_numpy().tolist(), answer.model_name)

asyncio.run(main(sys.argv[1]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, server.url], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.splitlines() == [
        "[[28.25]]",
        "True True",
        "[[28.25]] msft",
        "[[28.25]] msft",
    ], done.stderr


# What is wrong


def refused(answer, status, sentence):
    assert answer.status_code == status, answer.text
    said = answer.json()["error"]
    said = said if isinstance(said, str) else said["message"]
    assert sentence in said, said
    assert said.endswith("."), said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("", "the body is not JSON"),
        ("{", "the body is not JSON"),
        ('{"instances": [[[1], [NaN], [3]]]}', "the body is not JSON"),
        ("[" * 3000, "the body is not JSON"),
        ("null", 'the body has no "instances"'),
        ("[]", 'the body has no "instances"'),
        ("{}", 'the body has no "instances"; send {"instances": [window, …]}, and each window as [[27.5], [27.625], [27.75]].'),
        ('{"instances": null}', '"instances" must be a list of windows'),
        ('{"instances": {"window": 1}}', '"instances" must be a list of windows'),
        ('{"instances": []}', '"instances" is empty'),
        ('{"instances": [[1, 2, 3]]}', '"instances" has the shape [1, 3], and this model takes [batch, 3, 1]'),
        ('{"instances": [[[1], [2]]]}', '"instances" has the shape [1, 2, 1], and this model takes [batch, 3, 1]'),
        ('{"instances": [[[1], [2], [3]], [[1], [2]]]}', '"instances" has lists of different lengths'),
        ('{"instances": [[[1], [2], ["3"]]]}', '"instances" holds "3", which is not a number.'),
        ('{"instances": [[[1], [2], [true]]]}', '"instances" holds true, which is not a number.'),
        ('{"instances": [[[1], [2], [null]]]}', '"instances" holds null, which is not a number.'),
        ('{"instances": [[[1], [2], [{}]]]}', '"instances" holds {}, which is not a number.'),
        ('{"instances": [[[1], [2], [1e39]]]}', "not finite as float32"),
        ('{"instances": [[[1], [3e38], [-3e38]]]}', "no finite answer for window 0"),
    ],
)  # fmt: skip
def test_v1_says_what_is_wrong(client, body, sentence):
    refused(client.post(V1, content=body), 400, sentence)


def test_v1_refuses_one_window_too_many(client):
    windows = [WINDOW] * (MOST_WINDOWS + 1)
    refused(client.post(V1, json={"instances": windows}), 400, f"holds {MOST_WINDOWS + 1} windows")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("null", 'the body has no "inputs"'),
        ("{}", 'the body has no "inputs"'),
        ({"inputs": []}, 'the model takes one input, "window"; the request has 0: none.'),
        ({"inputs": ["window"]}, '"inputs" holds "window", which is not a tensor.'),
        ({"inputs": [tensor(), tensor()]}, "the request has 2"),
        ({"inputs": [tensor(name="prices")]}, 'the request has 1: "prices"'),
        ({"inputs": [tensor(datatype="INT64")]}, 'has the datatype "INT64"; this model takes "FP32"'),
        ({"inputs": [tensor(datatype=None)]}, "has the datatype null"),
        ({"inputs": [tensor(shape=[1, 2, 1])]}, "has the shape [1, 2, 1]; this model takes [batch, 3, 1]"),
        ({"inputs": [tensor(shape=[-1, 3, 1])]}, "has the shape [-1, 3, 1]"),
        ({"inputs": [tensor(shape="x")]}, 'has the shape "x"'),
        ({"inputs": [tensor(shape=[2, 3, 1])]}, "holds 3 numbers; the shape [2, 3, 1] takes 6"),
        ({"inputs": [tensor(shape=[0, 3, 1], data=[])]}, "is empty"),
        ({"inputs": [tensor(data=["1", "2", "3"])]}, 'holds "1", which is not a number'),
        ({"inputs": [tensor(data="123")]}, 'is "123"; it must be a list of numbers'),
        ({"inputs": [tensor(data=None)]}, "is null; it must be a list of numbers"),
        ({"inputs": [tensor(parameters={"binary_data_size": 12})]}, "has both"),
        ({"inputs": [tensor()], "outputs": [{"name": "volume"}]}, 'gives no output "volume"; it gives next_close'),
        ({"inputs": [tensor()], "id": 7}, '"id" is 7; it must be text.'),
        ({"inputs": [tensor()], "parameters": 1}, '"parameters" is 1; it must be an object.'),
    ],
)  # fmt: skip
def test_v2_says_what_is_wrong(client, body, sentence):
    content = body if isinstance(body, str) else json.dumps(body)
    for kind in ("application/json", "application/octet-stream"):
        refused(client.post(V2, content=content, headers={"Content-Type": kind}), 400, sentence)


@pytest.mark.parametrize("header", ["", "x", "-1", "1.5", "1000000", "9" * 30, "٣"])
def test_v2_says_that_the_length_of_the_json_is_wrong(client, header):
    answer = client.post(
        V2,
        content=json.dumps({"inputs": [tensor()]}),
        headers={"Inference-Header-Content-Length": header.encode()},
    )
    refused(answer, 400, "the header Inference-Header-Content-Length is")


@pytest.mark.parametrize("size", [11, 13, -12, "12", None])
def test_v2_says_that_the_length_of_the_bytes_is_wrong(client, size):
    given = tensor(parameters={"binary_data_size": size})
    del given["data"]
    head = json.dumps({"inputs": [given]}).encode()
    answer = client.post(
        V2,
        content=head + np.float32([27, 27.5, 28]).tobytes(),
        headers={"Inference-Header-Content-Length": str(len(head))},
    )
    refused(answer, 400, "12 bytes stand behind the JSON")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/models/nobody:predict"),
        ("POST", "/v1/models/..:predict"),
        ("POST", "/v1/models/%2e%2e%2fmsft:predict"),
        ("GET", "/v1/models/nobody"),
        ("GET", "/v2/models/nobody"),
        ("GET", "/v2/models/../../etc/passwd"),
        ("POST", "/v2/models/nobody/infer"),
        ("POST", "/v2/repository/models/nobody/load"),
        ("POST", "/v2/repository/models/../load"),
        ("POST", "/v2/repository/models/%2e%2e/load"),
        ("POST", "/v2/repository/models/nobody/unload"),
        ("GET", "/nowhere"),
    ],
)
def test_what_is_not_there_is_404_with_a_sentence(server, client, method, path):
    answer = raw_request(
        server, f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}"
    )
    assert answer.startswith(b"HTTP/1.1 404 "), answer
    assert json.loads(answer.split(b"\r\n\r\n")[1])["error"].endswith(".")


def test_a_version_in_the_path_is_not_supported_as_in_kserve(client):
    refused(
        client.post("/v2/models/msft/versions/7/infer", json={"inputs": [tensor()]}),
        501,
        "not supported",
    )


def raw_request(server, text, patience=30):
    """What a server answers to bytes that no client library would send."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=patience) as connection:
        connection.sendall(text if isinstance(text, bytes) else text.encode())
        connection.shutdown(socket.SHUT_WR) if text == b"" else None
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.split(b"\r\n\r\n", 1)[1]:
            more = connection.recv(1 << 16)
            if not more:
                break
            answer += more
        return answer


def test_a_body_over_the_limit_is_413_before_it_is_read(server, client):
    begin = time.monotonic()
    answer = raw_request(
        server, f"POST {V1} HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 413 "), answer
    assert b"larger than 8 MiB" in answer
    assert time.monotonic() - begin < 5


def test_a_body_over_the_limit_is_413_though_nothing_says_how_long_it_is(server, client):
    def pieces():
        for _ in range(MOST_BYTES // (1 << 16) + 8):
            yield b" " * (1 << 16)

    refused(client.post(V1, content=pieces()), 413, "larger than 8 MiB")


def test_a_client_that_sends_60_megabytes_gets_to_read_the_answer(client):
    refused(client.post(V1, content=b" " * 60_000_000), 413, "larger than 8 MiB")


def test_the_largest_body_is_read(client):
    body = json.dumps({"instances": [WINDOW]}).encode()
    answer = client.post(V1, content=body + b" " * (MOST_BYTES - len(body)))
    assert answer.json() == {"predictions": [[NEXT]]}


def test_a_sender_that_stops_is_408_and_its_connection_ends(server, client):
    answer = raw_request(server, f"POST {V1} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{")
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert b"connection: close" in answer
    assert b"did not arrive within 10 seconds" in answer


def test_what_follows_a_body_that_is_longer_than_it_says_is_no_request(server, client):
    body = json.dumps({"instances": [WINDOW]})
    head = f"POST {V1} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = raw_request(server, head + body + body)
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert b"connection: close" in answer


# The time-series API


def test_a_forecast_of_three_days_feeds_its_predictions_back(client):
    answer = client.post(FORECAST, json=asked_forecast())
    assert answer.status_code == 200, answer.text
    (output,) = answer.json()["outputs"]
    (made,) = output["content"]
    assert made["name"] == "MSFT"
    assert made["mean_forecast"] == [28.25, 28.375, 28.4375]
    assert made["frequency"] == "D"
    assert answer.json()["model_version"] == "1"


def test_the_days_of_a_forecast_are_monday_to_friday(client):
    # three days from Wednesday, 2013-02-27, end on Friday, 2013-03-01
    (made,) = client.post(FORECAST, json=asked_forecast()).json()["outputs"][0]["content"]
    assert made["timestamps"] == ["2013-03-04", "2013-03-05", "2013-03-06"]
    assert made["start_timestamp"] == "2013-03-04"
    body = asked_forecast(end_timestamp="2013-03-28")  # Good Friday follows, which is not known
    (made,) = client.post(FORECAST, json=body).json()["outputs"][0]["content"]
    assert made["timestamps"] == ["2013-03-29", "2013-04-01", "2013-04-02"]


def test_quantiles_widen_with_the_horizon_and_their_coverage_stands_beside(client):
    asked = asked_forecast(5, quantiles=[0.9, 0.1, 0.5], series=prices(30, seed=1))
    (made,) = client.post(FORECAST, json=asked).json()["outputs"][0]["content"]
    assert list(made["quantiles"]) == ["0.1", "0.5", "0.9"]
    low, middle, high = (np.array(row) for row in made["quantiles"].values())
    assert (low < middle).all()
    assert (middle < high).all()
    width = high - low
    assert width[4] > 1.5 * width[0], "one-step errors would be as wide on day 5 as on day 1"
    shares = made["coverage_on_test_days"]
    assert list(shares) == ["0.1", "0.5", "0.9"]
    assert all(0 <= share <= 1 for row in shares.values() for share in row)


def test_several_series_are_forecast_in_their_order(client):
    body = asked_forecast()
    body["inputs"] = [series(name="A"), series(name="B", series=[1.0, 2.0, 4.0])]
    made = client.post(FORECAST, json=body).json()["outputs"][0]["content"]
    assert [(one["name"], one["mean_forecast"][0]) for one in made] == [("A", NEXT), ("B", 5.0)]


def test_every_model_that_can_forecast_is_listed(client):
    assert client.get("/v1/timeseries/models").json() == ["msft", "plain"]


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ("null", 400, "the body: input should be an object"),
        ("{", 400, "invalid JSON"),
        ({}, 400, "model: field required"),
        (asked_forecast(0), 400, f"the horizon is 0; give a whole number of trading days from 1 to {LONGEST}."),
        (asked_forecast(10_000), 400, "the horizon is 10000"),
        (asked_forecast("3"), 400, "options.horizon: input should be a valid integer"),
        (asked_forecast(model="nobody"), 404, "nobody does not exist"),
        (asked_forecast(series=[1.0, 2.0]), 400, "has 2 values; give at least 3, a window"),
        (asked_forecast(series=[1.0, 2.0, "3"]), 400, "input should be a valid number"),
        (asked_forecast(series=[[1.0], [2.0], [3.0]]), 400, "must be univariate"),
        (asked_forecast(series=[1.0, 2.0, 1e39]), 400, "not finite"),
        (asked_forecast(series=[1.0, 3e38, -3e38]), 400, "no finite answer"),
        (asked_forecast(frequency="H"), 400, "has the frequency H; this model forecasts days (D)."),
        (asked_forecast(start_timestamp="yesterday"), 400, "which is no day such as 2013-03-01"),
        (asked_forecast(start_timestamp="9999-12-31"), 400, "which is no day"),
        (asked_forecast(quantiles=[0.5, 1.5]), 400, "numbers between 0 and 1"),
        (asked_forecast(20, quantiles=[0.5], model="plain"), 400, "does not say how far off it was"),
    ],
)  # fmt: skip
def test_a_forecast_request_says_what_is_wrong(client, body, status, sentence):
    content = body if isinstance(body, str) else json.dumps(body)
    answer = client.post(FORECAST, content=content)
    assert answer.status_code == status, answer.text
    assert sentence.lower() in answer.json()["error"]["message"].lower(), answer.text
    assert answer.json()["error"]["code"] == str(status)


# The request log


def logged(folder, request_id):
    lines = [
        json.loads(line)
        for file in folder.glob("*.jsonl")
        for line in file.read_text().splitlines()
    ]
    return [line for line in lines if line["id"].split("-")[0] == request_id]


def test_every_answer_is_logged_with_what_was_asked(client, log_folder):
    asked = {
        "id": "logged",
        "inputs": [tensor()],
        "parameters": {"ticker": "MSFT", "target_date": "2013-03-04"},
    }
    client.post(V2, json=asked)
    (line,) = logged(log_folder, "logged")
    time = line.pop("time")
    assert time.endswith("Z")
    assert line == {
        "id": "logged",
        "model": "msft",
        "version": "1",
        "ticker": "MSFT",
        "window": [27.0, 27.5, 28.0],
        "next_close": NEXT,
        "target_date": "2013-03-04",
    }


def test_the_windows_of_a_batch_are_lines_of_their_own(client, log_folder):
    client.post(V1, json={"instances": [WINDOW, [[1], [2], [4]]]}, headers={"x-request-id": "pair"})
    assert [(line["id"], line["next_close"]) for line in logged(log_folder, "pair")] == [
        ("pair-0", NEXT),
        ("pair-1", 5.0),
    ]


def test_a_full_disk_under_the_log_stops_no_answer_and_is_said_once(server, client, log_folder):
    process = psutil.Process(server.pid)
    file = max(log_folder.glob("*.jsonl"))  # one file a day: a run over midnight has two
    free = process.rlimit(psutil.RLIMIT_FSIZE)
    size = file.stat().st_size
    process.rlimit(psutil.RLIMIT_FSIZE, (size + 20, free[1]))  # room for a part of a line
    try:
        for _ in range(3):
            asked = {"id": "lost", "inputs": [tensor()]}
            assert client.post(V2, json=asked).json()["outputs"][0]["data"] == [NEXT]
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, free)
    assert file.stat().st_size == size
    assert server.said.count("The request log cannot be written (File too large)") == 1
    client.post(V2, json={"id": "found", "inputs": [tensor()]})
    assert logged(log_folder, "lost") == []
    assert len(logged(log_folder, "found")) == 1
