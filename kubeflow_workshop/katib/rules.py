"""The rules of an Experiment: without them Katib would refuse it, or take it and do something else.

Taught in notebook 05. What a parameter's values are is counted here, too, since a grid may not ask
for more of them than there are. Whether the fields exist at all is asked in `objects`.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

from pydantic import BaseModel, Field, create_model

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.objects import one_of, refuse, walk

GRID, RANDOM, TPE, MULTIVARIATE_TPE = "grid", "random", "tpe", "multivariate-tpe"
MEDIANSTOP = "medianstop"
COUNT, SHARE, ABOVE_ZERO = (
    "a whole number of at least 0",
    "a number between 0 and 1",
    "a number above 0",
)
SETTINGS: dict[str, dict[str, str]] = {
    RANDOM: {"random_state": COUNT},
    GRID: {"random_state": COUNT},
    TPE: {
        "random_state": COUNT,
        "n_EI_candidates": COUNT,
        "gamma": SHARE,
        "prior_weight": ABOVE_ZERO,
    },
    MULTIVARIATE_TPE: {"random_state": COUNT, "n_startup_trials": COUNT, "n_ei_candidates": COUNT},
    MEDIANSTOP: {"min_trials_required": COUNT, "start_step": COUNT},
}
"""The settings of the algorithms that the course takes, by Katib's names (Katib 0.19: hyperopt for
random and tpe, Optuna for the other two).
"""
ELSEWHERE = ("bayesianoptimization", "cmaes", "sobol", "hyperband", "pbt", "enas", "darts")
"""Katib's other algorithms: a cluster runs them; the course does not look into their settings."""
COLLECTORS = ("StdOut", "File", "TensorFlowEvent", "PrometheusMetric", "Custom", "Push", "None")
PARALLEL = 3
"""Trials at once where the Experiment does not say (Katib's default)."""
METRICS_FILE = "/var/log/katib/metrics.log"
"""Where the File collector looks where the Experiment does not say (Katib's default)."""
_PLACEHOLDER = re.compile(r"\$\{trialParameters\.([^{}]*)\}")
META = re.compile(
    r"\$\{trialSpec\.(Name|Namespace|Kind|APIVersion|(?:Annotations|Labels)\[(.+)\])\}"
)
"""What a trial parameter may refer to beside the search space: the trial's own metadata."""


def hold(document: dict, root: str) -> None:
    """Check what a document that has no unknown field says: that Katib would take it, and do it.

    Args:
        document: an Experiment without fields that are null.
        root: what the paths in messages begin with.

    Raises:
        CourseError: at the first mistake, with its path in the document.
    """
    _metadata(document.get("metadata") or {}, f"{root}metadata")
    content = document.get("spec") or {}
    for name in ("objective", "algorithm", "trialTemplate"):
        if not content.get(name):
            refuse(
                f"{root}spec.{name}",
                "is missing",
                "an Experiment needs objective, algorithm, parameters and trialTemplate",
            )
    _counts(content, f"{root}spec")
    _objective(content["objective"], f"{root}spec.objective")
    _settings(
        content["algorithm"],
        f"{root}spec.algorithm",
        (*(name for name in SETTINGS if name != MEDIANSTOP), *ELSEWHERE),
    )
    if content.get("earlyStopping"):
        _settings(content["earlyStopping"], f"{root}spec.earlyStopping", (MEDIANSTOP,))
    one_of(
        content.get("resumePolicy"),
        ("Never", "LongRunning", "FromVolume"),
        f"{root}spec.resumePolicy",
    )
    if bool(content.get("parameters")) == bool(content.get("nasConfig")):
        refuse(
            f"{root}spec",
            "has both parameters and nasConfig, or neither",
            "give a list of parameters",
        )
    _parameters(content.get("parameters") or [], f"{root}spec.parameters")
    if content["algorithm"]["algorithmName"] == GRID:
        _grid(content, f"{root}spec")
    _template(content, f"{root}spec.trialTemplate")
    _collector(content.get("metricsCollectorSpec") or {}, f"{root}spec.metricsCollectorSpec")


