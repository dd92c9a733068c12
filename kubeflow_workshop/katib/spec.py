"""The Experiment: built with Katib's own types, read from YAML, and checked before anything starts.

Taught in notebook 05. An Experiment is kept as the raw document, a dict as it stands in the YAML,
and that is what travels to the laptop's runner and to the cluster: the models would drop what they
do not know. What is refused here, Katib's webhook or its suggestion service would refuse too, or
worse, accept and never do.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from kubeflow_workshop import IMAGE
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.katib.fields import job, present, refuse, walk

if TYPE_CHECKING:
    from kubeflow_katib_api import models

API_VERSION = "kubeflow.org/v1beta1"
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
SUCCESS = 'status.conditions.#(type=="Complete")#|#(status=="True")#'
FAILURE = 'status.conditions.#(type=="Failed")#|#(status=="True")#'
"""When a Job is done, and when it failed, in the GJSON that Katib fills in by default."""

_PLACEHOLDER = re.compile(r"\$\{trialParameters\.([^{}]*)\}")
META = re.compile(
    r"\$\{trialSpec\.(Name|Namespace|Kind|APIVersion|(?:Annotations|Labels)\[(.+)\])\}"
)
"""What a trial parameter may refer to beside the search space: the trial's own metadata."""


def case_study(
    algorithm: str = TPE,
    settings: Mapping[str, object] | None = None,
    *,
    name: str = "stock-lstm",
    parameters: Sequence["models.V1beta1ParameterSpec"] | None = None,
    max_trials: int = 12,
    parallel: int = 2,
    early_stopping: bool = True,
    arguments: Sequence[str] = (
        "--ticker=MSFT",
        "--start=2012-03-01",
        "--end=2013-03-01",
        "--validation-from=2012-12-18",
        "--test-from=2013-01-25",
        "--network=relative",
    ),
) -> dict:
    """The case study's Experiment: the window, learning rate and units with the smallest validation
    error. The days to validate are given by date, so that they are the same for every window.

    Taught in notebook 05. Built with the types of `kubeflow-katib-api`; each trial is a Job whose
    container runs the training program.

    Args:
        algorithm, settings: how to search, by Katib's names.
        name: of the Experiment.
        parameters: the search space; by default window 2 to 10, learning rate 0.0003 to 0.03 (on a
            logarithmic scale), units 8 to 64.
        max_trials, parallel: how many trials in all, and at once.
        early_stopping: end trials that are worse than the middle of those before (medianstop).
        arguments: of the training program, the same in each trial.

    Returns:
        The raw document.

    Raises:
        CourseError: if what is asked for is no Experiment that Katib would take.
    """
    from kubeflow_katib_api import models

    parameters = list(
        parameters
        or [
            integer("window", 2, 10),
            double("learning-rate", 0.0003, 0.03, logarithmic=True),
            discrete("units", [8, 16, 32, 64]),
        ]
    )
    metrics = ["Validation-MAE", "Training-MAE"]
    command = ["python", "-m", "kubeflow_workshop.stock.train"]
    command += [
        *arguments,
        *(
            f"--{parameter.name}=${{trialParameters.{_camel(parameter.name)}}}"
            for parameter in parameters
        ),
    ]
    container = {
        "name": "training",
        "image": IMAGE,
        "command": command,
        "resources": {"limits": {"cpu": "1", "memory": "2Gi"}},
    }
    trial = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {
            "backoffLimit": 0,
            "template": {"spec": {"containers": [container], "restartPolicy": "Never"}},
        },
    }
    experiment = models.V1beta1Experiment(
        apiVersion=API_VERSION,
        kind="Experiment",
        metadata=models.IoK8sApimachineryPkgApisMetaV1ObjectMeta(name=name),
        spec=models.V1beta1ExperimentSpec(
            objective=models.V1beta1ObjectiveSpec(
                type="minimize",
                objectiveMetricName=metrics[0],
                additionalMetricNames=metrics[1:],
                # the model that is kept is the one at the end of the training, and not the best on
                # the way
                metricStrategies=[
                    models.V1beta1MetricStrategy(name=metric, value="latest") for metric in metrics
                ],
            ),
            algorithm=models.V1beta1AlgorithmSpec(
                algorithmName=algorithm,
                algorithmSettings=[
                    models.V1beta1AlgorithmSetting(name=key, value=str(value))
                    for key, value in (settings or {}).items()
                ]
                or None,
            ),
            earlyStopping=(
                models.V1beta1EarlyStoppingSpec(algorithmName=MEDIANSTOP)
                if early_stopping
                else None
            ),
            maxTrialCount=max_trials,
            maxFailedTrialCount=min(3, max_trials),
            parallelTrialCount=parallel,
            parameters=parameters,
            trialTemplate=models.V1beta1TrialTemplate(
                primaryContainerName="training",
                # else a cluster deletes the Job of a trial that has ended, and its log with it
                retain=True,
                trialParameters=[
                    models.V1beta1TrialParameterSpec(name=_camel(one.name), reference=one.name)
                    for one in parameters
                ],
                trialSpec=trial,
            ),
        ),
    )
    document = experiment.to_dict()
    check(document)
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
        feasibleSpace=models.V1beta1FeasibleSpace(list=[_text(value) for value in values]),
    )


