"""The objects of the case study, made with the platforms' own types: the one place that knows both
the training program and the platforms that run it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kubeflow_workshop import IMAGE, repository
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.katib import rules, spec
from kubeflow_workshop.stock import prices

if TYPE_CHECKING:
    from kubeflow_katib_api import models


def experiment(
    algorithm: str = rules.TPE,
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
    """The Experiment: find the window, learning rate and units with the smallest validation error.
    The days to validate are given by date, so that they are the same for every window.

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
            spec.integer("window", 2, 10),
            spec.double("learning-rate", 0.0003, 0.03, logarithmic=True),
            spec.discrete("units", [8, 16, 32, 64]),
        ]
    )
    metrics = ["Validation-MAE", "Training-MAE"]
    command = ["python", "-m", "kubeflow_workshop.stock.train"]
    command += [
        *arguments,
        "--times",  # else Katib's database does not know which value is the latest
        *(
            f"--{parameter.name}=${{trialParameters.{_camel(parameter.name)}}}"
            for parameter in parameters
        ),
    ]
    container = {
        "name": "training",
        "image": IMAGE,
        "command": command,
        # A trial may take a core, but is promised little: two must find room beside Kubeflow on the
        # smallest machine that install/ accepts, and what is promised is also how cores are shared
        # when all want one. Katib's own services, beside the trials, ask for 50m.
        "resources": {
            "requests": {"cpu": "100m", "memory": "1Gi"},
            "limits": {"cpu": "1", "memory": "2Gi"},
        },
    }
    pod = {
        # Katib's collector, a container beside ours, marks a trial that is stopped early in a file
        # that our shell must be able to write. The image's user, for both.
        "securityContext": {"runAsUser": 1000},
        "containers": [container],
        "restartPolicy": "Never",
    }
    trial = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }
    made = models.V1beta1Experiment(
        apiVersion=spec.API_VERSION,
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
                models.V1beta1EarlyStoppingSpec(algorithmName=rules.MEDIANSTOP)
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
    document = made.to_dict()
    spec.check(document)
    return document


def pipeline_arguments(
    tickers: Sequence[str],
    models: str | Path | None = None,
    *,
    source: str = "bundled",
    here: bool = True,
) -> dict:
    """The arguments of the case study's pipeline.

    Taught in notebook 06.

    Args:
        tickers: symbols of the stocks, at least one.
        models: the root of the model repository; without it, the pipeline's default.
        source: of the prices.
        here: whether the repository is on this machine, so that it can be looked at.

    Raises:
        CourseError: if a ticker is unknown, there is none, or it stands there twice; or a version
            could not be registered.
    """
    if not tickers or len(set(tickers)) < len(tickers):
        raise CourseError(f"tickers are {list(tickers)}; give at least one, and each of them once.")
    for ticker in tickers:
        prices.edition(ticker, source)
        if here and models:
            repository.writable(Path(models), ticker.lower())
    made: dict[str, object] = {"tickers": list(tickers), "source": source}
    if models:
        made["models"] = str(Path(models).absolute() if here else models)
    return made


def _camel(name: str) -> str:
    first, *rest = name.split("-")
    return first + "".join(word.capitalize() for word in rest)
