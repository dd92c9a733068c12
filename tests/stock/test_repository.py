"""The model repository, with versions of the case study: whole or absent, numbers that never clash, and what cannot be written."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeflow_workshop import repository
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.stock import model, train


@pytest.fixture
def light(tmp_path: Path) -> Path:
    """A directory that is a model version by its card, and small."""
    directory = tmp_path / "made"
    (directory / "variables").mkdir(parents=True)
    (directory / "saved_model.pb").write_text("graph")
    (directory / "variables" / "variables.index").write_text("weights")
    repository.describe(directory, {"name": "made", "version": 1, "network": "relative"})
    return directory


def listing(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_a_registered_version_is_the_version_under_its_number_and_name(
    version, trained, frame, tmp_path
):
    before = listing(version)
    about = {"run": {"id": "r-1", "name": "first"}, "decision": {"accepted": True}}
    place = repository.register(version, tmp_path / "models", "ibm", about)
    assert place == tmp_path / "models" / "ibm" / "1"
    assert listing(version) == before
    after = listing(place)
    assert {name: data for name, data in after.items() if name != "card.json"} == {
        name: data for name, data in before.items() if name != "card.json"
    }
    card = json.loads(before["card.json"])
    assert (card["name"], card["version"]) == ("msft", 3)
    assert repository.card(place) == card | {"name": "ibm", "version": 1} | about
    test = trained.parts.test
    assert model.forecast(model.load(place), test) == pytest.approx(
        model.forecast(trained.model, test), rel=1e-6
    )
    judged = train.judge(place, frame)
    assert judged.scores == train.judge(version, frame).scores


def test_numbers_go_up_by_one_and_the_highest_is_current(light, tmp_path):
    models = tmp_path / "models"
    assert repository.versions(models, "ibm") == repository.names(models) == []
    for number in range(1, 12):
        assert repository.register(light, models, "ibm").name == f"{number}"
    repository.register(light, models, "fb")
    assert repository.versions(models, "ibm") == list(range(1, 12))  # as numbers, not as text
    assert repository.current(models, "ibm") == models / "ibm" / "11"
    assert repository.names(models) == ["fb", "ibm"]


def test_a_number_that_was_taken_is_not_given_again_and_nothing_else_counts(light, tmp_path):
    models = tmp_path / "models"
    for name in ("2", "7", "007", "0", "8.partial", ".9.x.partial", "٩", "-3"):
        (models / "ibm" / name).mkdir(parents=True)
    (models / "notes").mkdir()
    (models / "README").write_text("mine")
    assert repository.versions(models, "ibm") == repository.names(models) == []
    assert repository.register(light, models, "ibm").name == "8"
    assert repository.versions(models, "ibm") == [8]
    assert repository.names(models) == ["ibm"]


RACE = """
import sys
from pathlib import Path
from kubeflow_workshop import repository
version, models = Path(sys.argv[1]), Path(sys.argv[2])
print("ready", flush=True)
sys.stdin.read()
for number in range(10):
    print(repository.register(version, models, "ibm", {"run": {"id": f"{sys.argv[3]}-{number}"}}))
