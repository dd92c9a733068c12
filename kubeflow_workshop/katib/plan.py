"""What the laptop does for an Experiment, found out before anything starts: the command of its
trials, or why it cannot be run here; and the template, filled in for one trial.

Taught in notebook 05. What is a valid Experiment is said in `spec`; here it is refused, with the
field's path, when a laptop could not run it faithfully.
"""

import itertools
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.katib import rules, spec
from kubeflow_workshop.katib.spec import View
from kubeflow_workshop.katib.suggest import ALGORITHMS
from kubeflow_workshop.objects import refuse
from kubeflow_workshop.process import search_path

_JOB = "spec.trialTemplate.trialSpec.spec"
_POD = f"{_JOB}.template.spec"
_RUNS = {
    _JOB: {
        "template",
        "backoffLimit",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
        "parallelism",
        "completions",
        "suspend",
    },
    _POD: {
        "containers",
        "restartPolicy",
        "activeDeadlineSeconds",
        "terminationGracePeriodSeconds",
        "nodeSelector",
        "affinity",
        "tolerations",
        "priorityClassName",
        "priority",
        "schedulerName",
        "serviceAccountName",
        "automountServiceAccountToken",
        "imagePullSecrets",
        "enableServiceLinks",
        "securityContext",
    },
    f"{_POD}.containers[0]": {
        "name",
        "image",
        "imagePullPolicy",
        "command",
        "args",
        "env",
        "workingDir",
        "resources",
        "ports",
        "securityContext",
    },
}
"""The fields that the laptop carries out, or may pass over since they say where and as whom a Pod
runs. Any other is refused.
"""


@dataclass(frozen=True)
class Plan:
    """What the laptop does for an Experiment, found out before anything starts.

    Attributes:
        command: the words of the trial's program, with placeholders in them.
        environment: the literal variables of its container.
        folder: where the program's files are; each trial works in a folder of its own that has
            them (`trial`).
        attempts: how often a trial is started before it counts as failed.
        deadline: seconds that an attempt may take; None is for ever.
        differences: what is not as on a cluster, a sentence each.
    """

    command: list[str]
    environment: dict[str, str]
    folder: Path
    attempts: int
    deadline: float | None
    differences: list[str]


