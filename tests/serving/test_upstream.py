"""What KServe 0.21 does, and our server does otherwise. A test that turns red means that KServe has
mended it: take out the part of `serving/` that it names, and the test.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def facts():
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("stock.py")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_what_is_right_is_answered(facts):
    assert facts["good"] == [200, 200]


@pytest.mark.parametrize(
    ("what", "does", "ours"),
    [
        ("null", 500, "rest.data_plane, inputs.instances"),
        ("no instances", 500, "inputs.instances"),
        ("curl -d", 500, "rest.data_plane: decode"),
        ("v2 shape", 500, "inputs.infer"),
        ("v2 strings", 500, "inputs.infer"),
        ("v2 empty inputs", 500, "inputs.infer"),
        ("v2 header", 500, "inputs.infer"),
        ("v2 no inputs", 422, "inputs.infer, which answers 400, as the protocol has it"),
        ("60 MB", 200, "rest.Front"),
        ("version", 501, "nothing: ours answers the same, over gRPC too"),
        ("load", None, "predictor.repository: load"),
        ("load of nobody", 503, "predictor.extension"),
        (
            "metadata",
            ["inputs", "name", "outputs", "platform", "versions"],
            "rest._add_routes: metadata",
        ),
        ("v1 body in openapi", False, "rest._describe"),
        ("rest host", "0.0.0.0", "rest.rest_server"),
        ("grpc host", True, "server._grpc_server"),
        ("reasons", [False, False], "server._grpc_server: Sentences"),
        ("unload before drain", True, "server._model_server: _ask_to_end"),
        ("forecast route", 404, "rest._add_routes"),
        (
            "forecast",
            500,
            "rest._forecast_plane: forecast; it means 501, and calls its own function wrongly",
        ),
        ("forecast models", [], "rest._forecast_plane: models"),
        ("forecast of text", 200, "rest._add_routes: ask_forecast"),
    ],
)
def test_kserve_still_does(facts, what, does, ours):
    assert facts[what] == does, f"KServe has changed; look at {ours}"


def test_importing_kserve_still_reads_the_command_line():
    """`_import_kserve` hides it: --m is short for our --models, and for three options of KServe's."""
    done = subprocess.run(
        [sys.executable, "-c", "import kserve", "--m", "x"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "ambiguous option: --m" in done.stderr


def test_our_server_is_imported_whatever_the_command_line_and_without_a_validator():
    code = """
import sys
from kubeflow_workshop.serving.server import _import_kserve
with _import_kserve():
    print("kserve" in sys.modules, sys.modules["kubernetes_validate"])
print(sys.argv[1:], "kubernetes_validate" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "--m", "x"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["True None", "['--m', 'x'] False"]


def test_tritonclient_and_kserve_still_cannot_be_in_one_process():
    """tests/serving/triton.py is a program for that."""
    done = subprocess.run(
        [sys.executable, "-c", "import kserve, tritonclient.grpc"], capture_output=True, text=True
    )
    assert "duplicate symbol" in done.stderr
