"""A compiled pipeline: written from Python, read from its YAML, and checked before anything starts.

Taught in notebook 06. The YAML holds the platform-neutral pipeline (`PipelineSpec` of KFP's v2 API)
and, in a second document, what only Kubernetes knows, such as volume claims. Reading needs no kfp.
"""

import difflib
import hashlib
import json
import math
import os
import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from itertools import pairwise
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.files import PACKAGE
from kubeflow_workshop.objects import read_all

SCHEMA = "2.1.0"
"""The version of the pipeline's schema that kfp 2 writes, and all its servers read."""
EXECUTOR = "kfp.dsl.executor_main"
"""The module that runs a component made from a Python function. Every version of kfp since 2.0 has
it.
"""
CODE = "code"
"""The parameter that takes the fingerprint of the package, in pipelines that have one."""
PLAIN = {
    "activeDeadlineSeconds",
    "enabledSharedMemory",
    "imagePullPolicy",
    "imagePullSecret",
    "nodeAffinity",
    "nodeSelector",
    "podAffinity",
    "podMetadata",
    "securityContext",
    "tolerations",
}
"""What the platform's document may say of a step that means nothing on a laptop: where and how its
Pod runs.
"""
_PROVIDED = {
    "configMapAsEnv": "a config map",
    "configMapAsVolume": "a config map",
    "emptyDirMounts": "an empty volume",
    "fieldPathAsEnv": "a field of its Pod",
    "genericEphemeralVolume": "a volume made for it",
    "secretAsEnv": "a secret",
    "secretAsVolume": "a secret",
}
"""What it may say that the step's code relies on, and a laptop has not."""
_TYPES = {
    "STRING": "text",
    "NUMBER_INTEGER": "a whole number",
    "NUMBER_DOUBLE": "a number",
    "BOOLEAN": "true or false",
    "LIST": 'a list, such as ["AAPL", "IBM"]',
    "STRUCT": 'a mapping, such as {"window": 3}',
}


@dataclass(frozen=True)
class Step:
    """A step of a pipeline, as it stands in the YAML.

    Attributes:
        name: of its task.
        path: the names of the tasks that lead to it: conditions, loops, pipelines in the pipeline,
            and itself.
        executor: what runs it, such as `{"container": …}`.
        platform: what the platform's document says of it.
    """

    name: str
    path: tuple[str, ...]
    executor: Mapping
    platform: Mapping


@dataclass(frozen=True)
class Pipeline:
    """A compiled pipeline.

    Attributes:
        where: what to call it in a message: its file.
        spec: the first document, the `PipelineSpec`.
        kubernetes: what the second document says for Kubernetes, by executor; empty without one.
    """

    where: str
    spec: Mapping
    kubernetes: Mapping

    @property
    def name(self) -> str:
        """Of the pipeline."""
        return self.spec["pipelineInfo"]["name"]

    def run_name(self, created: str) -> str:
        """What a run is called that was given no name; `created` is RFC 3339."""
        return f"{self.name} {created[:19].replace('T', ' ')}"

    @property
    def parameters(self) -> dict[str, dict]:
        """Its parameters by name, as the YAML has them: `parameterType`, `defaultValue`, … ."""
        return self.spec["root"].get("inputDefinitions", {}).get("parameters", {})

    def component(self, task: Mapping) -> Mapping:
        """The component that a task calls."""
        return self.spec["components"][task["componentRef"]["name"]]

    def steps(self) -> Iterator[Step]:
        """Every step, also those in conditions, loops and pipelines in the pipeline."""
        executors = self.spec["deploymentSpec"]["executors"]

        def below(component: Mapping, path: tuple[str, ...]) -> Iterator[Step]:
            for name, task in component["dag"]["tasks"].items():
                called = self.component(task)
                if "dag" in called:
                    yield from below(called, (*path, name))
                else:
                    label = called["executorLabel"]
                    yield Step(
                        name, (*path, name), executors[label], self.kubernetes.get(label, {})
                    )

        return below(self.spec["root"], ())