"""


def test_two_processes_that_register_at_once_get_numbers_of_their_own(light, tmp_path):
    """Both begin when both are ready, and register ten times each: no number is given twice, none
    is left out, and each card is that of the process that was told its number.
    """
    models = tmp_path / "models"
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, light, models, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("a", "b")
    ]
    assert [racer.stdout.readline() for racer in racers] == ["ready\n", "ready\n"]
    for racer in racers:
        racer.stdin.close()
    told = [racer.stdout.read().split() for racer in racers]
    assert [racer.wait() for racer in racers] == [0, 0]
    assert sorted(told[0] + told[1], key=lambda path: int(Path(path).name)) == [
        str(models / "ibm" / f"{number}") for number in range(1, 21)
    ]
    for name, paths in zip("ab", told, strict=True):
        for number, path in enumerate(paths):
            card = repository.whole(Path(path))
            assert card["run"]["id"] == f"{name}-{number}"
            assert card["version"] == int(Path(path).name)
    assert len(list((models / "ibm").iterdir())) == 20  # nothing half made is left


def test_the_number_that_another_took_in_between_is_left_alone(light, tmp_path, monkeypatch):
    """The other one comes at the worst moment: after the copy, before the name is taken."""
    models, real = tmp_path / "models", os.rename

    def late(partial, directory):
        if directory.name == "1":
            shutil.copytree(light, directory)
        real(partial, directory)

    monkeypatch.setattr(os, "rename", late)
    assert repository.register(light, models, "ibm", {"run": {"id": "mine"}}).name == "2"
    assert "run" not in repository.card(models / "ibm" / "1")
    assert repository.card(models / "ibm" / "2")["version"] == 2
    assert sorted(os.listdir(models / "ibm")) == ["1", "2"]


def test_what_breaks_off_leaves_nothing(light, tmp_path, monkeypatch):
    def full(source, target):
        Path(target).write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(CourseError, match=r"ibm/1 cannot be written \(No space left on device\)"):
        repository.register(light, tmp_path / "models", "ibm")
    assert listing(tmp_path / "models") == {}
    assert list((tmp_path / "models" / "ibm").iterdir()) == []


@contextlib.contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """A directory in which nothing can be made; for root, who may write everywhere, by mounting it
    so.
    """
    directory.mkdir()
    if os.geteuid():
        directory.chmod(0o500)
        yield
        directory.chmod(0o700)
        return
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", directory], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("root may write everywhere, and may mount nothing here")
    try:
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows asks otherwise")
def test_a_repository_that_can_only_be_read_is_told_before_and_at_the_registering(light, tmp_path):
    models = tmp_path / "models"
    says = (
        r"models/ibm/1 cannot be written \((Read-only file system|Permission denied)\); give a"
        " directory where you may write"
    )
    with read_only(models):
        with pytest.raises(CourseError, match=says):
            repository.writable(models, "ibm")
        with pytest.raises(CourseError, match=says):
            repository.register(light, models, "ibm")
        assert repository.names(models) == []


def test_a_repository_that_is_a_file_is_told_and_left_alone(light, tmp_path):
    (tmp_path / "models").write_text("mine")
    for act in (
        lambda: repository.writable(tmp_path / "models", "ibm"),
        lambda: repository.register(light, tmp_path / "models", "ibm"),
    ):
        with pytest.raises(CourseError, match=r"models/ibm/1 cannot be written \(.+\); give a"):
            act()
    assert (tmp_path / "models").read_text() == "mine"


def test_asking_whether_it_can_be_written_leaves_nothing(tmp_path):
    repository.writable(tmp_path / "models", "ibm")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "..", "../ibm", "a/b", "/tmp/x", ".hidden", "^gspc"])
def test_a_name_that_is_no_directorys_is_refused(name, light, tmp_path):
    for act in (
        lambda: repository.writable(tmp_path / "models", name),
        lambda: repository.register(light, tmp_path / "models", name),
    ):
        with pytest.raises(
            CourseError, match=r"cannot be that of a directory; use letters, digits"
        ):
            act()
    assert not (tmp_path / "models").exists()


def test_a_damaged_version_is_not_registered(light, tmp_path):
    (light / "variables" / "variables.index").write_text("other weights")
    with pytest.raises(
        CourseError,
        match=r"variables.index is not the file that card.json names \(its SHA-256 differs\)",
    ):
        repository.register(light, tmp_path / "models", "ibm")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("card", [None, "", "[]", "{}", '{"files": {}}', '{"files": 3}'])
def test_a_directory_that_is_no_version_is_not_registered(card, tmp_path):
    (tmp_path / "made").mkdir()
    if card is not None:
        (tmp_path / "made" / "card.json").write_text(card)
    with pytest.raises(CourseError, match=r"made holds no model version \(no card.json that names"):
        repository.register(tmp_path / "made", tmp_path / "models", "ibm")


def test_a_card_cannot_lead_out_of_its_directory(light, tmp_path):
    (tmp_path / "outside").write_text("outside")
    (light / "sub").mkdir()
    shutil.copy(tmp_path / "outside", light / "sub")
    repository.describe(light, {})
    card = json.loads((light / "card.json").read_text())
    card["files"]["../outside"] = card["files"].pop("sub/outside")
    (light / "card.json").write_text(json.dumps(card))
    with pytest.raises(
        CourseError, match=r"names the file .*outside., which lies outside of the version"
    ):
        repository.register(light, tmp_path / "models", "ibm")


def test_a_model_without_versions_is_told_with_those_that_there_are(light, tmp_path):
    with pytest.raises(CourseError, match=r"no version of a model 'imb' \(it holds: nothing yet\)"):
        repository.current(tmp_path / "models", "imb")
    repository.register(light, tmp_path / "models", "ibm")
    with pytest.raises(CourseError, match=r"no version of a model 'imb' \(it holds: ibm\); give"):
        repository.current(tmp_path / "models", "imb")


# Judging what was saved


def test_a_saved_version_is_judged_on_its_test_days(version, trained, frame):
    judged = train.judge(version, frame)
    assert (judged.windows.dates == trained.parts.test.dates).all()
    assert judged.forecast == pytest.approx(model.forecast(trained.model, trained.parts.test))
    assert judged.scores.as_json() == pytest.approx(trained.scores.as_json(), abs=1e-5)
    assert judged.card["name"] == "msft"


def test_other_prices_than_those_of_the_training_are_refused(version, frame):
    with pytest.raises(CourseError, match=r"msft/3 was trained on other prices \(MSFT \(bundled\)"):
        train.judge(version, frame.iloc[1:])
