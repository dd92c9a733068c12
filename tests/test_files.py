"""Where the course's files are, in a checkout and in an installed package."""

import tomllib
from pathlib import Path

from kubeflow_workshop import files

ROOT = Path(__file__).parents[1]


def test_in_a_checkout_they_are_in_the_checkout():
    assert files.course_file("datasets/MSFT.csv").samefile(ROOT / "datasets/MSFT.csv")


def test_in_an_installed_package_they_are_in_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PACKAGE", tmp_path / "site-packages" / "kubeflow_workshop")
    assert (
        files.course_file("datasets/MSFT.csv")
        == tmp_path / "site-packages" / "kubeflow_workshop" / "course" / "datasets" / "MSFT.csv"
    )


def test_the_wheel_holds_what_the_package_looks_for():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"][
        "targets"
    ]["wheel"]["force-include"]
    assert wheel == {
        name: f"kubeflow_workshop/course/{name}"
        for name in ("datasets", "tutorials/solutions", "tutorials/artifacts/stock-pipeline.yaml")
    }
    assert all((ROOT / name).exists() for name in wheel)
