"""`workshop tune FILE.yaml`: run an Experiment, where WORKSHOP_TARGET says; and see what is kept of
it with `workshop tune list`, `show NAME`, `logs TRIAL`, `delete NAME`.

Taught in notebook 05. What another program may read goes to standard output: the finished
Experiment with `-o`, as `kubectl get -o` prints it, a list, a log. All else goes to standard error.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kubeflow_workshop.errors import CourseError, TerminatedError, stopped_by_signals

if TYPE_CHECKING:
    from kubeflow_workshop.katib import Door

WORDS = ("list", "show", "logs", "delete")
"""What may stand in the place of a file."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `workshop tune` to its parser."""
    parser.usage = "%(prog)s [options] FILE | list | show NAME | logs TRIAL | delete NAME"
    parser.epilog = (
        "When a run was stopped or killed, the same command goes on from there."
        " A file that is called like one of the four words is given as ./list."
    )
    parser.add_argument(
        "what",
        metavar="FILE",
        help=(
            "a YAML file with a Katib Experiment (kubeflow.org/v1beta1), which is run; or list: the"
            " Experiments that are kept; show NAME: one of them, with its trials; logs TRIAL: what"
            " a trial printed; delete NAME: end it and remove all that is kept of it"
        ),
    )
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="of an Experiment (show, delete) or trial (logs)"
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="on a laptop: where Experiments are kept (default: build/katib)",
    )
    parser.add_argument(
        "--replace", action="store_true", help="delete an Experiment of the same name first"
    )
    parser.add_argument(
        "--command",
        action="append",
        default=[],
        type=_pair,
        dest="commands",
        metavar="'OLD=NEW'",
        help=(
            "on a laptop: run NEW in the place of OLD, words of the trial's command that do not"
            " exist here; may be given more than once"
        ),
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("yaml", "json"),
        help="print the Experiment, or the list of them, in this form",
    )


