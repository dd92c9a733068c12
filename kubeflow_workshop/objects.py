"""Kubernetes objects as documents: read from YAML and written, checked field by field, and the
conditions in their status.

Taught in notebook 05. An object is kept as the raw document, a dict as it stands in the YAML, and
that is what travels: generated models drop the fields that they do not know, and many a resource
definition accepts anything, so nobody else would find a misspelt field. Documents are never changed
in place: each function returns a new one, so that others may read the old.
"""

import difflib
import json
import math
import re
import types
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

from kubeflow_workshop.errors import CourseError

KINDS = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    datetime: "a time such as 2026-03-01T12:00:00Z",
}


class AbsentError(CourseError):
    """There is no object of that name."""


_DEEPEST, _LARGEST = 200, 100_000
"""How deep a document may be, and of how many values it may consist with its aliases written out;
Kubernetes, too, refuses what is far beyond any object.
"""


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: no key twice in a mapping, 1e-3 is a number, a day is text; and
    nothing that would fill the memory.
    """

    def __init__(self, stream: str):
        super().__init__(stream)
        self._depth = 0
        self._sizes: dict[int, tuple[int, int]] = {}  # of the nodes that are whole: values, depth

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node | None:
        """A node, if it is not too much with all that it holds."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._too_much(f"there are more than {_DEEPEST} brackets in each other")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None and id(node) not in self._sizes:
            self._measure(node)
        return node

    def compose_document(self) -> yaml.Node | None:
        """The next document."""
        self._sizes.clear()  # their numbers may come again
        return super().compose_document()

    def _measure(self, node: yaml.Node) -> None:
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):
            parts = [one for pair in node.value for one in pair]
        if any(id(one) not in self._sizes for one in parts):
            raise self._too_much("an alias stands in what it refers to")
        sizes = [self._sizes[id(one)] for one in parts]
        values, depth = 1 + sum(one for one, _ in sizes), 1 + max((d for _, d in sizes), default=0)
        if values > _LARGEST or depth > _DEEPEST:
            raise self._too_much("its aliases make it too large")
        self._sizes[id(node)] = values, depth

    def _too_much(self, what: str) -> yaml.YAMLError:
        return yaml.composer.ComposerError(None, None, what, self.get_mark())


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


def read(path: str | Path, kind: str) -> object:
    """The one document in a YAML file.

    Args:
        path: the file.
        kind: what the document should be, for the message, such as "Experiment".

    Returns:
        The raw document, as it stands in the file.

    Raises:
        CourseError: if the file cannot be read, is no YAML, or does not hold one document; the
            message names the file and, if it can, the line.
    """
    documents = read_all(path)
    if len(documents) != 1:
        raise CourseError(f"{path} holds {len(documents)} documents; give a file with one {kind}.")
    return documents[0]


def read_all(path: str | Path) -> list[object]:
    """The documents in a YAML file; those that are empty are left out.

    Raises:
        CourseError: if the file cannot be read, or is no YAML; the message names the file and, if
            it can, the line.
    """
    path = Path(path)
    try:
        return [
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


_FastDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_FastDumper):
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


def refuse(path: str, what: str, do: str) -> NoReturn:
    """Raise the CourseError of a field: where it is, what is wrong with it, what to do."""
    raise CourseError(f"{path}: {what}; {do}{'' if do.endswith('?') else '.'}")


def one_of(value: object, allowed: Sequence[str], path: str) -> None:
    """Refuse a value that is none of those allowed; what is not given is no mistake."""
    if value is not None and value not in allowed:
        refuse(path, f"is {value!r}", f"use one of {', '.join(allowed)}")


def present(value: Any) -> Any:
    """A document without the fields that are null: as the API server understands it."""
    if isinstance(value, dict):
        return {name: present(item) for name, item in value.items() if item is not None}
    return [present(item) for item in value] if isinstance(value, list) else value


def walk(value: object, kind: Any, path: str) -> None:
    """Check a value from YAML, and all that it holds, against a type.

    Args:
        value: what stands in the document.
        kind: a Pydantic model of the object, or a type that one of its fields is annotated with.
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
    """A number may be whole or not; every other union has one member beside None."""
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


def state(thing: Mapping) -> str:
    """What an object is now: the type of its last condition that holds; empty before it has one."""
    return next(
        (
            one["type"]
            for one in reversed(thing.get("status", {}).get("conditions") or [])
            if one["status"] == "True"
        ),
        "",
    )


def conditions(thing: Mapping) -> set[str]:
    """The types of all conditions that hold."""
    return {
        one["type"]
        for one in thing.get("status", {}).get("conditions") or []
        if one["status"] == "True"
    }


def with_condition(thing: Mapping, kind: str, reason: str, message: str) -> dict:
    """The thing with one more condition; that it is running no longer holds."""
    time = now()
    before = [
        one | {"status": "False", "lastTransitionTime": time} if one["type"] == "Running" else one
        for one in thing["status"]["conditions"]
    ]
    condition = {
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastUpdateTime": time,
        "lastTransitionTime": time,
    }
    return {**thing, "status": {**thing["status"], "conditions": [*before, condition]}}


def now(precise: bool = False) -> str:
    """The time as Kubernetes writes it; precise, so that trials of one second keep their order."""
    return (
        datetime.now(UTC)
        .isoformat(timespec="microseconds" if precise else "seconds")
        .replace("+00:00", "Z")
    )
