"""What tests of notebooks share: their texts, and kernels in which they have been run."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

TUTORIALS = Path(__file__).parents[2] / "tutorials"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `path` runs once for each notebook."""
    if "path" in metafunc.fixturenames:
        paths = sorted(TUTORIALS.glob("[0-9]*.ipynb"))
        metafunc.parametrize("path", paths, ids=[path.stem for path in paths])


class Executed:
    """A notebook whose code cells have all run, and whose kernel still answers."""

    def __init__(self, path: Path) -> None:
        """Run it in a kernel of its own, in its folder."""
        document = nbformat.read(path, as_version=4)
        self._client = NotebookClient(
            document, timeout=1200, resources={"metadata": {"path": str(path.parent)}}
        )
        self._client.create_kernel_manager()
        self._client.start_new_kernel()
        self._client.start_new_kernel_client()
        for index, cell in enumerate(document.cells):
            self._client.execute_cell(cell, index)

    def value(self, expression: str) -> object:
        """What an expression is in the notebook's last state: numbers, strings, and lists, tuples
        and dicts of them.
        """
        cells = self._client.nb.cells
        cells.append(nbformat.v4.new_code_cell(expression))
        self._client.execute_cell(cells[-1], len(cells) - 1)
        return ast.literal_eval(cells[-1].outputs[-1].data["text/plain"])

    def close(self) -> None:
        """End the kernel."""
        self._client._cleanup_kernel()


@pytest.fixture(scope="session")
def executed() -> Iterator[Callable[[str], Executed]]:
    """The notebook of a number, run once a session."""
    kept: dict[str, Executed] = {}

    def get(number: str) -> Executed:
        if number not in kept:
            kept[number] = Executed(next(TUTORIALS.glob(f"{number}-*.ipynb")))
        return kept[number]

    yield get
    for notebook in kept.values():
        notebook.close()


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