def plan(view: View, commands: Sequence[tuple[str, str]] = (), where: str = "") -> Plan:
    """Find out how to run an Experiment's trials here, or refuse it.

    Taught in notebook 05.

    Args:
        view: what the Experiment says.
        commands: pairs of old and new: words of the trial's command, and what to run here in their
            place.
        where: what to call the document in a message.

    Raises:
        CourseError: if the laptop cannot run it faithfully; the message names the field and what is
            allowed.
    """
    root = f"{where}, " if where else ""
    _allowed_search(view, root)
    if not view.trial:
        refuse(
            f"{root}spec.trialTemplate.configMap",
            "is kept on a cluster",
            "put the template itself into trialSpec",
        )
    if not view.pod:
        refuse(
            f"{root}spec.trialTemplate.trialSpec",
            f"is a {view.trial['kind']} ({view.trial['apiVersion']})",
            "the laptop runs a Job (batch/v1); send this one to a cluster",
        )
    for name, value in (("successCondition", spec.SUCCESS), ("failureCondition", spec.FAILURE)):
        if view.template.get(name, value).replace(" ", "") != value:
            refuse(
                f"{root}spec.trialTemplate.{name}",
                "is one of your own",
                f"the laptop knows Katib's for a Job: {value}",
            )
    job, pod = view.trial["spec"], view.pod
    if len(pod["containers"]) != 1:
        refuse(
            f"{root}{_POD}.containers",
            f"there are {len(pod['containers'])}",
            "the laptop runs one container a trial",
        )
    container = pod["containers"][0]
    for path, holder in zip(_RUNS, (job, pod, container), strict=True):
        for name in holder:
            if name not in _RUNS[path] and holder[name] not in (None, [], {}):
                refuse(
                    f"{root}{path}.{name}",
                    "is not carried out on the laptop",
                    f"leave it out; allowed are {', '.join(sorted(_RUNS[path]))}",
                )
    for name in ("parallelism", "completions"):
        if job.get(name, 1) != 1:
            refuse(
                f"{root}{_JOB}.{name}",
                f"is {job[name]}",
                "the laptop runs one process a trial; give 1",
            )
    if job.get("suspend"):
        refuse(f"{root}{_JOB}.suspend", "is true, so that no trial would begin", "leave it out")
    here = f"{root}{_POD}.containers[0]"
    environment = _environment(container.get("env") or [], here)
    folder = Path(container.get("workingDir") or "").resolve()
    if not folder.is_dir():
        refuse(f"{here}.workingDir", f"{folder} does not exist here", "leave it out, or make it")
    command, mapped = _command(container, commands, here)
    _runnable(command, folder, environment.get("PYTHONPATH", ""), here)
    differences = [
        (
            f"The image {container.get('image')} is not pulled: your environment runs"
            f" {shlex.join(command[:3])} …"
        ),
        *mapped,
        (
            f"Each trial works in a folder of its own, which has copies of the files in {folder},"
            " and links to its folders and to files above 1 MB. What a trial writes stays there."
        ),
    ]
    if "backoffLimit" not in job:
        differences.append(
            "A trial that fails is not tried again; on a cluster it is, up to six times, unless the"
            " Job has a backoffLimit."
        )
    if view.metrics_file:
        if not any(names(word, view.metrics_file) for word in (*command, *environment.values())):
            refuse(
                f"{root}spec.metricsCollectorSpec.source.fileSystemPath.path",
                f"{view.metrics_file} is not named in the command or in a variable, so trials"
                " would share that file, or could not write it",
                "give the program the path as an argument",
            )
        differences.append(
            f"Where the command or a variable names {view.metrics_file}, each trial gets a file of"
            " its own."
        )
    differences += _unquoted(view, container, environment, here)
    if "resources" in container:
        differences.append("The limits of cores and memory are not enforced.")
    deadlines = [
        seconds
        for seconds in (job.get("activeDeadlineSeconds"), pod.get("activeDeadlineSeconds"))
        if seconds
    ]
    return Plan(
        command,
        environment,
        folder,
        1 + job.get("backoffLimit", 0),
        min(deadlines, default=None),
        differences,
    )


def _allowed_search(view: View, root: str) -> None:
    """Refuse what Katib has and the laptop has not."""
    if view.content.get("nasConfig"):
        refuse(
            f"{root}spec.nasConfig",
            "is a search for architectures",
            "the laptop searches for parameters only",
        )
    if view.algorithm not in ALGORITHMS:
        refuse(
            f"{root}spec.algorithm.algorithmName",
            f"{view.algorithm} does not run on the laptop yet",
            f"use one of {', '.join(ALGORITHMS)}, or a cluster",
        )
    for number, parameter in enumerate(view.parameters):
        distribution = parameter["feasibleSpace"].get("distribution", "uniform")
        if distribution not in ("uniform", "logUniform"):
            path = f"{root}spec.parameters[{number}].feasibleSpace.distribution"
            refuse(
                path,
                f"{distribution} does not run on the laptop yet",
                "use one of uniform, logUniform",
            )
    kind = rules.collector_kind(view.collector)
    if kind not in ("StdOut", "File"):
        refuse(
            f"{root}spec.metricsCollectorSpec.collector.kind",
            f"{kind} does not run on the laptop yet",
            "use one of StdOut, File",
        )
    if view.most is None and view.goal is None:
        refuse(
            f"{root}spec.maxTrialCount",
            "is missing, and there is no goal, so the search would never end",
            "give one of them",
        )


def _environment(variables: Sequence[Mapping], path: str) -> dict[str, str]:
    made: dict[str, str] = {}
    for number, variable in enumerate(variables):
        if variable.get("valueFrom"):
            refuse(
                f"{path}.env[{number}].valueFrom",
                "is read from a cluster",
                "give a literal value on the laptop",
            )
        made[variable["name"]] = expand(variable.get("value") or "", made)
    return made


def expand(text: str, environment: Mapping[str, str]) -> str:
    """`$(NAME)` as Kubernetes expands it in commands, arguments and values; `$$` is one `$`."""

    def value(match: re.Match) -> str:
        return "$" if match[0] == "$$" else environment.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", value, text)


