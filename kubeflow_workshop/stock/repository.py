"""The model repository: `MODELS/NAME/N`, one directory per version, N = 1, 2, 3 …; the highest is
current.

Taught in notebook 06. No TensorFlow here: a version is a directory with a card.
"""

from collections.abc import Mapping
from pathlib import Path


def card(version: Path) -> dict:
    """What a model version says about itself: its `card.json`.

    Raises:
        CourseError: if there is no model version in `version`.
    """
    raise NotImplementedError


def versions(models: Path, name: str) -> list[int]:
    """The numbers of the versions of a model, the lowest first; none if there is no such model."""
    raise NotImplementedError


def current(models: Path, name: str) -> Path:
    """The directory of the highest version.

    Raises:
        CourseError: if there is no version of this model.
    """
    raise NotImplementedError


def writable(models: Path, name: str) -> None:
    """Raise CourseError unless versions of the model `name` can be written to `models`. Nothing is
    left behind.
    """
    raise NotImplementedError


def register(version: Path, models: Path, name: str, additions: Mapping | None = None) -> Path:
    """Copy a model version into the repository, under the next free number.

    Taught in notebook 06. It is copied under another name and then renamed, so it is there as a
    whole or not at all, and two that register at once get two numbers.

    Args:
        version: the directory of a model version, which stays as it is.
        models: the root of the repository; it is made if it is not there.
        name: of the model, such as `ibm`.
        additions: what is added to the card, such as `{"run": {"id": …, "name": …}, "decision":
            asdict(decision)}`; its name and version become those of the new place.

    Returns:
        `models / name / number`.

    Raises:
        CourseError: if `version` is no whole model version, `name` is no name of a directory, or
            the repository cannot be written; then nothing is left there.
    """
    raise NotImplementedError