def _number(
    kind: str, name: str, low: float, high: float, step: float | None, logarithmic: bool
) -> "models.V1beta1ParameterSpec":
    from kubeflow_katib_api import models

    space = models.V1beta1FeasibleSpace(
        min=_text(low),
        max=_text(high),
        step=_text(step) if step else None,
        distribution="logUniform" if logarithmic else None,
    )
    return models.V1beta1ParameterSpec(name=name, parameterType=kind, feasibleSpace=space)


def _text(value: float) -> str:
    """A number as text, a whole one without a point; 12 digits hide what sums such as 0.1 + 0.2
    leave behind.
    """
    return str(int(value)) if value == int(value) else f"{value:.12g}"


def _camel(name: str) -> str:
    first, *rest = name.split("-")
    return first + "".join(word.capitalize() for word in rest)


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: no key twice in a mapping, 1e-3 is a number, a day is text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_EXPONENT = (
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)
_Loader.add_implicit_resolver(*_EXPONENT)


def _once(loader: _Loader, node: yaml.MappingNode) -> dict:
    seen: list[object] = []
    for key, _ in node.value:
        name = key.value if key.tag == "tag:yaml.org,2002:merge" else loader.construct_object(key)
        if name in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"{name!r} stands twice in one mapping", key.start_mark
            )
        seen.append(name)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _once)


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
    path = Path(path)
    try:
        documents = [
            document
            for document in yaml.load_all(path.read_text(encoding="utf-8"), _Loader)
            if document is not None
        ]
    except OSError as error:
        raise CourseError(
            f"{path} cannot be read ({error.strerror}); give the path of a YAML file."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise CourseError(
            f"{path}{line} is no YAML ({getattr(error, 'problem', None) or error}); mend that line."
        ) from None
    if len(documents) != 1:
        raise CourseError(
            f"{path} holds {len(documents)} documents; give a file with one Experiment."
        )
    check(documents[0], str(path))
    return documents[0]


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):
    """Writes everything out where it stands, without anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True


# so that a text such as 1e-3 is written in quotes, and stays one
_Dumper.add_implicit_resolver(*_EXPONENT)


def as_text(document: Mapping, form: str = "yaml") -> str:
    """An object as `kubectl get -o yaml` or `-o json` prints it."""
    if form == "json":
        return json.dumps(document, indent=4) + "\n"
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=160)


def check(document: object, where: str = "") -> None:
    """Check that a document is an Experiment that Katib would take, and would do what it says.

    Taught in notebook 05. Checked are types, unknown fields, enumerations, ranges, and that the
    parameters and the template refer to each other.

    Args:
        document: the raw document.
        where: what to call it in a message, such as the file's name.

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
            refuse(
                f"{root}{name}",
                f"is {document.get(name)!r}, and must be {must}",
                f"this reads Experiments of {API_VERSION}",
            )
    walk(document, models.V1beta1Experiment, root)
    document = present(document)
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
    _one_of(
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


def _one_of(value: object, allowed: Sequence[str], path: str) -> None:
    if value is not None and value not in allowed:
        refuse(path, f"is {value!r}", f"use one of {', '.join(allowed)}")


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
    numbers = {}
    for name in ("min", "max", "step"):
        if (text := space.get(name)) is None and name == "step":
            continue
        numbers[name] = number = as_number(text)
        if number is None or (kind == "int" and number != int(number)):
            refuse(
                f"{path}.{name}",
                "is missing" if text is None else f"is {text!r}",
                f"give {'a whole number' if kind == 'int' else 'a number'}, in quotes",
            )
    if numbers["min"] > numbers["max"]:
        refuse(path, f"min {space['min']} is above max {space['max']}", "exchange them")
    if numbers.get("step", 1) <= 0:
        refuse(f"{path}.step", f"is {space['step']}", "give a step above 0")
    _one_of(
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


def count(parameter: Mapping) -> int:
    """How many values a parameter has: those of a list, or min, min + step, … up to max (for int,
    step is 1 unless given).

    Raises:
        CourseError: if it is a double without a step.
    """
    space, kind = parameter["feasibleSpace"], parameter["parameterType"]
    if kind in ("discrete", "categorical"):
        return len(space["list"])
    if kind == "double" and not space.get("step"):
        raise CourseError(
            f"parameter {parameter['name']} is a double without a step, and a grid needs one; give"
            " feasibleSpace.step."
        )
    low, high, step = _range(space)
    return math.floor((high - low) / step + 1e-9) + 1


def value_at(parameter: Mapping, place: int) -> str:
    """The value at a place, from 0 on, as text; places are counted as in `count`."""
    space = parameter["feasibleSpace"]
    if parameter["parameterType"] in ("discrete", "categorical"):
        return space["list"][place]
    low, _, step = _range(space)
    return _text(low + place * step)


def values(parameter: Mapping) -> list[str]:
    """All values of a parameter that has finitely many, as text.

    Raises:
        CourseError: if it is a double without a step.
    """
    return [value_at(parameter, place) for place in range(count(parameter))]


def _range(space: Mapping) -> tuple[float, float, float]:
    return float(space["min"]), float(space["max"]), float(space.get("step") or 1)


def _grid(content: Mapping, path: str) -> None:
    for number, parameter in enumerate(content["parameters"]):
        if parameter["parameterType"] == "double" and not parameter["feasibleSpace"].get("step"):
            refuse(
                f"{path}.parameters[{number}].feasibleSpace.step",
                "is missing, and a grid needs one",
                "give a step, or make the parameter discrete",
            )
    combinations = math.prod(count(parameter) for parameter in content["parameters"])
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
        if not isinstance((trial or {}).get(name, ""), str):
            refuse(
                f"{path}.trialSpec.{name}",
                f"is {trial[name]!r}, and must be text",
                "a Job has apiVersion: batch/v1 and kind: Job",
            )
    if trial and (trial.get("apiVersion"), trial.get("kind")) == ("batch/v1", "Job"):
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


def _job(trial: Mapping, primary: str, path: str) -> None:
    walk(trial, job(), path)
    pod = ((trial.get("spec") or {}).get("template") or {}).get("spec") or {}
    here = f"{path}.spec.template.spec"
    names = [container.get("name") for container in pod.get("containers") or []]
    if primary not in names:
        refuse(
            f"{here}.containers",
            f"none is named {primary}, as primaryContainerName says",
            f"there {'is' if len(names) == 1 else 'are'} {names}",
        )
    if pod.get("restartPolicy") not in ("Never", "OnFailure"):
        refuse(
            f"{here}.restartPolicy",
            f"is {pod.get('restartPolicy')!r}, and a Job needs Never or OnFailure",
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


def _collector(collector: Mapping, path: str) -> None:
    kind = (collector.get("collector") or {}).get("kind", "StdOut")
    _one_of(kind, COLLECTORS, f"{path}.collector.kind")
    source = collector.get("source") or {}
    file = source.get("fileSystemPath") or {}
    if kind == "File":
        _one_of(file.get("kind"), ("File",), f"{path}.source.fileSystemPath.kind")
        _one_of(file.get("format"), ("TEXT", "JSON"), f"{path}.source.fileSystemPath.format")
        if not file.get("path", METRICS_FILE).startswith("/"):
            refuse(
                f"{path}.source.fileSystemPath.path",
                f"is {file['path']!r}",
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
