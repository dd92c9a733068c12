"""Where to find the files that come with the course, in a checkout and in an installed package."""

from pathlib import Path

PACKAGE = Path(__file__).parent


def course_file(path: str) -> Path:
    """A file or folder of the course, such as `datasets/MSFT.csv`.

    Args:
        path: the path from the root of the repository.

    Returns:
        That path in the checkout; in an installed package (Colab, the image), the copy that the
        wheel holds.
    """
    checkout = PACKAGE.parent
    return (checkout if (checkout / "pyproject.toml").is_file() else PACKAGE / "course") / path