def _metadata(metadata: Mapping, path: str) -> None:
    field = "name" if metadata.get("name") or not metadata.get("generateName") else "generateName"
    name, most = metadata.get(field), 54 if field == "name" else 49  # five letters will be added
    if not name:
        refuse(f"{path}.name", "is missing", "give the Experiment a name")
    if (
        not re.fullmatch(
            r"[a-z]([-a-z0-9]*[a-z0-9])?", name if field == "name" else name.removesuffix("-")
        )
        or len(name) > most
    ):
        refuse(
            f"{path}.{field}",
            f"{name!r} is no name",
            f"use at most {most} small letters, digits and '-', first a letter (a trial adds 9"
            " more)",
        )


def _counts(content: Mapping, path: str) -> None:
    most, parallel, failed = (
        content.get("maxTrialCount"),
        content.get("parallelTrialCount"),
        content.get("maxFailedTrialCount"),
    )
    for name, value, least in (
        ("maxTrialCount", most, 1),
        ("parallelTrialCount", parallel, 1),
        ("maxFailedTrialCount", failed, 0),
    ):
        if value is not None and value < least:
            refuse(f"{path}.{name}", f"is {value}", f"give a whole number of at least {least}")
        if value is not None and most is not None and value > most:
            refuse(
                f"{path}.{name}",
                f"{value} is more than maxTrialCount, {most}",
                "lower the one or raise the other",
            )


def _objective(objective: Mapping, path: str) -> None:
    if objective.get("type") not in ("minimize", "maximize"):
        refuse(f"{path}.type", f"is {objective.get('type')!r}", "use one of minimize, maximize")
    metric = objective.get("objectiveMetricName")
    if not metric:
        refuse(f"{path}.objectiveMetricName", "is missing", "name the metric that the trials print")
    additional = objective.get("additionalMetricNames") or []
    if metric in additional:
        refuse(
            f"{path}.additionalMetricNames",
            f"names the objective, {metric}, again",
            "leave it out there",
        )
    for number, strategy in enumerate(objective.get("metricStrategies") or []):
        if strategy.get("name") not in (metric, *additional):
            refuse(
                f"{path}.metricStrategies[{number}].name",
                f"{strategy.get('name')!r} is no metric of this Experiment",
                f"use one of {metric}, {additional}",
            )
        if strategy.get("value") not in ("min", "max", "latest"):
            refuse(
                f"{path}.metricStrategies[{number}].value",
                f"is {strategy.get('value')!r}",
                "use one of min, max, latest",
            )


def _settings(algorithm: Mapping, path: str, known: Sequence[str]) -> None:
    name = algorithm.get("algorithmName")
    if name not in known:
        refuse(
            f"{path}.algorithmName",
            f"{name!r} is no algorithm of Katib's",
            f"use one of {', '.join(known)}",
        )
    for number, setting in enumerate(algorithm.get("algorithmSettings") or []):
        here, key, value = (
            f"{path}.algorithmSettings[{number}]",
            setting.get("name"),
            setting.get("value"),
        )
        if name in SETTINGS and key not in SETTINGS[name]:
            refuse(
                f"{here}.name",
                f"{name} has no setting {key!r}",
                f"use one of {', '.join(SETTINGS[name])}",
            )
        if name in SETTINGS and not _fits(value, SETTINGS[name][key]):
            refuse(
                f"{here}.value",
                f"{key} is {value!r}, and must be {SETTINGS[name][key]}",
                "mend it, or leave the setting out",
            )


def _fits(value: object, must: str) -> bool:
    if must == COUNT:
        return bool(re.fullmatch(r"\d+", str(value)))
    number = as_number(value)
    return number is not None and number > 0 and (must != SHARE or number < 1)


def as_number(text: object) -> float | None:
    """The finite number that a text of an Experiment stands for, or None."""
    if "_" in str(text):  # Python reads 1_000, and Go does not
        return None
    try:
        number = float(str(text))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def number_text(value: float) -> str:
    """A number as text, a whole one without a point; 12 digits hide what sums such as 0.1 + 0.2
    leave behind.
    """
    return str(int(value)) if value == int(value) else f"{value:.12g}"


