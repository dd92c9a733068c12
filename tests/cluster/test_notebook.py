"""Notebook 05 is executed on a real cluster, from its first cell to its last."""

import nbformat
import pytest
from nbclient import NotebookClient

from kubeflow_workshop.files import course_file
from kubeflow_workshop.katib.cluster import Cluster

NOTEBOOK = course_file("tutorials/05-hyperparameters.ipynb")


@pytest.fixture(scope="module")
def executed(account) -> nbformat.NotebookNode:
    """The notebook, as the service account would run it; the file stays as it is."""
    document = nbformat.read(NOTEBOOK, as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKSHOP_TARGET", "cluster")
        patch.setenv("KUBECONFIG", str(account))
        NotebookClient(
            document, timeout=1800, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
        ).execute()
    return document


def printed(document: nbformat.NotebookNode) -> str:
    return "\n".join(
        output.text
        for cell in document.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    )


def test_notebook_05_runs_on_the_cluster_and_leaves_no_experiment_behind(
    executed, account, monkeypatch
):
    said = printed(executed)
    assert "Experiments run on the cluster." in said
    assert "Katib's UI is in the left menu" in said
    assert "8 Experiments deleted" in said
    monkeypatch.setenv("KUBECONFIG", str(account))
    assert Cluster().experiments() == []


def test_the_end_of_the_best_trials_log_is_the_programs_there_too(executed):
    """The prose beside it speaks of the last two lines."""
    (cell,) = [
        cell for cell in executed.cells if "door.logs(name).splitlines()[-4:]" in cell.source
    ]
    lines = "".join(output.text for output in cell.outputs).splitlines()
    assert [line.partition(" ")[2].partition("=")[0] for line in lines[-4:]] == [
        "Training-MAE",
        "Validation-MAE",
        "Test-MAE",
        "Persistence-MAE",
    ]


def test_no_cell_prints_to_stderr_there(executed):
    for cell in executed.cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", output.text