_EDGE = r"\s=:,;'\"`()<>|&"
"""What may stand before and after a path in a word."""
_SHELLS = ("sh", "bash", "dash", "ash", "ksh", "zsh")


def names(word: str, path: str) -> bool:
    """Whether a path stands in a word, whole: `/x/m` is neither in `/x/model` nor in `/y/x/m`."""
    return bool(_whole(path).search(word))


def _whole(path: str) -> re.Pattern:
    return re.compile(rf"(?<![^{_EDGE}]){re.escape(path)}(?![^{_EDGE}])")


def localise(words: Sequence[str], own: Mapping[str, str], parent: Path) -> list[str]:
    """The words of a command, as a trial needs them that has a folder and files of its own.

    Args:
        words: the command.
        own: a path → the trial's own in its place, where the path stands whole.
        parent: the folder that `../` at the beginning of a path means.
    """
    shell = bool(words) and Path(words[0]).name in _SHELLS
    scripts = {place + 1 for place, word in enumerate(words) if re.fullmatch(r"-\w*c", word)}
    return [
        localised(word, own, parent, shell and place in scripts) for place, word in enumerate(words)
    ]


def localised(text: str, own: Mapping[str, str], parent: Path, shell: bool = False) -> str:
    """One word of `localise`, or the value of a variable; `shell`, if it is a shell's script."""
    above = re.compile(rf"(?<![^{_EDGE}])\.\./")
    swaps = [*((_whole(path), instead) for path, instead in own.items()), (above, f"{parent}/")]
    for pattern, instead in swaps:
        for match in reversed(list(pattern.finditer(text))):
            written = _quoted(instead, text[: match.start()]) if shell else instead
            text = text[: match.start()] + written + text[match.end() :]
    return text


def _quoted(path: str, before: str) -> str:
    """A path as a shell's script writes it after `before`: alone, or inside a quotation."""
    quote = ""
    for letter in re.sub(r"\\.", "", before, flags=re.DOTALL):
        if letter in "'\"" and quote in ("", letter):
            quote = "" if quote else letter
    if quote == "'":
        return path.replace("'", "'\\''")
    if quote == '"':
        return re.sub(r'([\\"$`])', r"\\\1", path)
    return shlex.quote(path)


def _command(
    container: Mapping, commands: Sequence[tuple[str, str]], path: str
) -> tuple[list[str], list[str]]:
    """The words of the command, each mapped program replaced; and a sentence for each that was."""
    if not container.get("command"):
        refuse(
            f"{path}.command",
            "is missing, and the image that knows it is not pulled",
            "give the command",
        )
    words = [*container["command"], *(container.get("args") or [])]
    said = []
    for old, new in commands:
        try:
            wanted, instead = shlex.split(old), shlex.split(new)
        except ValueError as error:
            raise CourseError(
                f"--command '{old}={new}' cannot be split into words ({error}); close the quotation"
                " mark."
            ) from None
        if not (wanted and instead):
            raise CourseError(
                f"--command '{old}={new}' has no words on one side; write --command 'OLD=NEW'."
            )
        places = [
            place for place in range(len(words)) if words[place : place + len(wanted)] == wanted
        ]
        if not places:
            raise CourseError(
                f"--command '{old}={new}': {old!r} is not in the command {shlex.join(words)}; name"
                " words that stand there."
            )
        for place in reversed(places):
            words[place : place + len(wanted)] = instead
        said.append(f"{new} runs in the place of {old}.")
    return words, said


def _runnable(words: Sequence[str], folder: Path, python_path: str, path: str) -> None:
    """Refuse a program, a Python script or a Python module that is not here."""
    program = words[0] if "/" not in words[0] else str(folder / words[0])
    missing = None if shutil.which(program, path=search_path()) else words[0]
    # those two may have a word of their own
    if not missing and Path(words[0]).name.startswith("python") and not {"-W", "-X"} & set(words):
        rest = list(
            itertools.dropwhile(
                lambda word: word.startswith("-") and word not in ("-", "-c", "-m"), words[1:]
            )
        )
        if rest[:1] == ["-m"] and rest[1:]:
            top = rest[1].partition(".")[0]
            places = [str(folder), *python_path.split(os.pathsep), *sys.path]
            missing = (
                None
                if top in sys.stdlib_module_names or PathFinder.find_spec(top, places)
                else rest[1]
            )
        elif rest and not rest[0].startswith("-") and "${" not in rest[0]:
            missing = None if (folder / rest[0]).exists() else rest[0]
    if missing:
        refuse(
            f"{path}.command",
            f"{missing} does not exist here",
            f"say what to run in its place: --command '{missing}=PROGRAM'",
        )


