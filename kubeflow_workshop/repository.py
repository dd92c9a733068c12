"""Model versions on disk, and the repository of them: `MODELS/NAME/N`, N = 1, 2, 3 …; the highest
is current.

Taught in notebook 06. No TensorFlow here: a version is a directory of files, and `card.json` says
what they are, with the SHA-256 of each. `stock.model` writes what is in them, `serving` serves it.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kubeflow_workshop.errors import CourseError

CARD = "card.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What a model may be called: a directory, a part of a web address, never a way out."""
_NUMBER = re.compile(r"[1-9][0-9]*")


def card(version: Path) -> dict:
    """What a model version says about itself: its `card.json`.

    Taught in notebook 06.

    Raises:
        CourseError: if there is no model version in `version`.
    """
    try:
        found = json.loads((version / CARD).read_text())
        next(iter(dict(found["files"])))
    except (OSError, ValueError, TypeError, KeyError, StopIteration):
        raise CourseError(
            f"{version} holds no model version (no {CARD} that names its files); train one into a"
            " new directory with --output."
        ) from None
    return found


def whole(version: Path, *, altered: bool = False) -> dict:
    """The card of a model version, if every file is the one that it describes.

    Args:
        version: the directory, such as `models/msft/1`.
        altered: take files whose SHA-256 differs from the card's. They must be there even so.

    Raises:
        CourseError: if there is no model version in `version`, or a file is missing or another one.
    """
    found = card(version)
    for name, sha256 in found["files"].items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise CourseError(
                f"{version / CARD} names the file {name!r}, which lies outside of the version; do"
                " not use this version."
            )
        real = _sha256(version / name)
        if real is None:
            raise CourseError(
                f"{version / name} is named by {CARD} and cannot be read; the version is not whole:"
                " copy it again, or train it again into a new directory."
            )
        if real != sha256 and not altered:
            raise CourseError(
                f"{version / name} is not the file that {CARD} names (its SHA-256 differs); copy"
                " the version again, or train it again into a new directory."
            )
    return found


@dataclass(frozen=True)
class Version:
    """A whole model version on disk.

    Attributes:
        directory: where it is.
        card: what it says about itself.
    """

    directory: Path
    card: dict

    @property
    def number(self) -> str:
        """The version's number, as text: the directory's in a repository, or else the card's."""
        name = self.directory.absolute().name
        return name if _NUMBER.fullmatch(name) else str(self.card.get("version", ""))

    @property
    def serves(self) -> bool:
        """Whether the card names the file that a server loads."""
        return "saved_model.pb" in self.card["files"]


def read(directory: Path, *, altered: bool = False) -> Version:
    """A model version whose files are whole; what `altered` means is said in `whole`.

    Taught in notebook 09.

    Raises:
        CourseError: as `whole` does.
    """
    return Version(directory, whole(directory, altered=altered))


def describe(directory: Path, about: Mapping) -> None:
    """Write the card of a model version whose other files are in `directory`: what is said about
    it, and the SHA-256 of each file.
    """
    files = {
        path.relative_to(directory).as_posix(): _sha256(path)
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path != directory / CARD
    }
    _write_card(directory, {**about, "files": files})


def _write_card(directory: Path, about: Mapping) -> None:
    (directory / CARD).write_text(json.dumps(about, indent=2, allow_nan=False) + "\n")


