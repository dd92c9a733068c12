"""The solution of notebook 01: the gradient of the state after 20 steps to the state after the
first, in a cell of a single unit.
"""

import math

W_X, W_H = 1.0, 0.9
TOLERANCE = 0.02  # so that two digits are enough
HINT = (
    "go on from h_1 = tanh(1.0) with zeros for inputs; each of the 19 steps multiplies the gradient"
    " by w_h and by 1 - h**2, with h the *new* state."
)


def answer() -> float:
    h, gradient = math.tanh(W_X), 1.0
    for _ in range(2, 21):
        h = math.tanh(W_H * h)
        gradient *= (1 - h**2) * W_H
    return gradient
