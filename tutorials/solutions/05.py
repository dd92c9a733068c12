"""The solution of notebook 05: how many random trials find one of the best 5 % with a probability
of 0.95.
"""

import math

HINT = (
    "one trial misses with a probability of 0.95, and n blind trials all miss with 0.95 ** n; the"
    " answer is the first whole n for which that is at most 0.05."
)
TOLERANCE = 0


def answer() -> int:
    return math.ceil(math.log(0.05) / math.log(0.95))
