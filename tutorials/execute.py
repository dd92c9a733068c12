"""Run notebooks from a clean kernel, and store what they print.

    python tutorials/execute.py NOTEBOOK …      (make notebooks: all of them, with the network taken
    away)

A notebook is written only when all its cells ran; what differs from one machine to the next and no
reader needs is left out.
"""

import math
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def execute(path: Path) -> float:
    """Run one notebook and store its outputs; returns the seconds it took."""
    document = nbformat.read(path, as_version=4)
    begin = time.monotonic()
    NotebookClient(
        document,
        timeout=1200,
        record_timing=False,
        coalesce_streams=True,  # else a print may be cut where the machine paused
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    seconds = time.monotonic() - begin
    document.metadata["language_info"] = {"name": "python"}
    for cell in document.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                raise SystemExit(
                    f"error: {path.name} printed to stderr, which a reader should not see:"
                    f" {output.text.strip()[:300]}"
                )
    nbformat.write(document, path)
    return seconds


def main() -> None:
    """Run the notebooks named on the command line."""
    for name in sys.argv[1:]:
        path = Path(name)
        seconds = execute(path)
        # A solutions notebook promises nothing: its minutes are the learner's.
        holds = nbformat.read(path, as_version=4).metadata.get("workshop", {})
        promised = holds.get("machine_minutes", math.inf)
        late = (
            ""
            if math.ceil(seconds / 60) <= promised
            else f", but its metadata promises {promised} min"
        )
        print(f"{path}: {seconds:.0f} s{late}", flush=True)


if __name__ == "__main__":
    main()
