"""`workshop pipeline run`: run the case study's pipeline, or another one from its YAML, where
WORKSHOP_TARGET says; see what is kept of it with `list`, `show RUN`, `logs RUN TASK`, `delete RUN`;
write the YAML with `compile`; and ask where a model version is from with `lineage`.

Taught in notebook 06. What another program may read goes to standard output: a Run with `-o`, a
list, a log. All else goes to standard error.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kubeflow_workshop.errors import CourseError, TerminatedError, stopped_by_signals
from kubeflow_workshop.files import course_file

if TYPE_CHECKING:
    from kubeflow_workshop.pipelines import Door

YAML = "tutorials/artifacts/stock-pipeline.yaml"
"""The case study's pipeline: what `compile` writes, and both targets run."""
MODELS = Path("build/models")
"""The model repository on a laptop, unless another one is given."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `workshop pipeline` to its parser."""
    words = parser.add_subparsers(dest="word", required=True, metavar="WHAT")
    run = words.add_parser("run", help="run the case study's pipeline, or that of a YAML file")
    run.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="a compiled pipeline (default: ours)"
    )
    run.add_argument(
        "--ticker",
        action="append",
        dest="tickers",
        metavar="SYMBOL",
        help="a stock; may be given more than once (default: MSFT)",
    )
    run.add_argument(
        "--models",
        type=Path,
        metavar="DIR",
        help=(
            "the model repository (on a laptop, default: build/models; on a cluster, a path in the"
            " volume)"
        ),
    )
    run.add_argument(
        "--parameter",
        action="append",
        default=[],
        type=_pair,
        dest="parameters",
        metavar="NAME=VALUE",
        help="a parameter of the pipeline; may be given more than once",
    )
    run.add_argument(
        "--volume",
        action="append",
        default=[],
        type=_pair,
        dest="volumes",
        metavar="CLAIM=DIR",
        help="on a laptop: the folder that stands for a volume claim",
    )
    run.add_argument("--name", help="of the run (default: the pipeline's name and the time)")
    run.add_argument("--experiment", help="the group of runs that it belongs to")
    run.add_argument(
        "--no-cache", action="store_true", help="run every step, also where a result is kept"
    )
    _output(run)
    made = words.add_parser("compile", help="write the case study's pipeline as YAML")
    made.add_argument("file", type=Path, metavar="FILE")
    _output(words.add_parser("list", help="the runs that are kept"))
    show = words.add_parser("show", help="one of them, with its steps")
    _output(show)
    logs = words.add_parser("logs", help="what a step has printed")
    delete = words.add_parser("delete", help="end a run, and remove what is kept of it")
    for one in (show, logs, delete):
        one.add_argument("run", metavar="RUN", help="its id, or the first letters of it")
    logs.add_argument("task", metavar="STEP", help="its name, such as train.0")
    lineage = words.add_parser(
        "lineage", help="where a model version is from, or what was made of a data file"
    )
    lineage.add_argument(
        "path", type=Path, metavar="PATH", help="MODELS/NAME/N, or a CSV file of prices"
    )
    lineage.add_argument(
        "--models",
        type=Path,
        default=MODELS,
        metavar="DIR",
        help="the model repository (default: %(default)s)",
    )
    for name, one in words.choices.items():
        if name != "compile":
            one.add_argument(
                "--state",
                type=Path,
                metavar="DIR",
                help="on a laptop: where runs are kept (default: build/pipelines)",
            )


