"""`workshop serve NAME=VERSION_DIR …`: a KServe model server on this machine.

Taught in notebook 09.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `workshop serve` to its parser."""
    from kubeflow_workshop.serving import server

    parser.epilog = (
        'Ctrl-C ends it, after what was taken is answered. Try it: curl -d \'{"instances":'
        " [[[27.5], [27.8], [27.9]]]}' http://127.0.0.1:8080/v1/models/NAME:predict"
    )
    server.add_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Do what the command line asks for.

    Raises:
        CourseError: if it cannot be done.
    """
    from kubeflow_workshop.serving import server

    server.run(arguments)
