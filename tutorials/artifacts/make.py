"""Write the objects that the notebooks make, so that the course can be entered anywhere: `python
tutorials/artifacts/make.py`.
"""

import tempfile
from pathlib import Path

from kubeflow_workshop import case_study, objects
from kubeflow_workshop.pipelines import spec


def _compiled() -> str:
    with tempfile.TemporaryDirectory() as room:
        return spec.compile(Path(room) / "pipeline.yaml").read_text(encoding="utf-8")


ARTIFACTS = {
    "stock-lstm.yaml": (
        "# The case study's Experiment, which notebook 05 explains. On this laptop: workshop tune"
        " tutorials/artifacts/stock-lstm.yaml\n# On a cluster: the same with"
        " WORKSHOP_TARGET=cluster, or kubectl create -f. Written by tutorials/artifacts/make.py.\n"
        + objects.as_text(case_study.experiment())
    ),
    # what `workshop pipeline compile` writes, byte for byte; notebook 06 explains it
    "stock-pipeline.yaml": _compiled(),
}

if __name__ == "__main__":
    for name, text in ARTIFACTS.items():
        (Path(__file__).parent / name).write_text(text, encoding="utf-8")
