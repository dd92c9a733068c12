"""What the tests of Katib's room share."""

import psutil
import pytest


@pytest.fixture(autouse=True)
def _nothing_is_left_running():
    """No test may leave a process behind; the server of a module's tests may live as long as the
    module.
    """
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    _, alive = psutil.wait_procs(left, timeout=10)
    assert not [child.cmdline() for child in alive]