def _parameters(parameters: Sequence[Mapping], path: str) -> None:
    names = [parameter.get("name") for parameter in parameters]
    for number, parameter in enumerate(parameters):
        here, name, kind = (
            f"{path}[{number}]",
            parameter.get("name"),
            parameter.get("parameterType"),
        )
        if not name:
            refuse(f"{here}.name", "is missing", "give the parameter a name")
        if names.index(name) != number:
            refuse(
                f"{here}.name",
                f"{name} stands there twice",
                "give each parameter a name of its own",
            )
        if kind not in ("double", "int", "discrete", "categorical"):
            refuse(
                f"{here}.parameterType",
                f"is {kind!r}",
                "use one of double, int, discrete, categorical",
            )
        (_listed if kind in ("discrete", "categorical") else _ranged)(
            parameter.get("feasibleSpace") or {}, kind, f"{here}.feasibleSpace"
        )


def _listed(space: Mapping, kind: str, path: str) -> None:
    values = space.get("list") or []
    if not values:
        refuse(f"{path}.list", "is empty", f"a {kind} parameter needs the list of its values")
    for name in ("min", "max", "step", "distribution"):
        if space.get(name):
            refuse(f"{path}.{name}", f"means nothing for a {kind} parameter", "leave it out")
    for number, value in enumerate(values):
        if kind == "discrete" and as_number(value) is None:
            refuse(
                f"{path}.list[{number}]",
                f"is {value!r}, which is no number",
                "mend it, or make the parameter categorical",
            )
        if values.index(value) != number:
            refuse(f"{path}.list[{number}]", f"{value!r} stands there twice", "leave one out")


def _ranged(space: Mapping, kind: str, path: str) -> None:
    if space.get("list"):
        refuse(
            f"{path}.list",
            f"means nothing for a parameter of type {kind}",
            "give min and max, or make it discrete or categorical",
        )
    numbers: dict[str, float] = {}
    for name in ("min", "max", "step"):
        if (text := space.get(name)) is None and name == "step":
            continue
        number = as_number(text)
        if number is None or (kind == "int" and number != int(number)):
            refuse(
                f"{path}.{name}",
                "is missing" if text is None else f"is {text!r}",
                f"give {'a whole number' if kind == 'int' else 'a number'}, in quotes",
            )
        numbers[name] = number
    if numbers["min"] > numbers["max"]:
        refuse(path, f"min {space['min']} is above max {space['max']}", "exchange them")
    if numbers.get("step", 1) <= 0:
        refuse(f"{path}.step", f"is {space['step']}", "give a step above 0")
    one_of(
        space.get("distribution"),
        ("uniform", "logUniform", "normal", "logNormal"),
        f"{path}.distribution",
    )
    if str(space.get("distribution")).startswith("log") and numbers["min"] <= 0:
        refuse(
            f"{path}.min",
            f"is {space['min']}, and a logarithmic scale begins above 0",
            "raise min, or take another distribution",
        )


def axis(parameter: Mapping) -> tuple[int, Callable[[int], str]]:
    """How many values a parameter has in a grid, and the one at a place, from 0 on, as text.

    A double's are those of NumPy's `arange(min, max + step, step)`, the last one dropped if it is
    above max, since Katib makes them so. From 0.1 to 1 by 0.3 these are three: the fourth comes out
    as 1.0000000000000002.

    Raises:
        CourseError: if the step is too small beside the range for numbers to be counted.
    """
    space, kind = parameter["feasibleSpace"], parameter["parameterType"]
    if kind in ("discrete", "categorical"):
        return len(space["list"]), space["list"].__getitem__
    if kind == "int":
        low, high, stride = (whole(space.get(name) or "1") for name in ("min", "max", "step"))
        return (high - low) // stride + 1, lambda place: str(low + place * stride)
    first, last, step = (float(space[name]) for name in ("min", "max", "step"))
    second = first + step
    steps = (last + step - first) / step
    if second == first or not math.isfinite(steps):
        raise CourseError(
            f"parameter {parameter['name']}: the step {space['step']} is too small beside the range"
            f" {space['min']} to {space['max']}; give a larger step."
        )

    def value(place: int) -> float:
        return (first, second)[place] if place < 2 else first + place * (second - first)

    size = math.ceil(steps)
    size -= size > 1 and value(size - 1) > last
    return size, lambda place: str(value(place))


