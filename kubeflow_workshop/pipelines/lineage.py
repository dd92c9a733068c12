"""Where a model version is from, and what was made of a data file: the laptop's answer to the
dashboard's pages Artifacts and Executions.

Taught in notebook 06. Nothing is kept for this alone: it is read from the cards of the versions and
from the records of the runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kubeflow_workshop import repository
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.objects import AbsentError
from kubeflow_workshop.pipelines import Door
from kubeflow_workshop.stock import prices


@dataclass(frozen=True)
class Origin:
    """Where a model version is from.

    Attributes:
        version: its directory.
        card: its card, with the data's fingerprint, the hyperparameters, the scores, the decision.
        run: the Run that registered it; None if it is from no pipeline, or the run is not kept.
        tasks: of that run.
    """

    version: Path
    card: Mapping
    run: Mapping | None
    tasks: Sequence[Mapping]

    def lines(self) -> list[tuple[str, str]]:
        """The origin as a table of names and values, for people."""
        data, scores = self.card["data"], self.card["scores"]["test"]
        chosen = ", ".join(f"{k}={v}" for k, v in self.card["hyperparameters"].items())
        told = [
            ("version", f"{self.version}"),
            ("data", f"{data['series']}, {data['first_day']} to {data['last_day']}"),
            ("fingerprint", f"{data['sha256']}"),
            ("trained with", chosen),
            (
                "test error",
                f"{scores['mae']:.3f} dollars, persistence {scores['persistence_mae']:.3f}, on"
                f" {scores['days']} days",
            ),
        ]
        if decision := self.card.get("decision"):
            told.append(("gate", decision["why"]))
        if named := self.card.get("run"):
            told.append(("run", f"{named['name']} ({named['id']})"))
        if self.run:
            parameters = self.run["runtime_config"]["parameters"]
            told += [
                ("began", self.run["created_at"]),
                ("parameters", ", ".join(f"{k}={v}" for k, v in parameters.items())),
                ("steps", ", ".join(f"{one['task_id']} {one['state']}" for one in self.tasks)),
            ]
        return told


def origin(version: str | Path, door: Door) -> Origin:
    """Back from a model version to the run, the data, the parameters and the scores.

    Taught in notebook 06.

    Args:
        version: its directory, `MODELS/NAME/N`.
        door: where the run is kept.

    Raises:
        CourseError: if there is no model version in that directory.
    """
    version = Path(version)
    card = repository.card(version)
    try:
        run = door.get(card["run"]["id"])
        return Origin(version, card, run, door.tasks(run["run_id"]))
    except (KeyError, AbsentError):
        return Origin(version, card, None, [])


def descendants(data: str | Path, models: str | Path) -> list[Path]:
    """Forward from a file of prices to the model versions that were trained on it, or on a part of
    its days.

    Taught in notebook 06. The prices between the first and the last day of a version's card must
    have the fingerprint that the card names, so a file that was changed has no versions any more.

    Args:
        data: a CSV file of prices.
        models: the root of a model repository.

    Returns:
        The directories of the versions, by name and number.

    Raises:
        CourseError: if the file cannot be read.
    """
    frame, models = prices.read_csv(data), Path(models)
    return [
        version
        for name in repository.names(models)
        for number in repository.versions(models, name)
        if _made_of(repository.card(version := models / name / f"{number}")["data"], frame)
    ]


def _made_of(described: Mapping, frame: pd.DataFrame) -> bool:
    part = frame.loc[described["first_day"] : described["last_day"]]
    return prices.fingerprint(part) == described["sha256"]


def require_repository(models: str | Path) -> None:
    """Raise CourseError unless there is a model repository."""
    if not repository.names(Path(models)):
        raise CourseError(
            f"{models} holds no model version; give a model repository with --models, or register a"
            " version first (workshop pipeline run)."
        )
