"""`workshop tune FILE.yaml`: run an Experiment, where WORKSHOP_TARGET says.

Taught in notebook 05. With `-o` the finished Experiment goes to standard output, as `kubectl get
-o` prints it; all else goes to standard error.
"""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `workshop tune` to its parser."""
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="a YAML file with a Katib Experiment (kubeflow.org/v1beta1)",
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
        "-o", "--output", choices=("yaml", "json"), help="print the finished Experiment"
    )


def _pair(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old.strip() and equals and new.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form OLD=NEW")
    return old, new


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns 0, or 1 if the Experiment failed.

    Raises:
        CourseError: if the Experiment cannot be run; nothing has started then.
    """
    from kubeflow_workshop import objects
    from kubeflow_workshop.katib import connect, spec, table
    from kubeflow_workshop.katib.laptop import Laptop

    document = spec.read(arguments.file)
    door = connect(arguments.state, arguments.commands)
    notes = door.differences(document, str(arguments.file)) if isinstance(door, Laptop) else []
    name = door.create(document, replace=arguments.replace)
    for note in notes:
        print(f"On this laptop: {note}", file=sys.stderr)
    experiment = table.follow(door, name)
    _tell(experiment, door.trials(name))
    if isinstance(door, Laptop):
        print(
            f"Kept in {door.state / name}: the Experiment, its trials, their logs.", file=sys.stderr
        )
    if arguments.output:
        sys.stdout.write(objects.as_text(experiment, arguments.output))
    return 0 if objects.state(experiment) == "Succeeded" else 1


def _tell(experiment: dict, trials: list[dict]) -> None:
    """The end of the story: the table, why it ended, the best trial, and the last words of trials
    that failed.
    """
    from rich.console import Console

    from kubeflow_workshop.katib.table import table
    from kubeflow_workshop.objects import state

    console = Console(stderr=True)
    if not console.is_terminal:  # a terminal has it from the live table
        console.print(table(experiment, trials))
    for trial in trials:
        if state(trial) in ("Failed", "MetricsUnavailable"):
            print(
                f"{trial['metadata']['name']}: {trial['status']['conditions'][-1]['message']}",
                file=sys.stderr,
            )
    status = experiment["status"]
    print(f"{status['conditions'][-1]['message']}.", file=sys.stderr)
    best = status.get("currentOptimalTrial") or {}
    if best.get("bestTrialName"):  # Katib writes an empty one while no trial has succeeded
        chosen = " ".join(f"{one['name']}={one['value']}" for one in best["parameterAssignments"])
        print(f"Best: {best['bestTrialName']} with {chosen}", file=sys.stderr)
