"""Model versions and the repository of them, as files: read, and never written, here.

Taught in notebook 09. A version is one directory with `saved_model.pb`, `variables/` and a
`card.json` that names each file with its SHA-256. A repository is `MODELS/NAME/N`, N = 1, 2, 3 …;
the highest is current. No TensorFlow here.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kubeflow_workshop.errors import CourseError

CARD = "card.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What a model may be called: a folder, a part of a web address, and nothing that leads elsewhere.
"""
_NUMBER = re.compile(r"[1-9][0-9]*")


@dataclass(frozen=True)
class Version:
    """A model version on disk.

    Attributes:
        directory: where it is.
        card: what it says about itself.
    """

    directory: Path
    card: dict

    @property
    def number(self) -> str:
        """The version's number, as text: the folder's in a repository, or else the card's."""
        folder = self.directory.absolute().name
        return folder if _NUMBER.fullmatch(folder) else str(self.card.get("version", ""))

    @property
    def serves(self) -> bool:
        """Whether the card names the file that a server loads."""
        return "saved_model.pb" in self.card["files"]


def read(directory: Path, *, altered: bool = False) -> Version:
    """Read a model version, and check that each of its files is the one that its card names.

    Taught in notebook 09.

    Args:
        directory: the version's, such as `models/msft/1`.
        altered: take files whose SHA-256 differs from the card's. They must be there even so.

    Raises:
        CourseError: if there is no version, or a file is missing or another one.
    """
    try:
        card = json.loads((directory / CARD).read_text())
        files = dict(card["files"])
    except (OSError, ValueError, TypeError, KeyError):
        raise CourseError(
            f"{directory} holds no model version (no {CARD} that names its files); give the"
            " directory of one, such as models/NAME/1, or train one with workshop train --output."
        ) from None
    for name, sha256 in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise CourseError(
                f"{directory / CARD} names the file {name!r}, which lies outside of the version;"
                " do not use this version."
            )
        found = _sha256(directory / name)
        if found is None:
            raise CourseError(
                f"{directory / name} is named by {CARD} and cannot be read; the version is not"
                " whole: copy it again, or train it again into a new directory."
            )
        if found != sha256 and not altered:
            raise CourseError(
                f"{directory / name} is not the file that {CARD} names (its SHA-256 differs); copy"
                " the version again, or train it again into a new directory."
            )
    return Version(directory, {**card, "files": files})


def _sha256(path: Path) -> str | None:
    """None if there is no such file, or it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def names(models: Path) -> list[str]:
    """The models of a repository that have a version, by name.

    Raises:
        CourseError: if the repository cannot be listed.
    """
    return [name for name in _listed(models) if NAME.fullmatch(name) and _numbers(models / name)]


def current(models: Path, name: str) -> Path:
    """The directory of a model's highest version.

    Taught in notebook 09.

    Raises:
        CourseError: if the repository has no version of this model.
    """
    if NAME.fullmatch(name) and (numbers := _numbers(models / name)):
        return models / name / str(numbers[-1])
    others = ", ".join(names(models)) or "no model"
    raise CourseError(
        f"{models} holds no version of a model {name!r} (it holds {others}); give another name, or"
        " another repository."
    )


def _numbers(model: Path) -> list[int]:
    try:
        return sorted(
            int(folder.name)
            for folder in model.iterdir()
            if _NUMBER.fullmatch(folder.name) and folder.is_dir()
        )
    except OSError:
        return []


def _listed(models: Path) -> list[str]:
    try:
        return sorted(folder.name for folder in models.iterdir())
    except OSError as error:
        raise CourseError(
            f"{models} cannot be read as a model repository ({error.strerror}); give a directory"
            " that holds NAME/1, such as models."
        ) from None
