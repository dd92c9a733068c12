"""Experiments for tests: tiny programs in the place of training."""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence

DOUBLE = {"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}


def number(kind: str = "double", name: str = "x", **space: str) -> dict:
    """A parameter from min to max."""
    return {
        "name": name,
        "parameterType": kind,
        "feasibleSpace": {key: str(value) for key, value in space.items()},
    }


def choice(kind: str, *values: str, name: str = "x") -> dict:
    """A parameter with a list of values."""
    return {"name": name, "parameterType": kind, "feasibleSpace": {"list": list(values)}}


def experiment(
    *command: str,
    parameters: Sequence[Mapping] = (DOUBLE,),
    algorithm: str = "random",
    settings: Mapping[str, object] | None = None,
    objective: Mapping | None = None,
    container: Mapping | None = None,
    job: Mapping | None = None,
    name: str = "try",
    **content: object,
) -> dict:
    """A whole Experiment. Without a command, each trial prints its x as the loss. `content` is
    added to its spec, `job` and `container` to theirs.
    """
    named = {
        parameter["name"]: parameter["name"].replace("-", "").replace("_", "")
        for parameter in parameters
    }
    words = list(command) or ["sh", "-c", "echo loss=${trialParameters.x}"]
    if missing := [
        place
        for place in named.values()
        if "${trialParameters." + place + "}" not in json.dumps(words)
    ]:
        words += [f"--{place}=${{trialParameters.{place}}}" for place in missing]
    return copy.deepcopy({
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss", **(objective or {})},
            "algorithm": {
                "algorithmName": algorithm,
                "algorithmSettings": [{"name": key, "value": str(value)} for key, value in (settings or {}).items()],
            },
            "maxTrialCount": 3,
            "parallelTrialCount": 1,
            "parameters": list(parameters),
            "trialTemplate": {
                "primaryContainerName": "training",
                "trialParameters": [{"name": place, "reference": key} for key, place in named.items()],
                "trialSpec": {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "spec": {
                        "backoffLimit": 0,
                        "template": {
                            "spec": {"containers": [{"name": "training", "image": "none", "command": words, **(container or {})}], "restartPolicy": "Never"}
                        },
                        **(job or {}),
                    },
                },
            },
            **content,
        },
    })  # fmt: skip


def places(value: object, path: str = "") -> Iterator[tuple[str, object, object]]:
    """Every field of a document, however deep: its path, the mapping or list it stands in, its name
    or number there.
    """
    for key, item in (
        value.items()
        if isinstance(value, Mapping)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    ):
        here = f"{path}[{key}]" if isinstance(value, list) else f"{path}.{key}" if path else key
        yield here, value, key
        yield from places(item, here)


def changed(document: dict, path: str, change) -> dict:
    """A copy of a document in which `change(holder, key)` was done to one place."""
    made = copy.deepcopy(document)
    for here, holder, key in places(made):
        if here == path:
            change(holder, key)
            return made
    raise KeyError(path)
