"""The Experiment: built with Katib's own types, read from YAML, and checked before anything starts.

Taught in notebook 05. An Experiment is kept as the raw document, a dict as it stands in the YAML,
and that is what travels to the laptop's runner and to the cluster: the models would drop what they
do not know. What is refused here, Katib's webhook or its suggestion service would refuse too, or
worse, accept and never do; which rules those are is said in `rules`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubeflow_workshop import objects
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.katib import rules
from kubeflow_workshop.katib.rules import number_text

if TYPE_CHECKING:
    from kubeflow_katib_api import models

API_VERSION = "kubeflow.org/v1beta1"
SUCCESS = 'status.conditions.#(type=="Complete")#|#(status=="True")#'
FAILURE = 'status.conditions.#(type=="Failed")#|#(status=="True")#'
"""When a Job is done, and when it failed, in the GJSON that Katib fills in by default."""


@dataclass(frozen=True)
class View:
    """What an Experiment says, with Katib's own answer wherever it says nothing.

    Taught in notebook 05. Nobody asks the document again, so all parts of this room answer alike.

    Attributes:
        document: the Experiment without the fields that are null, as the API server has it.
        content: its `spec`.
        objective: its `spec.objective`.
        metrics: the names of the metrics, the objective first.
        minimize: whether a smaller value of the objective is better.
        goal: the value of the objective that ends the search; None without one.
        parameters: the search space; empty where Katib searches for an architecture.
        algorithm: how to search, by Katib's name.
        most: completed trials after which the search ends; None without a limit.
        parallel: trials at once.
        failures: failed trials after which the search fails; None without a limit.
        collector: its `spec.metricsCollectorSpec`, with the kind filled in.
        metrics_file: where the collector File looks; None for every other kind.
        template: its `spec.trialTemplate`.
        trial: the object that each trial is, with placeholders; None if a ConfigMap holds it.
        pod: the Pod's `spec` in a trial that is a Job; None otherwise.
        container: the Pod's primary container, whose metrics are read; None without a Pod.
    """

    document: Mapping
    content: Mapping
    objective: Mapping
    metrics: tuple[str, ...]
    minimize: bool
    goal: float | None
    parameters: tuple[Mapping, ...]
    algorithm: str
    most: int | None
    parallel: int
    failures: int | None
    collector: Mapping
    metrics_file: str | None
    template: Mapping
    trial: Mapping | None
    pod: Mapping | None
    container: Mapping | None


def view(document: Mapping) -> View:
    """What an Experiment says that has been checked, here or by a cluster.

    Taught in notebook 05.

    Args:
        document: the raw document; it is not changed.
    """
    document = objects.present(document)
    content = document["spec"]
    objective, template = content["objective"], content["trialTemplate"]
    collector = content.get("metricsCollectorSpec", {})
    trial = template.get("trialSpec")
    pod = rules.pod(trial) if trial and rules.is_job(trial) else None
    return View(
        document=document,
        content=content,
        objective=objective,
        metrics=(objective["objectiveMetricName"], *objective.get("additionalMetricNames", [])),
        minimize=objective["type"] == "minimize",
        goal=objective.get("goal"),
        parameters=tuple(content.get("parameters", [])),
        algorithm=content["algorithm"]["algorithmName"],
        most=content.get("maxTrialCount"),
        parallel=content.get("parallelTrialCount", rules.PARALLEL),
        failures=content.get("maxFailedTrialCount"),
        collector=collector
        | {"collector": collector.get("collector", {}) | {"kind": rules.collector_kind(collector)}},
        metrics_file=rules.metrics_file(collector),
        template=template,
        trial=trial,
        pod=pod,
        container=next(
            (
                one
                for one in (pod or {}).get("containers", [])
                if one["name"] == template["primaryContainerName"]
            ),
            None,
        ),
    )


def read(path: str | Path) -> dict:
    """The Experiment in a YAML file, checked.

    Taught in notebook 05.

    Args:
        path: a file with one document.

    Returns:
        The raw document.

    Raises:
        CourseError: if the file cannot be read, is no YAML, or is no Experiment that Katib would
            take; the message names file and field.
    """
    document: Any = objects.read(path, "Experiment")
    check(document, str(path))
    return document


def double(
    name: str, low: float, high: float, step: float | None = None, *, logarithmic: bool = False
) -> "models.V1beta1ParameterSpec":
    """A parameter of the search space that is a real number. Taught in notebook 05."""
    return _number("double", name, low, high, step, logarithmic)


def integer(
    name: str, low: int, high: int, step: int | None = None, *, logarithmic: bool = False
) -> "models.V1beta1ParameterSpec":
    """A parameter of the search space that is a whole number. Taught in notebook 05."""
    return _number("int", name, low, high, step, logarithmic)


def discrete(name: str, values: Sequence[float]) -> "models.V1beta1ParameterSpec":
    """A parameter of the search space that is one of several numbers. Taught in notebook 05."""
    from kubeflow_katib_api import models

    return models.V1beta1ParameterSpec(
        name=name,
        parameterType="discrete",
        feasibleSpace=models.V1beta1FeasibleSpace(list=[number_text(value) for value in values]),
    )


def _number(
    kind: str, name: str, low: float, high: float, step: float | None, logarithmic: bool
) -> "models.V1beta1ParameterSpec":
    from kubeflow_katib_api import models

    space = models.V1beta1FeasibleSpace(
        min=number_text(low),
        max=number_text(high),
        step=number_text(step) if step else None,
        distribution="logUniform" if logarithmic else None,
    )
    return models.V1beta1ParameterSpec(name=name, parameterType=kind, feasibleSpace=space)


def check(document: object, where: str = "") -> View:
    """Check that a document is an Experiment that Katib would take, and would do what it says.

    Taught in notebook 05. Checked are types, unknown fields, enumerations, ranges, and that the
    parameters and the template refer to each other.

    Args:
        document: the raw document; it is not changed.
        where: what to call it in a message, such as the file's name.

    Returns:
        What the Experiment says.

    Raises:
        CourseError: at the first mistake, with its path in the document.
    """
    from kubeflow_katib_api import models

    root = f"{where}, " if where else ""
    if not isinstance(document, dict):
        raise CourseError(
            f"{where or 'the document'} is no Experiment but a {type(document).__name__}; it begins"
            f" with apiVersion: {API_VERSION}."
        )
    for name, must in (("apiVersion", API_VERSION), ("kind", "Experiment")):
        if document.get(name) != must:
            objects.refuse(
                f"{root}{name}",
                f"is {document.get(name)!r}, and must be {must}",
                f"this reads Experiments of {API_VERSION}",
            )
    objects.walk(document, models.V1beta1Experiment, root)
    rules.hold(objects.present(document), root)
    return view(document)
