"""The command `workshop`: thin, every subcommand is a function of the package."""

import argparse
import io
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from kubeflow_workshop.errors import CourseParser, exit_with_one_sentence


def main(argv: Sequence[str] | None = None) -> int:
    """Run `workshop …`; returns the exit code: the command's own (0, mostly), or 2 after one
    sentence on stderr.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # on Windows a file or pipe may have no letter for an arrow
        sys.stdout.reconfigure(errors="replace")
    logging.basicConfig(format="%(levelname)s: %(message)s", stream=sys.stderr)
    return exit_with_one_sentence(lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int | None:
    # Each room is imported when it is asked for, so that `workshop --help` answers at once.
    parser = CourseParser(
        prog="workshop", description="The Kubeflow workshop: one case study, on a laptop first."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "doctor", help="say what this machine can run, and what to type for each missing thing"
    )
    tour = commands.add_parser("tour", help="the whole chain without opening a notebook")
    tour.add_argument(
        "--output",
        type=Path,
        default=Path("build/tour"),
        metavar="DIR",
        help="where to save the figure (default: %(default)s)",
    )
    trainer = commands.add_parser("train", help="train a network of the case study, and judge it")
    tuner = commands.add_parser(
        "tune", help="run a Katib Experiment, on this laptop or on a cluster"
    )
    piper = commands.add_parser(
        "pipeline", help="run a pipeline of Kubeflow Pipelines, on this laptop or on a cluster"
    )
    server = commands.add_parser(
        "serve", help="answer requests with model versions, as KServe's model server does"
    )
    known = argv if argv is not None else sys.argv[1:]
    if known[:1] == ["train"]:
        from kubeflow_workshop.stock import train

        train.add_arguments(trainer)
    elif known[:1] == ["tune"]:
        from kubeflow_workshop import tune

        tune.add_arguments(tuner)
    elif known[:1] == ["pipeline"]:
        from kubeflow_workshop import pipeline

        pipeline.add_arguments(piper)
    elif known[:1] == ["serve"]:
        from kubeflow_workshop import serve

        serve.add_arguments(server)
    arguments = parser.parse_args(known)
    if arguments.command == "train":
        train.run(arguments)
    elif arguments.command == "tune":
        return tune.run(arguments)
    elif arguments.command == "pipeline":
        return pipeline.run(arguments)
    elif arguments.command == "serve":
        serve.run(arguments)
    else:
        _commands(arguments)
    return None


def _commands(arguments: argparse.Namespace) -> None:
    if arguments.command == "doctor":
        from kubeflow_workshop import doctor

        print(doctor.report())
    elif arguments.command == "tour":
        from kubeflow_workshop import tour

        tour.run(arguments.output)
