"""The pipeline's step that tunes: it creates the case study's Experiment, and waits for it.

Taught in notebook 06. Where the step runs as a Pod, the Experiment is created on that cluster; here
it runs in processes, and is kept where `workshop tune list` finds it.
"""

import os
import uuid

from kubeflow_workshop import case_study
from kubeflow_workshop.katib import connect
from kubeflow_workshop.katib.cluster import Cluster
from kubeflow_workshop.pipelines.signin import PLATFORM
from kubeflow_workshop.target import NAMESPACE


def search(
    ticker: str, source: str, start: str, end: str, network: str, epochs: int, trials: int
) -> dict:
    """The hyperparameters with the smallest validation error.

    Args:
        ticker, source, start, end: the prices; an empty day stands for the whole series.
        network, epochs: of each trial.
        trials: how many.

    Returns:
        `window`, `units` and `learning_rate`.

    Raises:
        CourseError: if the Experiment cannot be created, or none of its trials succeeds.
    """
    if "KUBERNETES_SERVICE_HOST" in os.environ:  # every Pod has it
        os.environ.setdefault("WORKSHOP_TARGET", "cluster")
    days = {"start": start, "end": end}
    prices = (
        [f"--csv={source}"]
        if source.endswith(".csv")
        else [f"--ticker={ticker}", f"--source={source}"]
    )
    arguments = [
        *prices,
        *(f"--{name}={day}" for name, day in days.items() if day),
        f"--network={network}",
        f"--epochs={epochs}",
    ]
    door = connect()
    document = case_study.experiment(
        name=f"stock-{ticker.lower()}-{uuid.uuid4().hex[:6]}",
        max_trials=trials,
        parallel=min(2, trials),
        arguments=arguments,
    )
    if isinstance(door, Cluster) and door.namespace == PLATFORM:
        # Pipelines that were installed alone run steps in their own namespace, which is Katib's
        # too, and there Katib reads no metrics
        document = document | {"metadata": document["metadata"] | {"namespace": NAMESPACE}}
    name = door.create(document)
    door.wait(name)
    best = {one["name"]: one["value"] for one in door.best(name)["parameterAssignments"]}
    print(f"Experiment {name}: {best}")
    return {
        "window": int(best["window"]),
        "units": int(best["units"]),
        "learning_rate": float(best["learning-rate"]),
    }