def whole(text: str) -> int:
    """The whole number that a text stands for, also 1e3 and one of more digits than a double."""
    return int(Decimal(str(text)))


def _grid(content: Mapping, path: str) -> None:
    for number, parameter in enumerate(content["parameters"]):
        if parameter["parameterType"] == "double" and not parameter["feasibleSpace"].get("step"):
            refuse(
                f"{path}.parameters[{number}].feasibleSpace.step",
                "is missing, and a grid needs one",
                "give a step, or make the parameter discrete",
            )
    combinations = math.prod(axis(parameter)[0] for parameter in content["parameters"])
    if (content.get("maxTrialCount") or 0) > combinations:
        refuse(
            f"{path}.maxTrialCount",
            f"{content['maxTrialCount']} is more than the {combinations} points of the grid",
            f"give at most {combinations}",
        )


def _template(content: Mapping, path: str) -> None:
    template = content["trialTemplate"]
    if not template.get("primaryContainerName"):
        refuse(
            f"{path}.primaryContainerName",
            "is missing",
            "name the container whose metrics are read",
        )
    if bool(template.get("trialSpec")) == bool(template.get("configMap")):
        refuse(
            f"{path}.trialSpec", "is missing, or stands beside a configMap", "give one of the two"
        )
    trial = template.get("trialSpec")
    for name in ("apiVersion", "kind"):
        if not isinstance(given := (trial or {}).get(name, ""), str):
            refuse(
                f"{path}.trialSpec.{name}",
                f"is {given!r}, and must be text",
                "a Job has apiVersion: batch/v1 and kind: Job",
            )
    if trial and is_job(trial):
        _job(trial, template["primaryContainerName"], f"{path}.trialSpec")
    elif trial and not (trial.get("apiVersion") and trial.get("kind")):
        refuse(
            f"{path}.trialSpec",
            "has no apiVersion or no kind",
            "a Job has apiVersion: batch/v1 and kind: Job",
        )
    for name in ("name", "namespace"):
        if ((trial or {}).get("metadata") or {}).get(name):
            refuse(
                f"{path}.trialSpec.metadata.{name}",
                "must not be given",
                "leave it out: Katib names the trial",
            )
    _references(content, template.get("trialParameters") or [], trial, path)


def is_job(trial: Mapping) -> bool:
    """Whether a trial is a Job of Kubernetes' own, of which all fields are known."""
    return (trial.get("apiVersion"), trial.get("kind")) == ("batch/v1", "Job")


def pod(trial: Mapping) -> Mapping:
    """The Pod's `spec` in a Job."""
    return ((trial.get("spec") or {}).get("template") or {}).get("spec") or {}


def _job(trial: Mapping, primary: str, path: str) -> None:
    walk(trial, job(), path)
    inner = pod(trial)
    here = f"{path}.spec.template.spec"
    names = [container.get("name") for container in inner.get("containers") or []]
    if primary not in names:
        refuse(
            f"{here}.containers",
            f"none is named {primary}, as primaryContainerName says",
            f"there {'is' if len(names) == 1 else 'are'} {names}",
        )
    if inner.get("restartPolicy") not in ("Never", "OnFailure"):
        refuse(
            f"{here}.restartPolicy",
            f"is {inner.get('restartPolicy')!r}, and a Job needs Never or OnFailure",
            "write restartPolicy: Never",
        )


