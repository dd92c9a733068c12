"""What the pages beside the notebooks say is true: links, minutes, pins, commands."""

import json
import re
import subprocess
from pathlib import Path

import nbformat
import pytest
import yaml

from kubeflow_workshop.stock import prices

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", "datasets/README.md", "install/README.md"]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_images_have_alt_text(page):
    text = (ROOT / page).read_text()
    for mark, alt, target in re.findall(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", text):
        assert not mark or len(alt) > 20
        if not target.startswith(("http", "#")):
            assert ((ROOT / page).parent / target).exists(), target


def test_the_readme_is_no_more_than_two_screens():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 60


def test_the_map_lists_each_notebook_with_the_minutes_of_its_metadata():
    rows = re.findall(
        r"^\| \d\d \| \[(.+?)\]\((\S+?)\) \| (\d+) min \| (\d+) min \| (\d+) min \|",
        (ROOT / "README.md").read_text(),
        re.MULTILINE,
    )
    listed = {
        path: (title, int(read), int(machine), int(exercise))
        for title, path, read, machine, exercise in rows
    }
    true = {}
    for path in sorted(ROOT.glob("tutorials/[0-9]*.ipynb")):
        document = nbformat.read(path, as_version=4)
        holds = document.metadata["workshop"]
        title = document.cells[0].source.splitlines()[0].removeprefix("# ")
        true[str(path.relative_to(ROOT))] = (
            title,
            holds["read_minutes"],
            holds["machine_minutes"],
            holds["exercise_minutes"],
        )
    assert listed == true


@pytest.mark.parametrize("page", PAGES[:2])
def test_every_make_command_that_a_page_names_exists(page):
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(
        re.findall(
            r"make ([a-z-]+)", "\n".join(re.findall(r"`([^`]+)`", (ROOT / page).read_text()))
        )
    )
    assert named
    assert named <= known


def test_the_table_of_datasets_says_what_the_cards_say():
    rows = re.findall(
        r"^\| ([A-Z]+) \| (.+?) \| ([\d,]+) \| (\S+) \| (\S+) \|",
        (ROOT / "datasets/README.md").read_text(),
        re.MULTILINE,
    )
    listed = {
        ticker: (company, int(count.replace(",", "")), first, last)
        for ticker, company, count, first, last in rows
    }
    assert listed == {
        ticker: (card["company"], card["rows"], card["first_day"], card["last_day"])
        for ticker, card in prices.cards().items()
    }


def test_conda_and_binder_get_the_pins_of_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    assert re.fullmatch(r"python=3\.1[123]", python)
    assert pip == "pip"
    assert packages == {"pip": ["-r requirements.txt", "-e ."]}


def test_codespaces_makes_the_environment_and_opens_the_first_notebook():
    held = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    python = re.fullmatch(r"python:(3\.1[123])", held["image"]).group(1)
    command = held["onCreateCommand"].split()
    assert command == ["make", ".venv/installed", f"PYTHON=python{python}"]
    asked = subprocess.run(
        [*command, "--dry-run", "--always-make"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"python{python} install/lab.py --install .venv" in asked.stdout
    settings = held["customizations"]["vscode"]["settings"]
    assert settings["python.defaultInterpreterPath"].endswith("/.venv/bin/python")
    for path in held["customizations"]["codespaces"]["openFiles"]:
        assert (ROOT / path).is_file()
    assert "`.devcontainer/`" in (ROOT / "README.md").read_text()


def test_the_lock_is_universal():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    tensorflow = {
        line.split("==")[0]: line.split(";")[1] for line in lines if line.startswith("tensorflow")
    }
    assert set(tensorflow) == {"tensorflow", "tensorflow-cpu"}
    assert "x86_64" in tensorflow["tensorflow-cpu"]
    assert "win32" in tensorflow["tensorflow-cpu"]
    assert "darwin" in tensorflow["tensorflow"]


@pytest.mark.parametrize("card", sorted(ROOT.glob("datasets/*.json")), ids=lambda card: card.stem)
def test_each_card_says_all_that_the_reader_needs(card):
    assert set(json.loads(card.read_text())) >= {
        "what",
        "source",
        "licence",
        "retrieved",
        "rows",
        "first_day",
        "last_day",
        "sha256",
        "make_again",
    }


def test_no_secret_absolute_path_or_registry_is_committed():
    signs = r"pypi\.org|pythonhosted|registry\.npmjs|/(home|Users)/[a-z]|BEGIN [A-Z ]*PRIVATE KEY"
    found = subprocess.run(
        ["git", "grep", "-nIE", signs, "--", ":!tests", ":!LICENSE*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    # the home in every image of Kubeflow Notebooks
    assert [line for line in found.stdout.splitlines() if "/home/jovyan" not in line] == []