def compile(path: str | Path) -> Path:
    """Write the case study's pipeline as YAML. The same bytes come out in whatever directory.

    Taught in notebook 06.

    Returns:
        `path`.

    Raises:
        CourseError: if the file cannot be written; what was there before is still there then.
    """
    from kfp.compiler import Compiler

    from kubeflow_workshop.pipelines import components

    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.stem}.", dir=path.parent) as room:
            made = Path(room) / "pipeline.yaml"
            Compiler().compile(components.stock_pipeline, str(made))
            os.replace(made, path)
    except OSError as error:
        raise CourseError(
            f"{path} cannot be written ({error.strerror}); give a file where you may write."
        ) from None
    return path


def read(path: str | Path) -> Pipeline:
    """A compiled pipeline from its file.

    Taught in notebook 06.

    Raises:
        CourseError: if the file cannot be read, is no pipeline, or one of another schema's version;
            the message says what it seems to be.
    """
    where = str(path)
    documents = read_all(path)
    again = "compile it with kfp 2, as workshop pipeline compile does"
    first = documents[0] if documents else None
    if not isinstance(first, dict) or not isinstance(first.get("pipelineInfo"), dict):
        raise CourseError(f"{where} {_what(first)}, and no compiled pipeline; {again}.")
    if (version := first.get("schemaVersion")) != SCHEMA:
        raise CourseError(
            f"{where} is a pipeline of schema version {version}, and {SCHEMA} is read here;"
            f" {again}."
        )
    others = [
        one for one in documents[1:] if not isinstance(one, dict) or set(one) != {"platforms"}
    ]
    if len(documents) > 2 or others:
        raise CourseError(
            f"{where} holds {len(documents)} documents, and a compiled pipeline has one, and at"
            f" most a second with `platforms`; {again}."
        )
    try:
        platforms = documents[1]["platforms"] if documents[1:] else {}  # type: ignore[index]
        described = platforms.get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
        made = Pipeline(where, first, described)
        list(made.steps())
        dict(made.parameters)
        str(made.name)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise CourseError(
            f"{where} is not a whole pipeline ({type(error).__name__}: {error}); {again}."
        ) from None
    return made


def _what(document: object) -> str:
    """What a YAML that is no pipeline seems to be."""
    if not isinstance(document, dict):
        return f"holds {'nothing' if document is None else 'a ' + type(document).__name__}"
    kind, version = document.get("kind"), str(document.get("apiVersion", ""))
    if version.startswith("argoproj.io/"):
        return "is a workflow of Argo, such as kfp 1 wrote"
    if version.startswith("tekton.dev/"):
        return "is a pipeline of Tekton"
    if kind:
        return f"is an object of the kind {kind}"
    return f"is a mapping with {', '.join(map(str, list(document)[:3]))}"


def bind(pipeline: Pipeline, given: Mapping[str, object]) -> dict:
    """The arguments of a run: what was given, in the types that the pipeline asks for.

    Taught in notebook 06. A text, as it comes from a command line, is read as the parameter's type.
    If the pipeline has a parameter `code` and it is not given, it is the package's fingerprint.

    Raises:
        CourseError: if a parameter is unknown, of another type, or needed and not given.
    """
    known, where = pipeline.parameters, pipeline.where
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'none'}."
            raise CourseError(f"{where} has no parameter {name}; {hint}")
    bound = {
        name: _typed(value, known[name]["parameterType"], name) for name, value in given.items()
    }
    if CODE in known and CODE not in bound:
        bound[CODE] = fingerprint()
    needed = [
        name
        for name, one in known.items()
        if name not in bound and not one.get("isOptional") and "defaultValue" not in one
    ]
    if needed:
        raise CourseError(
            f"{where} needs the parameter {', '.join(needed)}; give it with --parameter"
            f" {needed[0]}=VALUE."
        )
    if artifacts := pipeline.spec["root"].get("inputDefinitions", {}).get("artifacts"):
        raise CourseError(
            f"{where} takes the artifact {', '.join(artifacts)}, which cannot be given to a run;"
            " let a step import it (dsl.importer), and compile it again."
        )
    return bound


