"""Claim tests: a sentence of a notebook, and what must be true for it to stand there."""

import pytest


def claim(number: str, quote: str) -> pytest.MarkDecorator:
    """Mark a test as the one that holds up a sentence.

    Args:
        number: of the notebook, such as `"03"`.
        quote: words that stand in one of its prose cells, or in one of its solutions; the fixture
            `notebook` fails if they no longer do.
    """
    return pytest.mark.claim(number=number, quote=quote)
