"""Requests that nobody would write, made by schemathesis from what the server says of itself. It runs
for a minute; WORKSHOP_FUZZ_SECONDS=300 makes it five.
"""

import os
import time
from collections import Counter

import httpx
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

SECONDS = float(os.environ.get("WORKSHOP_FUZZ_SECONDS", "60"))
MODEL_ROUTES = {
    "/v1/models/{model_name}:predict",
    "/v2/models/{model_name}/infer",
    "/v1/timeseries/forecast",
}
LEFT_OUT = "/v2/repository/models/{model_name}/unload"
"""It would take the models away from all the others."""


def test_the_description_declares_the_bodies_and_the_real_names(server):
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    for route in MODEL_ROUTES:
        assert "requestBody" in paths[route]["post"], route
    (name,) = paths["/v1/models/{model_name}:predict"]["post"]["parameters"]
    assert name["schema"]["enum"] == ["msft", "plain"]


def test_no_request_is_a_fault_of_the_server(server):
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    operations = [one for one in operations if one.path != LEFT_OUT]
    assert {one.path for one in operations} > MODEL_ROUTES
    session, statuses, computed = requests.Session(), Counter(), 0
    end = time.monotonic() + SECONDS

    def ask(operation, mode, examples):
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def try_one(case):
            nonlocal computed
            answer = case.call(session=session, timeout=30)
            statuses[answer.status_code] += 1
            computed += operation.path in MODEL_ROUTES and answer.status_code == 200
            wrong = f"{case.as_curl_command()} → {answer.status_code} {answer.text}"
            assert answer.status_code in (501, 503) or answer.status_code < 500, wrong
            assert "Traceback" not in answer.text, wrong
            if answer.status_code >= 400 and answer.headers["content-type"] == "application/json":
                assert "error" in answer.json(), wrong

        try_one()

    while time.monotonic() < end:
        for operation in operations:
            asks_model = operation.path in MODEL_ROUTES
            ask(operation, GenerationMode.POSITIVE, 40 if asks_model else 2)
            if asks_model:
                ask(operation, GenerationMode.NEGATIVE, 20)
    total = statuses.total()
    print(f"{total} calls, {computed / total:.0%} computed by a model: {dict(statuses)}")
    assert computed >= total / 2
    assert httpx.get(f"{server.url}/v2/health/ready").json() == {"ready": True}
    assert "Traceback" not in server.said, server.said
