"""May a model version be registered? One rule, with one number that moves it.

Taught in notebook 06.
"""

from dataclasses import dataclass

from kubeflow_workshop.stock.evaluate import Scores

AT_LEAST = -0.05
"""Skill. The default of the gate: a model may be worse than persistence by 5 % at most."""


@dataclass(frozen=True)
class Decision:
    """What the gate decided, and why.

    Attributes:
        accepted: whether the version may be registered.
        at_least: the skill that was asked for.
        why: the reason, in one or two sentences with the numbers.
    """

    accepted: bool
    at_least: float
    why: str


def decide(scores: Scores, at_least: float = AT_LEAST) -> Decision:
    """Accept a model if its skill is surely at least `at_least`.

    Taught in notebook 06. "Surely" means the low end of the 95 % interval of the skill, so a lucky
    month is not enough, and a model that was tested on few days has to wait for more.

    Args:
        scores: of the model on the test days.
        at_least: -0.05 lets a model pass that is at most 5 % worse than persistence; 0 asks for
            one that beats it; below 1.

    Raises:
        CourseError: if `at_least` is no number below 1.
    """
    raise NotImplementedError
