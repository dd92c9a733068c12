"""A small model version, made once, and a real server of it, in a process of its own."""

import hashlib
import json
from datetime import date

import httpx
import numpy as np
import pytest

from kubeflow_workshop.serving.forecast import trading_days
from kubeflow_workshop.serving.laptop import Served

WINDOW = 3
DAYS = 80
VALIDATION, TEST = 20, 60
"""Where validation and test begin in the days that the version knows."""


def prices(days: int = DAYS, seed: int = 0) -> list[float]:
    """A random walk around 30 dollars."""
    steps = np.random.default_rng(seed).normal(0, 0.01, days)
    return (30 * np.exp(np.cumsum(steps))).astype(np.float32).astype(float).tolist()


def make_version(directory, slope=0.5, calibrated=True, name="msft", operation=None):
    """A model version whose answer is known: today's value, and `slope` times the last change."""
    import tensorflow as tf

    module = tf.Module()
    module.slope = tf.Variable(slope)

    @tf.function(input_signature=[tf.TensorSpec([None, WINDOW, 1], tf.float32, name="window")])
    def run(window):
        made = window[:, -1] + module.slope * (window[:, -1] - window[:, -2])
        return {"next_close": operation(made) if operation else made}

    module.run = run
    tf.saved_model.save(module, str(directory), signatures={"serving_default": module.run})
    if calibrated:
        days = [day.isoformat() for day in trading_days(date(2012, 10, 1), DAYS)]
        (directory / "calibration.json").write_text(
            json.dumps(
                {
                    "dates": days,
                    "prices": prices(),
                    "validation_from": days[VALIDATION],
                    "test_from": days[TEST],
                }
            )
        )
    write_card(directory, name)
    return directory


def write_card(directory, name="msft"):
    files = {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != "card.json"
    }
    card = {"name": name, "version": 1, "network": "a line", "files": files}
    (directory / "card.json").write_text(json.dumps(card))


@pytest.fixture(scope="session")
def version(tmp_path_factory):
    return make_version(tmp_path_factory.mktemp("models") / "msft" / "1")


@pytest.fixture(scope="session")
def plain_version(tmp_path_factory):
    """One that does not know how far off it was, with another slope."""
    folder = tmp_path_factory.mktemp("models") / "plain" / "7"
    return make_version(folder, slope=2.0, calibrated=False, name="plain")


@pytest.fixture(scope="session")
def log_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("log")


@pytest.fixture(scope="session")
def server(version, plain_version, log_folder):
    with Served({"msft": version, "plain": plain_version}, log=log_folder) as running:
        yield running


@pytest.fixture
def client(server):
    """HTTP, and after the test the server must still be well."""
    with httpx.Client(base_url=server.url, timeout=30) as made:
        yield made
        assert made.get("/v2/health/ready").json() == {"ready": True}
    assert "Traceback" not in server.said, server.said
