r"""Make the environment of the course, and open it: what `make lab` and lab.bat do.

python install/lab.py [ARGUMENT …]      install what is missing or changed, then open JupyterLab,
                                        which gets the arguments
python install/lab.py --install FOLDER  the first half, into FOLDER
python install/lab.py --check           does this Python fit? Exits with 0, or with 3 and a sentence

Nothing but the standard library, since nothing is installed yet, and nothing that Python 3.6 cannot
read: this says that it is too old.
"""

import hashlib
import os
import re
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK, PROJECT = ROOT / "requirements.txt", ROOT / "pyproject.toml"
WINDOWS = os.name == "nt"
LONGEST_IN_PACKAGES = 163  # letters, of TensorFlow's longest file name below site-packages
LONGEST_PATH = 259  # what Windows takes without the setting LongPathsEnabled


class Unfit(Exception):  # noqa: N818 - as CourseError, which is not installed yet
    """What the user can mend: what is wrong, where, what to do."""


def check_python() -> None:
    """Refuse a Python for which the lock has no packages.

    Raises:
        Unfit: if its version is not one of pyproject.toml's, or it is no 64-bit Python of an Intel
            or AMD processor on Windows.
    """
    oldest, too_new = re.findall(
        r"3\.(\d+)",
        re.search(r"requires-python = (.*)", PROJECT.read_text(encoding="utf-8")).group(1),
    )
    if not (3, int(oldest)) <= sys.version_info[:2] < (3, int(too_new)):
        *some, last = [f"3.{minor}" for minor in range(int(oldest), int(too_new))]
        how = "try again" if WINDOWS else "say which: make PYTHON=python3.12"
        raise Unfit(
            "{} is Python {}.{}, and the course needs {} or {}; install one and {}".format(
                sys.executable, *sys.version_info[:2], ", ".join(some), last, how
            )
        )
    if WINDOWS and sysconfig.get_platform() != "win-amd64":
        raise Unfit(
            f"{sys.executable} is a Python for {sysconfig.get_platform()}, and TensorFlow needs the"
            " 64-bit one (x64); install that one and try again"
        )


def check_length(folder: Path) -> None:
    """Refuse a folder so deep that Windows cannot write TensorFlow's files into it.

    Raises:
        Unfit: if a path would be too long.
    """
    import winreg  # only Windows has it

    try:
        with winreg.OpenKey(
            winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem"
        ) as key:
            if winreg.QueryValueEx(key, "LongPathsEnabled")[0]:
                return
    except OSError:
        pass  # an older Windows
    room = LONGEST_PATH - LONGEST_IN_PACKAGES - len("/Lib/site-packages/")
    if len(str(folder)) > room:
        raise Unfit(
            f"{folder} is a path of {len(str(folder))} letters, and Windows lets TensorFlow have"
            f" {room}; move the course to a shorter folder"
        )


def works(python: Path) -> bool:
    """Whether the environment's Python starts, fits and has pip; it does not when its making was
    cut off, or the Python it was made from is gone.
    """
    try:
        return (
            subprocess.run(
                [str(python), "-c", CHECK, str(Path(__file__).resolve())],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ).returncode
            == 0
        )
    except OSError:
        return False


CHECK = "import pip, runpy, sys; runpy.run_path(sys.argv[1])['check_python']()"


def step(words: str, command: list) -> None:
    """Say what is done, and do it.

    Raises:
        Unfit: if the command fails.
    """
    print(words, flush=True)
    code = subprocess.run([str(word) for word in command], cwd=str(ROOT)).returncode
    if code:
        raise Unfit(
            f"that failed (exit code {code}), and the lines above say why. End a JupyterLab that"
            " still runs, look at the network, and try again"
        )


def install(folder: Path) -> Path:
    """Make the environment in the folder, or bring it up to date; seconds if nothing changed. Its
    file `installed` is written last.

    Returns:
        the environment's Python.

    Raises:
        Unfit: if this Python does not fit, or a step fails; the next call tries again.
    """
    python = folder / ("Scripts/python.exe" if WINDOWS else "bin/python")
    marker = folder / "installed"
    # The folder is part of it: scripts in an environment know where they were made.
    wanted = hashlib.sha256(
        LOCK.read_bytes() + PROJECT.read_bytes() + os.fsencode(str(folder.resolve()))
    ).hexdigest()
    usable = works(python)
    if usable and marker.exists() and marker.read_text() == wanted:
        marker.touch()  # make compares times
        return python
    if marker.exists():
        marker.unlink()
    if WINDOWS:
        check_length(folder)
    if not usable:
        check_python()
        # Never empty a folder that is no environment.
        clear = ["--clear"] if (folder / "pyvenv.cfg").exists() else []
        step(
            f"Making the environment {folder.name}", [sys.executable, "-m", "venv", *clear, folder]
        )
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    step(
        "Installing the packages of requirements.txt: minutes, the first time",
        [*pip, "--requirement", LOCK],
    )
    step(
        "Installing the course itself",
        [*pip, "--no-deps", "--no-build-isolation", "--editable", ROOT],
    )
    marker.write_text(wanted)
    return python


def open_course(python: Path, arguments: list) -> int:
    """Run JupyterLab on the first notebook until it ends; returns its exit code."""
    command = [
        str(python),
        "-m",
        "jupyterlab",
        *arguments,
        str(Path("tutorials", "00-start-here.ipynb")),
    ]
    # Windows reads and prints in a code page of the country, unless told: the kernels inherit it.
    process = subprocess.Popen(command, cwd=str(ROOT), env=dict(os.environ, PYTHONUTF8="1"))
    # Ctrl-C is JupyterLab's, which asks whether it is meant
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return process.wait()


def main(arguments: list) -> int:
    """The exit code: 0, 2 after an error that the user can mend, 3 if this Python does not fit, or
    JupyterLab's.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not before Python 3.7
            # a folder's name may hold letters that the window's code page lacks
            stream.reconfigure(errors="backslashreplace")
    try:
        if arguments == ["--check"]:
            check_python()
        elif arguments[:1] == ["--install"] and len(arguments) == 2:
            install(Path(arguments[1]).absolute())
        else:
            return open_course(install(ROOT / ".venv"), arguments)
    except Unfit as error:
        print(f"error: {error}", file=sys.stdout if arguments == ["--check"] else sys.stderr)
        return 3 if arguments == ["--check"] else 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