def _references(content: Mapping, given: Sequence[Mapping], trial: object, path: str) -> None:
    """The search space, the trial parameters and the template's placeholders: each refers to the
    next, and nothing is left over.
    """
    space = [parameter["name"] for parameter in content.get("parameters") or []]
    placeholders = set(_PLACEHOLDER.findall(str(trial)))
    seen: dict[str, set] = {"name": set(), "reference": set()}
    for number, parameter in enumerate(given):
        here = f"{path}.trialParameters[{number}]"
        for name in ("name", "reference"):
            value = parameter.get(name)
            if not value or value in seen[name] or (name == "name" and re.search(r"[{}]", value)):
                refuse(
                    f"{here}.{name}",
                    f"is {value!r}",
                    f"give each a {name} of its own, without braces",
                )
            seen[name].add(value)
        # a nasConfig has references of its own
        if (
            space
            and parameter["reference"] not in space
            and not META.fullmatch(parameter["reference"])
        ):
            refuse(
                f"{here}.reference",
                f"{parameter['reference']!r} is no parameter of this Experiment",
                f"use one of {', '.join(space)}",
            )
        if trial and parameter["name"] not in placeholders:
            refuse(
                f"{here}.name",
                f"{parameter['name']} is used nowhere in trialSpec",
                f"write ${{trialParameters.{parameter['name']}}} there, or leave it out",
            )
    for name in space:
        if name not in seen["reference"]:
            refuse(
                f"{path}.trialParameters",
                f"none refers to the parameter {name}, so the search would change nothing",
                f"add one with reference: {name}",
            )
    if missing := sorted(placeholders - seen["name"]):
        refuse(
            f"{path}.trialSpec",
            f"${{trialParameters.{missing[0]}}} is no trial parameter",
            f"add it to trialParameters, or use one of {sorted(seen['name'])}",
        )


def collector_kind(collector: Mapping) -> str:
    """Which metrics collector an Experiment's `metricsCollectorSpec` or a Trial's
    `metricsCollector` means: StdOut where it does not say.
    """
    return (collector.get("collector") or {}).get("kind", "StdOut")


def metrics_file(collector: Mapping) -> str | None:
    """Where such a collector looks for the metrics, if it reads a file that the program writes."""
    if collector_kind(collector) != "File":
        return None
    file = (collector.get("source") or {}).get("fileSystemPath") or {}
    return file.get("path", METRICS_FILE)


def _collector(collector: Mapping, path: str) -> None:
    one_of(collector_kind(collector), COLLECTORS, f"{path}.collector.kind")
    source = collector.get("source") or {}
    file = source.get("fileSystemPath") or {}
    if (log := metrics_file(collector)) is not None:
        one_of(file.get("kind"), ("File",), f"{path}.source.fileSystemPath.kind")
        one_of(file.get("format"), ("TEXT", "JSON"), f"{path}.source.fileSystemPath.format")
        if not log.startswith("/"):
            refuse(
                f"{path}.source.fileSystemPath.path",
                f"is {log!r}",
                "give the whole path, from the / on",
            )
        if file.get("format") == "JSON" and source.get("filter"):
            refuse(
                f"{path}.source.filter", "means nothing where the format is JSON", "leave it out"
            )
    for number, pattern in enumerate((source.get("filter") or {}).get("metricsFormat") or []):
        here = f"{path}.source.filter.metricsFormat[{number}]"
        if unknown := re.search(r"\(\?<?[=!]|\\[1-9]", pattern):
            refuse(
                here,
                f"{unknown[0]} is unknown to Go's regular expressions, which Katib uses",
                "write it without",
            )
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            refuse(here, f"is no regular expression ({error})", "mend it")
        if groups < 2:
            refuse(
                here,
                "has fewer than two groups",
                "put the metric's name into a first pair of brackets and its value into a second",
            )


@cache
def job() -> type[BaseModel]:
    """A model of `batch/v1` Job. `kubeflow-katib-api` has one of every part but the Job itself; its
    fields come from the Kubernetes client.
    """
    from kubeflow_katib_api import models
    from kubernetes.client import V1JobSpec

    parts = {
        "V1PodTemplateSpec": models.IoK8sApiCoreV1PodTemplateSpec,
        "V1LabelSelector": models.IoK8sApimachineryPkgApisMetaV1LabelSelector,
    }
    plain = {"int": int, "str": str, "bool": bool} | parts
    fields: dict[str, Any] = {
        name: (plain.get(kind, Any) | None, Field(None, alias=V1JobSpec.attribute_map[name]))
        for name, kind in V1JobSpec.openapi_types.items()
    }
    content: Any = create_model("JobSpec", **fields)
    metadata = models.IoK8sApimachineryPkgApisMetaV1ObjectMeta
    return create_model(
        "Job",
        api_version=(str | None, Field(None, alias="apiVersion")),
        kind=(str | None, None),
        metadata=(metadata | None, None),
        spec=(content | None, None),
    )
