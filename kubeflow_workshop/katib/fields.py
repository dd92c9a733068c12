"""Hold a document against Katib's own types: every field known, every value of its type, every
complaint with its path.

The models of `kubeflow-katib-api` drop unknown fields silently, and Katib's CRD accepts anything,
so a misspelt field would be found by nobody else. Notebook 05 shows what it refuses.
"""

import difflib
import math
import types
from datetime import datetime
from functools import cache
from typing import Annotated, Any, NoReturn, Union, get_args, get_origin

from pydantic import BaseModel, Field, create_model

from kubeflow_workshop.errors import CourseError

KINDS = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    datetime: "a time such as 2026-03-01T12:00:00Z",
}


def refuse(path: str, what: str, do: str) -> NoReturn:
    """Raise the CourseError of a field: where it is, what is wrong with it, what to do."""
    raise CourseError(f"{path}: {what}; {do}{'' if do.endswith('?') else '.'}")


def present(value: object) -> object:
    """A document without the fields that are null: as the API server understands it."""
    if isinstance(value, dict):
        return {name: present(item) for name, item in value.items() if item is not None}
    return [present(item) for item in value] if isinstance(value, list) else value


def walk(value: object, kind: Any, path: str) -> None:
    """Check a value from YAML, and all that it holds, against a type.

    Args:
        value: what stands in the document.
        kind: a model of `kubeflow-katib-api`, or a type that one of its fields is annotated with.
        path: where the value stands, such as `experiment.yaml, spec.parameters[0]`.

    Raises:
        CourseError: if a field is unknown or a value is of another type; the message begins with
            the path.
    """
    origin = get_origin(kind)
    if value is None or kind is Any:
        return
    if origin is Annotated:
        walk(value, get_args(kind)[0], path)
    elif origin in (Union, types.UnionType):
        _union(value, [choice for choice in get_args(kind) if choice is not type(None)], path)
    elif origin is list:
        if not isinstance(value, list):
            refuse(
                path,
                f"{_seen(value)}, and must be a list",
                "write one item a line, each after '- '",
            )
        for number, item in enumerate(value):
            if item is None:
                refuse(f"{path}[{number}]", "is null", "write the item, or leave the line out")
            walk(item, get_args(kind)[0], f"{path}[{number}]")
    elif origin is dict:
        for name, item in _mapping(value, path).items():
            walk(item, get_args(kind)[1], f"{path}.{name}")
    elif issubclass(kind, BaseModel):
        _model(value, kind, path)
    else:
        _scalar(value, kind, path)


def _union(value: object, choices: list, path: str) -> None:
    """A number may be whole or not; Katib's other unions have one member beside None."""
    plain = [_plain(choice) for choice in choices]
    if {int, float} <= set(plain):
        choices = [float]
    walk(value, choices[0], path)


def _plain(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _model(value: object, model: type[BaseModel], path: str) -> None:
    if (
        "actual_instance" in model.model_fields
    ):  # the generated form of "a number or a text", such as memory: 1Gi
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            refuse(path, f"{_seen(value)}, and must be a number or text", "write it as in 2 or 1Gi")
        return
    known = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    for name, item in _mapping(value, path).items():
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
            refuse(
                _below(path, name),
                "there is no such field",
                (
                    f"did you mean {near[0]}?"
                    if near
                    else f"known here are {', '.join(sorted(known))}"
                ),
            )
        walk(item, known[name], _below(path, name))


def _below(path: str, name: object) -> str:
    return f"{path}{'' if path.endswith(' ') or not path else '.'}{name}"


def _mapping(value: object, path: str) -> dict:
    if not isinstance(value, dict):
        refuse(
            path.rstrip(", ") or "the document",
            f"{_seen(value)}, and must be a mapping",
            "write name: value pairs, one a line",
        )
    return value


def _scalar(value: object, kind: type, path: str) -> None:
    fits = {
        str: isinstance(value, str),
        bool: isinstance(value, bool),
        int: isinstance(value, int) and not isinstance(value, bool),
        float: (
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        ),
        datetime: isinstance(value, str),
    }[kind]
    if not fits:
        quotes = kind is str and not isinstance(value, list | dict)
        refuse(
            path,
            f"{_seen(value)}, and must be {KINDS[kind]}",
            f'write it in quotes: "{value}"' if quotes else f"write {KINDS[kind]}",
        )


def _seen(value: object) -> str:
    if isinstance(value, dict | list):
        return f"is a {'mapping' if isinstance(value, dict) else 'list'}"
    return f"is {str(value).lower() if isinstance(value, bool) else repr(value)}"


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
    spec = create_model(
        "JobSpec",
        **{
            name: (plain.get(kind, Any) | None, Field(None, alias=V1JobSpec.attribute_map[name]))
            for name, kind in V1JobSpec.openapi_types.items()
        },
    )
    metadata = models.IoK8sApimachineryPkgApisMetaV1ObjectMeta
    return create_model(
        "Job",
        api_version=(str | None, Field(None, alias="apiVersion")),
        kind=(str | None, None),
        metadata=(metadata | None, None),
        spec=(spec | None, None),
    )