def _output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        choices=("yaml", "json"),
        help="print the Run, or the list of them, in this form",
    )


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name.strip() and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for.

    Returns:
        0; 1 if the run failed; 130 or 143 if it was stopped by Ctrl-C or by SIGTERM.

    Raises:
        CourseError: if it cannot be done; of a run, nothing has started then.
    """
    from kubeflow_workshop.pipelines import connect, spec

    word = arguments.word
    if word == "compile":
        print(spec.compile(arguments.file))
        return 0
    if word == "run":
        return _run(arguments)
    door = connect(arguments.state)
    if word == "list":
        _list(door, arguments.output)
    elif word == "show":
        _show(door, arguments.run, arguments.output)
    elif word == "logs":
        sys.stdout.write(door.logs(arguments.run, arguments.task))
    elif word == "delete":
        door.delete(arguments.run)
        print(f"Run {arguments.run} is deleted.", file=sys.stderr)
    else:
        _lineage(door, arguments.path, arguments.models)
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from kubeflow_workshop import objects
    from kubeflow_workshop.pipelines import connect, table
    from kubeflow_workshop.pipelines.laptop import Laptop

    given = dict(arguments.parameters)
    if arguments.file is None:
        given = _of_the_case_study(arguments, given)
    elif arguments.tickers or arguments.models:
        raise CourseError(
            "--ticker and --models are for the course's own pipeline; give those of"
            f" {arguments.file} with --parameter NAME=VALUE."
        )
    file = arguments.file or course_file(YAML)
    door = connect(arguments.state, dict(arguments.volumes))
    name = ""
    try:
        with stopped_by_signals():
            name = door.create(
                file,
                given,
                name=arguments.name,
                experiment=arguments.experiment,
                cache=not arguments.no_cache,
            )
            where = "this laptop" if isinstance(door, Laptop) else "the cluster"
            print(f"Run {name} on {where}.", file=sys.stderr)
            ended = table.follow(door, name, file)
    except KeyboardInterrupt as stopped:
        if isinstance(door, Laptop):
            door.stop()
            print(
                "Stopped. To go on, run the same command again: what has ended well comes from the"
                " cache.",
                file=sys.stderr,
            )
        elif name:
            print(
                f"{name} goes on there; see it with workshop pipeline show {name}.", file=sys.stderr
            )
        return 143 if isinstance(stopped, TerminatedError) else 130
    _tell(door, ended)
    if arguments.output:
        sys.stdout.write(objects.as_text(ended, arguments.output))
    return 0 if ended["state"] == "SUCCEEDED" else 1


def _of_the_case_study(arguments: argparse.Namespace, given: dict) -> dict:
    """The parameters of the course's pipeline, checked before anything starts."""
    from kubeflow_workshop import case_study
    from kubeflow_workshop.target import target

    models = arguments.models
    if target() == "laptop":
        models = models or MODELS
    tickers = arguments.tickers or ["MSFT"]
    return (
        case_study.pipeline_arguments(
            tickers, models, source=given.get("source", "bundled"), here=target() == "laptop"
        )
        | given
    )


def _tell(door: "Door", run: dict) -> None:
    """The end of the story: how it ended, what the gate said, where the models and pages are."""
    from rich.console import Console

    from kubeflow_workshop.pipelines.laptop import Laptop
    from kubeflow_workshop.pipelines.table import table

    tasks = door.tasks(run["run_id"])
    console = Console(stderr=True)
    if not console.is_terminal:  # a terminal has it from the live table
        console.print(table(run, tasks))
    for task in tasks:
        outputs = task.get("outputs") or {}
        if isinstance(decision := outputs.get("decision"), dict) and "why" in decision:
            print(f"{task['task_id']}: {decision['why']}", file=sys.stderr)
        if task["display_name"] == "register" and "Output" in outputs:
            place = Path(outputs["Output"])
            if place.is_relative_to(Path.cwd()):
                place = place.relative_to(Path.cwd())
            print(
                f"{task['task_id']}: the model is in {place}; where it is from: workshop pipeline"
                f" lineage {place}",
                file=sys.stderr,
            )
    if isinstance(door, Laptop):
        for name, page in door.pages(run["run_id"]).items():
            print(f"{name}: open {page} in a browser.", file=sys.stderr)
    if why := run.get("error", {}).get("message"):
        print(f"error: {why}", file=sys.stderr)


def _list(door: "Door", form: str | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from kubeflow_workshop import objects

    kept = door.runs()
    if form:
        sys.stdout.write(objects.as_text({"runs": kept}, form))
        return
    table = Table("run", "name", "state", box=None)
    for run in kept:  # the first letters of an id are enough for every command
        table.add_row(run["run_id"][:8], run["display_name"], run["state"])
    Console(soft_wrap=True).print(table)


def _show(door: "Door", name: str, form: str | None) -> None:
    from rich.console import Console

    from kubeflow_workshop import objects
    from kubeflow_workshop.pipelines.table import table

    run = door.get(name)
    tasks = door.tasks(name)
    if form:
        whole = run | {"run_details": {"task_details": tasks}}
        sys.stdout.write(objects.as_text(whole, form))
        return
    Console().print(table(run, tasks))
    if why := run.get("error", {}).get("message"):
        print(f"error: {why}", file=sys.stderr)


def _lineage(door: "Door", path: Path, models: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from kubeflow_workshop.pipelines import lineage

    if path.is_dir() or not path.exists():
        made = Table(show_header=False, box=None)
        made.add_column(style="bold")
        made.add_column(overflow="fold")
        for name, value in lineage.origin(path, door).lines():
            made.add_row(name, value)
        Console().print(made)
        return
    lineage.require_repository(models)
    for version in lineage.descendants(path, models):
        print(version)