_NOT_QUOTED = re.compile(r"[\s'\"\\$`;&|<>()*?\[]|^[~#]|^$")
"""What a shell does not read as it stands."""


def _unquoted(
    view: View, container: Mapping, environment: Mapping[str, str], path: str
) -> list[str]:
    """Say which words a cluster reads differently: Katib joins them, without quotation marks, into
    the script of one `sh -c`, so that its collector gets the output.

    Source: `wrapWorkerContainer` in Katib 0.19's pkg/webhook/v1beta1/pod/utils.go. A command that
    begins with `sh -c` or `bash -c` is joined from its script on, which is for a shell in any case.
    """
    choices = {one["name"]: one["feasibleSpace"].get("list") or ["0"] for one in view.parameters}
    worst = {name: max(values, key=_not_quoted) for name, values in choices.items()}
    values = {
        one["name"]: worst.get(one["reference"], "0")
        for one in view.template.get("trialParameters", [])
    }
    words = {
        f"{path}.{field}[{number}]": word
        for field in ("command", "args")
        for number, word in enumerate(container.get(field) or [])
    }
    begin = list(words.values())[:2]
    if script := begin in (["sh", "-c"], ["bash", "-c"]):
        found = list(words)[3:]  # for a shell they are $0, $1, …; there they are more of the script
    else:
        found = [
            place
            for place, word in words.items()
            if _not_quoted(expand(substitute(word, values), environment))
        ]
    if not found:
        return []
    do = "put all of it into the script" if script else "give sh, -c and one script with its quotes"
    return [
        f"On a cluster Katib joins the words of the command into one line for a shell, without"
        f" quotation marks, so that {', '.join(found)} would mean something else there; {do}."
    ]


def _not_quoted(word: str) -> bool:
    return bool(_NOT_QUOTED.search(word))


def substitute(value: Any, values: Mapping[str, str]) -> Any:
    """A template with `${trialParameters.NAME}` replaced in all its texts."""
    if isinstance(value, str):
        return re.sub(r"\$\{trialParameters\.([^{}]*)\}", lambda match: values[match[1]], value)
    if isinstance(value, Mapping):
        return {key: substitute(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [substitute(item, values) for item in value]
    return value


def values_of(trial: Mapping, view: View) -> dict[str, str]:
    """What each trial parameter of the template stands for in a Trial: an assignment, or something
    of the trial's own metadata.

    Args:
        trial: a Trial object, with its name, namespace and `parameterAssignments`.
        view: what its Experiment says.
    """
    assert view.trial is not None, "a plan was made of it"
    assignment = {one["name"]: one["value"] for one in trial["spec"]["parameterAssignments"]}
    metadata = view.trial.get("metadata", {})
    own = {
        "Name": trial["metadata"]["name"],
        "Namespace": trial["metadata"]["namespace"],
        "Kind": view.trial["kind"],
        "APIVersion": view.trial["apiVersion"],
    }
    values = {}
    for parameter in view.template.get("trialParameters", []):
        reference = parameter["reference"]
        if found := rules.META.fullmatch(reference):
            values[parameter["name"]] = (
                own[found[1]]
                if found[1] in own
                else metadata.get(found[1].partition("[")[0].lower(), {}).get(found[2], "")
            )
        else:
            values[parameter["name"]] = assignment[reference]
    return values


def run_spec(trial: Mapping, view: View) -> dict:
    """The Job of a Trial: the template with the values in the places of the placeholders."""
    assert view.trial is not None, "a plan was made of it"
    values = values_of(trial, view)
    metadata = view.trial.get("metadata", {}) | {
        "name": trial["metadata"]["name"],
        "namespace": trial["metadata"]["namespace"],
    }
    return substitute(view.trial, values) | {"metadata": substitute(metadata, values)}
