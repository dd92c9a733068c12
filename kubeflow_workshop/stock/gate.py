"""May a model version be registered? One rule, with one number that moves it.

Taught in notebook 06.
"""

import math
from dataclasses import dataclass

from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.stock.evaluate import Scores

AT_LEAST = -0.1
"""Skill: what the gate asks for unless told otherwise. A model may be worse than persistence by a
tenth of its error: a tie passes, and a model that is broken does not.
"""


@dataclass(frozen=True)
class Decision:
    """What the gate decided, and why.

    Attributes:
        accepted: whether the version may be registered.
        at_least: the skill that was asked for.
        why: the reason with its numbers, in two sentences.
    """

    accepted: bool
    at_least: float
    why: str


def decide(scores: Scores, at_least: float = AT_LEAST) -> Decision:
    """Accept a model if the whole 95 % interval of its skill is at or above `at_least`.

    Taught in notebook 06. The low end decides, and not the skill itself: a model that was lucky on
    few days has a wide interval, and is refused until it has been tested on more. This is the test
    for non-inferiority, as it is made for medicines (Piaggio et al., 2012), with `-at_least` as the
    margin; from 0 on, it is one for superiority.

    Args:
        scores: of the model on the test days.
        at_least: the skill to ask for, below 1; -0.1 lets a model pass that is at most 10 % worse
            than persistence, and 0 asks it not to be worse.

    Raises:
        CourseError: if `at_least` is not a number below 1.
    """
    if not (math.isfinite(at_least) and at_least < 1):
        raise CourseError(
            f"the gate cannot ask for a skill of {at_least}; give a number below 1, such as"
            f" {AT_LEAST:g} (10 % worse than persistence) or 0 (not worse)."
        )
    low, high = scores.skill_low, scores.skill_high
    if not (math.isfinite(low) and math.isfinite(high)):
        return Decision(
            False,
            at_least,
            f"Refused: on {scores.days} test days, the skill against persistence has no interval."
            " Test on more days.",
        )
    accepted = low >= at_least
    if low > 0:
        means = "The model beats persistence."
    elif high < 0:
        means = "The model is worse than persistence" + (
            ", but by no more than the gate allows." if accepted else "."
        )
    else:
        means = "The interval contains 0: on these days, the model cannot be told from persistence."
    return Decision(
        accepted,
        at_least,
        f"{'Accepted' if accepted else 'Refused'}: on {scores.days} test days, the skill against"
        f" persistence is {scores.skill:+.3f}, with a 95 % interval from {low:+.3f} to {high:+.3f},"
        f" and the gate asks for an interval that begins at {at_least:+g} or above. {means}",
    )
