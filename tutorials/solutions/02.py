"""The solution of notebook 02: the forget bias that leaves half of the memory after 20 steps."""

import math

HINT = (
    "first the gate: which f gives f ** 20 == 0.5? Then undo the sigmoid: f = 1 / (1 + exp(-b))"
    " means b = log(f / (1 - f))."
)
TOLERANCE = 0.005  # two decimals are enough


def answer() -> float:
    gate = 0.5 ** (1 / 20)
    return math.log(gate / (1 - gate))
