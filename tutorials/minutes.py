"""Write how many minutes each notebook takes to read: into its metadata, its opening sentence, and
the map in the README.

    python tutorials/minutes.py      (make notebooks does it first)

One rule for all: prose at 150 words a minute, which is slow enough to think about it in a second
language, and code at 75. A picture is as long as the text that stands for it. The machine's minutes
and those of the exercises are written by hand.
"""

import re
from pathlib import Path

import nbformat

TUTORIALS = Path(__file__).parent
README = TUTORIALS.parent / "README.md"
PROSE_A_MINUTE, CODE_A_MINUTE = 150, 75


def to_read(document: nbformat.NotebookNode) -> int:
    """The minutes to read a notebook; the cells that install the course on Colab do not count."""
    prose = code = 0
    for cell in document.cells:
        if cell.id in ("colab-prose", "colab-code"):
            continue
        if cell.cell_type == "code":
            code += len(cell.source.split())
        else:
            without_addresses = re.sub(r"\]\([^)\s]*\)", "]", cell.source)
            prose += len(re.findall(r"\w[\w.,'’-]*", without_addresses))
    return round(prose / PROSE_A_MINUTE + code / CODE_A_MINUTE)


def write(path: Path) -> None:
    """Bring one notebook and its line in the README up to date; outputs stay."""
    document = nbformat.read(path, as_version=4)
    minutes = to_read(document)
    document.metadata.workshop.read_minutes = minutes
    opening = document.cells[0]
    opening.source = re.sub(r"\d+( minutes? to\s+read)", rf"{minutes}\1", opening.source)
    nbformat.write(document, path)
    row = re.compile(rf"(?<=\(tutorials/{re.escape(path.name)}\) \| )\d+(?= min)")
    README.write_text(row.sub(str(minutes), README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    for notebook in sorted(TUTORIALS.glob("[0-9]*.ipynb")):
        write(notebook)