def _sha256(path: Path) -> str | None:
    """None if there is no such file, or it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


# The repository


def names(models: Path) -> list[str]:
    """The models of a repository that have a version, by name; none if there is no repository."""
    return [name for name in _listed(models) if NAME.fullmatch(name) and versions(models, name)]


def versions(models: Path, name: str) -> list[int]:
    """The numbers of the versions of a model, the lowest first; none if there is no such model.

    Taught in notebook 06.
    """
    return [
        number for number in _numbers(models, name) if (models / name / f"{number}" / CARD).exists()
    ]


def current(models: Path, name: str) -> Path:
    """The directory of the highest version, which is the one that a server would load.

    Taught in notebook 06.

    Raises:
        CourseError: if there is no version of this model.
    """
    if found := versions(models, name):
        return models / name / f"{found[-1]}"
    others = ", ".join(names(models)) or "nothing yet"
    raise CourseError(
        f"{models} holds no version of a model {name!r} (it holds: {others}); give another name or"
        " another repository, or train a version first."
    )


def writable(models: Path, name: str) -> None:
    """Raise CourseError unless `register` could write a version of the model `name`, so that nobody
    learns it after the training. Nothing is left behind.
    """
    free_directory(_next(models, name))


def register(version: Path, models: Path, name: str, additions: Mapping | None = None) -> Path:
    """Copy a model version into the repository, under the next free number.

    Taught in notebook 06. It is copied under another name and then renamed, so it is there as a
    whole or not at all. Of two that register at once, one gets the number, and the other one the
    next.

    Args:
        version: the directory of a model version, which stays as it is.
        models: the root of the repository; it is made if it is not there.
        name: of the model, such as `ibm`.
        additions: what else its card shall say, such as `{"run": {"id": …, "name": …}, "decision":
            asdict(decision)}`. The name and version in the card become those of the new place.

    Returns:
        `models / name / number`.

    Raises:
        CourseError: if `version` is no whole model version, `name` is not made of letters, digits
            and . _ -, or the repository cannot be written; then nothing is left there.
    """
    about = whole(version)
    while True:
        place = _next(models, name)
        try:
            with new(place) as partial:
                for file in about["files"]:
                    (partial / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(version / file, partial / file)
                _write_card(
                    partial,
                    about | dict(additions or {}) | {"name": name, "version": int(place.name)},
                )
                whole(partial)
        except TakenError:
            continue  # another one was faster; there is one version more now, so this ends
        return place


def _next(models: Path, name: str) -> Path:
    if not NAME.fullmatch(name):
        raise CourseError(
            f"model name {name!r} cannot be that of a directory; use letters, digits and . _ - only"
            " (a letter or digit first), such as ibm."
        )
    return models / name / f"{max(_numbers(models, name), default=0) + 1}"


def _numbers(models: Path, name: str) -> list[int]:
    """Every number that is taken, also by a directory that holds no version."""
    return sorted(int(each) for each in _listed(models / name) if _NUMBER.fullmatch(each))


def _listed(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CourseError(
            f"{directory} cannot be read ({error.strerror}); give a repository that you may read."
        ) from None


# Writing


class TakenError(CourseError):
    """A model version is there already."""

    def __init__(self, directory: Path):
        """What is said of `directory`."""
        super().__init__(
            f"{directory} exists already, and a model version is never written over; give a new"
            " directory, such as the next number."
        )


def free_directory(directory: Path) -> None:
    """Raise CourseError unless a model version can be written to `directory`: it must not exist,
    and the folder above it must be writable.

    Nothing is left behind: `new` makes the folders on the way there.
    """
    if os.path.lexists(directory):
        raise TakenError(directory)
    there = next(folder for folder in directory.absolute().parents if os.path.lexists(folder))
    with (
        _writing(directory),
        tempfile.TemporaryDirectory(prefix=f".{directory.name}.", suffix=".partial", dir=there),
    ):
        pass


@contextmanager
def new(directory: Path) -> Iterator[Path]:
    """Write a directory that is there as a whole or not at all: what is written to the path that
    this gives is renamed at the end.

    Raises:
        CourseError: if it cannot be written, of the kind `TakenError` if another one was faster;
            then nothing is left of it.
    """
    with _writing(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(
            tempfile.mkdtemp(prefix=f".{directory.name}.", suffix=".partial", dir=directory.parent)
        )
        try:
            yield partial
            partial.chmod(0o755)  # mkdtemp's is closed to others, and a server may be another user
            try:
                os.rename(partial, directory)
            except OSError:
                if os.path.lexists(directory):
                    raise TakenError(directory) from None
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _writing(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CourseError(
            f"{directory} cannot be written ({error.strerror or error}); give a directory where you"
            " may write."
        ) from None
