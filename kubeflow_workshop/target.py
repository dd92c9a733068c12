"""The one switch of the course: laptop or cluster."""

import os
from typing import Literal, get_args

from kubeflow_workshop.errors import CourseError

Target = Literal["laptop", "cluster"]
TARGETS: tuple[Target, ...] = get_args(Target)

NAMESPACE = "kubeflow-workshop"
"""Where the course's objects live on a cluster, unless the kubeconfig or the object itself says
otherwise.
"""


def target() -> Target:
    """Where the objects of the notebooks run, as the environment variable WORKSHOP_TARGET says.

    Taught in notebook 05.

    Returns:
        "laptop" or "cluster"; "laptop" where the variable is not set, or empty.

    Raises:
        CourseError: if the variable holds anything else.
    """
    value = os.environ.get("WORKSHOP_TARGET") or TARGETS[0]
    for choice in TARGETS:
        if value == choice:
            return choice
    raise CourseError(
        f'the environment variable WORKSHOP_TARGET is "{value}"; set it to {" or ".join(TARGETS)},'
        " or unset it to run on this laptop."
    )