def _pair(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old.strip() and equals and new.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form OLD=NEW")
    return old, new


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for.

    Returns:
        0; 1 if the Experiment failed; 130 or 143 if it was stopped by Ctrl-C or by SIGTERM.

    Raises:
        CourseError: if it cannot be done; of an Experiment, nothing has started then.
    """
    from kubeflow_workshop.katib import connect

    word, name = arguments.what, arguments.name
    if word in WORDS[1:] and name is None:
        thing = "a trial" if word == "logs" else "an Experiment"
        raise CourseError(
            f"workshop tune {word} needs the name of {thing}; see workshop tune list."
        )
    if word not in WORDS[1:] and name is not None:
        raise CourseError(
            f"workshop tune {word} takes nothing after it, and {name!r} was given; see workshop"
            " tune --help."
        )
    if word not in WORDS:
        return _run_file(arguments)
    if arguments.replace or arguments.commands:
        raise CourseError(f"--replace and --command go with a FILE, and not with {word}.")
    door = connect(arguments.state)
    if word == "list":
        _list(door, arguments.output)
    elif word == "show":
        _show(door, name, arguments.output)
    elif word == "logs":
        sys.stdout.write(door.logs(name))
    else:
        door.delete(name)
        print(f"Experiment {name} is deleted.", file=sys.stderr)
    return 0


def _run_file(arguments: argparse.Namespace) -> int:
    from kubeflow_workshop import objects
    from kubeflow_workshop.katib import connect, spec, table
    from kubeflow_workshop.katib.laptop import Laptop

    file = Path(arguments.what)
    document = spec.read(file)
    door = connect(arguments.state, arguments.commands)
    notes = door.differences(document, str(file)) if isinstance(door, Laptop) else []
    name = ""
    try:
        with stopped_by_signals():
            name = door.create(document, replace=arguments.replace)
            for note in notes:
                print(f"On this laptop: {note}", file=sys.stderr)
            experiment = table.follow(door, name)
    except KeyboardInterrupt as stopped:
        if isinstance(door, Laptop):
            door.stop()
            if name:
                _tell(door.get(name), door.trials(name))
                _say_how_to_go_on(document, name, file)
        elif name:
            print(f"{name} goes on there; see it with workshop tune show {name}.", file=sys.stderr)
        return 143 if isinstance(stopped, TerminatedError) else 130
    _tell(experiment, door.trials(name))
    if isinstance(door, Laptop):
        print(
            f"Kept in {door.state / name}: the Experiment, its trials, their logs.", file=sys.stderr
        )
    if arguments.output:
        sys.stdout.write(objects.as_text(experiment, arguments.output))
    return 0 if objects.state(experiment) == "Succeeded" else 1


def _say_how_to_go_on(document: Mapping, name: str, file: Path) -> None:
    named = "" if document["metadata"].get("name") else f", with metadata.name: {name} in it"
    print(
        f"Stopped. To go on, run the same command again (workshop tune {file}{named}): what has"
        " ended counts, and what was running runs again.",
        file=sys.stderr,
    )


def _list(door: "Door", form: str | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from kubeflow_workshop import objects

    kept = door.experiments()
    if form:
        listed = {"apiVersion": "v1", "kind": "List", "items": kept}
        sys.stdout.write(objects.as_text(listed, form))
        return
    table = Table("name", "state", "trials", "best", box=None)
    for experiment in kept:
        status, most = experiment.get("status", {}), experiment["spec"].get("maxTrialCount")
        best = (status.get("currentOptimalTrial") or {}).get("bestTrialName", "")
        trials = f"{status.get('trials', 0)}{f' of {most}' if most else ''}"
        table.add_row(experiment["metadata"]["name"], _how(experiment), trials, best)
    Console(soft_wrap=True).print(table)


def _show(door: "Door", name: str, form: str | None) -> None:
    from rich.console import Console

    from kubeflow_workshop import objects
    from kubeflow_workshop.katib.table import table

    experiment = door.get(name)
    if form:
        sys.stdout.write(objects.as_text(experiment, form))
        return
    trials = door.trials(name)
    Console().print(table(experiment, trials))
    _say_why(experiment, trials)


def _how(experiment: Mapping) -> str:
    """The state of an Experiment in a word: Katib's, or Stopped if nobody runs it any more."""
    from kubeflow_workshop import objects

    now = objects.state(experiment)
    conditions = experiment.get("status", {}).get("conditions") or []
    ended = now in ("Succeeded", "Failed")
    return "Stopped" if conditions and not ended and conditions[-1]["status"] == "False" else now


def _tell(experiment: dict, trials: list[dict]) -> None:
    """The end of the story: the table, why it ended, the best trial, and the last words of trials
    that failed.
    """
    from rich.console import Console

    from kubeflow_workshop.katib.table import table

    console = Console(stderr=True)
    if not console.is_terminal:  # a terminal has it from the live table
        console.print(table(experiment, trials))
    _say_why(experiment, trials)


def _say_why(experiment: dict, trials: list[dict]) -> None:
    from kubeflow_workshop.objects import state

    for trial in trials:
        if state(trial) in ("Failed", "MetricsUnavailable"):
            name, said = trial["metadata"]["name"], trial["status"]["conditions"][-1]["message"]
            # the laptop's message has the end of the log, Katib's has not
            more = "" if "\n" in said else f"; see workshop tune logs {name}"
            print(f"{name}: {said}{more}", file=sys.stderr)
    status = experiment.get("status", {})
    if conditions := status.get("conditions"):
        print(f"{conditions[-1]['message']}.", file=sys.stderr)
    best = status.get("currentOptimalTrial") or {}
    if best.get("bestTrialName"):  # Katib writes an empty one while no trial has succeeded
        chosen = " ".join(f"{one['name']}={one['value']}" for one in best["parameterAssignments"])
        print(f"Best: {best['bestTrialName']} with {chosen}", file=sys.stderr)
