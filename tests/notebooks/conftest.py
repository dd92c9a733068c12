"""What tests of notebooks share: their texts, and kernels in which they have been run.

nbval runs each cell of a notebook and compares what it prints with what is stored. Its kernel
stays for the claims about the notebook, so that nothing is computed twice.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import start_new_kernel
from nbval.plugin import IPyNbFile
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

TUTORIALS = Path(__file__).parents[2] / "tutorials"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `path` runs once for each notebook."""
    if "path" in metafunc.fixturenames:
        paths = sorted(TUTORIALS.glob("[0-9]*.ipynb"))
        metafunc.parametrize("path", paths, ids=[path.stem for path in paths])


def about(test: str) -> str:
    """What a test is about, by its node id: the number of a notebook, or another file."""
    found = re.match(r"(?:tutorials/|tests/notebooks/test_claims_)(\d\d)", test)
    return found[1] if found else test.split("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Run a notebook's cells and then the claims about it in one process."""
    scheduling = LoadScopeScheduling(config, log)
    scheduling._split_scope = about  # its option loadgroup does nothing with pytest 9.2
    return scheduling


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep nbval from ending a notebook's kernel after its last cell."""
    for item in items:
        if isinstance(item.parent, IPyNbFile):
            item.parent.teardown = lambda: None


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End nbval's kernels after the last test about their notebook."""
    if nextitem is None or about(nextitem.nodeid) != about(item.nodeid):
        for file in {one.parent for one in item.session.items}:
            if isinstance(file, IPyNbFile):
                IPyNbFile.teardown(file)


class Executed:
    """A notebook whose code cells have all run, and whose kernel still answers."""

    def __init__(self, client: BlockingKernelClient) -> None:
        """Connect to its kernel."""
        self._client = client

    def run(self, code: str) -> str:
        """Run code in the notebook's last state; returns its value as text, or nothing."""
        values: list[str] = []

        def keep(message: dict) -> None:
            if message["msg_type"] == "execute_result":
                values.append(message["content"]["data"]["text/plain"])

        reply = self._client.execute_interactive(
            code, store_history=False, allow_stdin=False, output_hook=keep, timeout=1200
        )
        if reply["content"]["status"] != "ok":
            raise AssertionError("\n".join(reply["content"]["traceback"]))
        return "".join(values)

    def value(self, expression: str) -> object:
        """What an expression is in the notebook's last state: numbers, strings, and lists, tuples
        and dicts of them.
        """
        return ast.literal_eval(self.run(expression))


@pytest.fixture(scope="session")
def executed(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Executed]]:
    """The notebook of a number: as nbval has run it, or else run once a session."""
    kept: dict[str, Executed] = {}
    stops: list[Callable[[], None]] = []

    def get(number: str) -> Executed:
        path = next(TUTORIALS.glob(f"{number}-*.ipynb"))
        for item in request.session.items:
            kernel = getattr(item.parent, "kernel", None)
            if item.path == path and kernel and kernel.is_alive():
                return Executed(kernel.kc)
        if number not in kept:
            manager, client = start_new_kernel(cwd=str(path.parent))
            stops.append(lambda: (client.stop_channels(), manager.shutdown_kernel()))
            kept[number] = Executed(client)
            for cell in nbformat.read(path, as_version=4).cells:
                if cell.cell_type == "code":
                    kept[number].run(cell.source)
        return kept[number]

    yield get
    for stop in stops:
        stop()


@pytest.fixture
def notebook(
    request: pytest.FixtureRequest, executed: Callable[[str], Executed]
) -> Callable[[str], object]:
    """Evaluate an expression in the notebook of the test's claim, after checking that the claim
    stands there.
    """
    for marker in request.node.iter_markers("claim"):
        number, quote = marker.kwargs["number"], marker.kwargs["quote"]
        where = [f"{number}-*.ipynb", f"solutions/{number}-*.ipynb"]
        cells = [
            cell
            for pattern in where
            for path in TUTORIALS.glob(pattern)
            for cell in nbformat.read(path, as_version=4).cells
        ]
        prose = " ".join(
            " ".join(cell.source for cell in cells if cell.cell_type == "markdown").split()
        )
        assert " ".join(quote.split()) in prose, f"notebook {number} no longer says: {quote}"
    return lambda expression: executed(number).value(expression)
