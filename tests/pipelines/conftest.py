"""Small pipelines, compiled once, and one door for all tests of a module."""

from pathlib import Path

import pytest

from kubeflow_workshop.pipelines.laptop import Laptop
from tests.pipelines.small import compile_all


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> dict[str, Path]:
    return compile_all(tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="module")
def laptop(tmp_path_factory) -> Laptop:
    return Laptop(tmp_path_factory.mktemp("state"))