def _typed(value: object, kind: str, name: str) -> object:
    """A value as the type that a pipeline's parameter has."""
    made: object = value
    if isinstance(value, str) and kind != "STRING":
        try:
            made = json.loads(value.lower() if kind == "BOOLEAN" else value)
        except ValueError:
            made = None
    number = isinstance(made, int | float) and not isinstance(made, bool) and math.isfinite(made)
    whole = number and float(made).is_integer()  # type: ignore[arg-type]
    fits = {
        "STRING": isinstance(made, str),
        "NUMBER_INTEGER": whole,
        "NUMBER_DOUBLE": number,
        "BOOLEAN": isinstance(made, bool),
        "LIST": isinstance(made, list),
        "STRUCT": isinstance(made, dict),
    }
    if not fits.get(kind, True):
        raise CourseError(f"parameter {name} is {value!r}, and must be {_TYPES[kind]}; give it so.")
    if kind == "NUMBER_INTEGER":
        return int(made)  # type: ignore[call-overload]
    return float(made) if kind == "NUMBER_DOUBLE" else made  # type: ignore[arg-type]


def fingerprint() -> str:
    """What changes when the package's code changes: the SHA-256 of its source files, 16 digits.

    Taught in notebook 06. Steps take it as an argument, because a cache knows only what a step is
    called with, and not the code that the step calls.
    """
    sources = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        sources.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0")
        sources.update(path.read_bytes() + b"\0")
    return sources.hexdigest()[:16]


def refuse_on_laptop(pipeline: Pipeline) -> None:
    """Let a pipeline pass that the laptop runs as a cluster would.

    Raises:
        CourseError: if it cannot; the message names every step that is in the way, and why.
    """
    reasons = dict.fromkeys(
        f"{step.name} {reason}" for step in pipeline.steps() for reason in _reasons(step)
    )
    if reasons:
        raise CourseError(
            f"{pipeline.where} cannot run on this laptop, and nothing was started:"
            f" {'; '.join(reasons)}. Run it on a cluster (WORKSHOP_TARGET=cluster)."
        )


def _reasons(step: Step) -> Iterator[str]:
    if "importer" in step.executor:
        return
    container = step.executor.get("container")
    if container is None:
        yield f"is no step that runs here ({', '.join(step.executor)})"
        return
    if source_of(container) is None:
        yield (
            f"is a container (image {container['image']}), and only components made from Python"
            " functions run here"
        )
    if accelerator := container.get("resources", {}).get("accelerator"):
        kind = accelerator.get("resourceType") or accelerator.get("type")
        yield f"asks for an accelerator ({kind})"
    for key in step.platform:
        if key not in PLAIN and key != "pvcMount":
            yield f"needs {_PROVIDED.get(key, key)} of the cluster"
    for wanted in packages(container):
        try:
            asked = Requirement(wanted)
            if asked.marker and not asked.marker.evaluate():
                continue
            there = metadata.version(asked.name)
        except InvalidRequirement:
            yield f"installs {wanted} first, and nothing is installed here"
        except metadata.PackageNotFoundError:
            yield f"needs the package {wanted}, which is not installed here"
        else:
            if asked.name != "kfp" and not asked.specifier.contains(there, prereleases=True):
                yield f"needs the package {wanted}, and {there} is installed here"


def source_of(container: Mapping) -> str | None:
    """The Python source of a component that was made from a function; None for any other
    container.
    """
    words = [*container.get("command", []), *container.get("args", [])]
    for script, source in pairwise(words):
        if EXECUTOR in script and "mktemp" in script:
            return source
    return None


def packages(container: Mapping) -> list[str]:
    """The packages that a component made from a function would install first."""
    return [
        word
        for script in container.get("command", [])
        if EXECUTOR not in script
        for install in re.findall(r"pip install([^&\n]*)", script)
        for word in shlex.split(install)
        if not word.startswith("-") and "://" not in word
    ]
