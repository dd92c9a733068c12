r"""Make the environment of the course, and open it: what `make lab` and lab.bat do.

python install/lab.py [ARGUMENT …]      install what is missing or changed, then open JupyterLab,
                                        which gets the arguments
python install/lab.py --install FOLDER  the first half, into FOLDER
python install/lab.py --packages WORD … what `pip install WORD …` would do to this Python's
                                        environment, by uv where it can (the image's way)
python install/lab.py --check           does this Python fit? Exits with 0, or with 3 and a sentence

uv installs the lock in seconds where pip takes minutes. What pip is set to (an index, a proxy, a
certificate, wheels in a folder) is handed on to uv; where uv has no wheel, or fails, pip installs.

Nothing but the standard library, since nothing is installed yet, and nothing that Python 3.6 cannot
read: this says that it is too old.
"""

import ast
import contextlib
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


def pip_settings(python: Path) -> dict:
    """What pip is set to in this environment, by its files and its variables; values as text."""
    listed = subprocess.run(
        [str(python), "-m", "pip", "config", "list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ).stdout
    found = {}
    sections = ("global", "install", ":env:")  # pip's own order: a later one wins
    for section in sections:
        for line in listed.splitlines():
            name, _, value = line.partition("=")
            if name.rpartition(".")[0] == section:
                with contextlib.suppress(SyntaxError, ValueError):
                    found[name.rpartition(".")[2]] = str(ast.literal_eval(value)).strip()
    return {name: value for name, value in found.items() if value}


def as_uv_says(settings: dict) -> dict:
    """pip's settings as uv's environment variables.

    Args:
        settings: what `pip_settings` returns.
    """
    several = {name: value.split() for name, value in settings.items()}
    said = {"UV_SYSTEM_CERTS": "1"}  # pip, too, trusts what the system trusts
    for ours, theirs in {
        "index-url": "UV_DEFAULT_INDEX",
        "cert": "SSL_CERT_FILE",
        "client-cert": "SSL_CLIENT_CERT",
        "constraint": "UV_CONSTRAINT",
        "timeout": "UV_HTTP_TIMEOUT",
        "default-timeout": "UV_HTTP_TIMEOUT",
        "keyring-provider": "UV_KEYRING_PROVIDER",
    }.items():
        if ours in settings:
            said[theirs] = settings[ours]
    if "extra-index-url" in several:
        said["UV_INDEX"] = " ".join(several["extra-index-url"])
        said["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as pip: every index is asked
    if "trusted-host" in several:
        said["UV_INSECURE_HOST"] = " ".join(several["trusted-host"])
    if "find-links" in several:
        said["UV_FIND_LINKS"] = ",".join(several["find-links"])
    if settings.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        said["UV_NO_INDEX"] = "1"
    if "proxy" in settings:
        proxy = settings["proxy"]
        proxy = proxy if "://" in proxy else "http://" + proxy
        said["HTTP_PROXY"] = said["HTTPS_PROXY"] = said["http_proxy"] = said["https_proxy"] = proxy
    return said


def bring_uv(python: Path) -> bool:
    """Bring uv into the environment with pip, at the lock's version; returns whether it came."""
    pin = re.search(r"(?m)^uv==[^\s;]+", LOCK.read_text(encoding="utf-8"))
    if not pin:
        return False
    print(f"Bringing {pin.group()}, which installs in seconds", flush=True)
    words = ["--disable-pip-version-check", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command = [str(python), "-m", "pip", "install", *words, pin.group()]
    came = subprocess.run(command, cwd=str(ROOT)).returncode == 0
    if not came:
        print("uv did not come, and the lines above say why; pip does its work", flush=True)
    return came


def packages(python: Path, what: str, words: list, by_uv: bool) -> bool:
    """Install packages into the environment: by uv where it is there, else, or if it fails, by pip.

    Args:
        python: the environment's Python.
        what: what is installed, for the user.
        words: requirements and options that pip and uv both know.
        by_uv: whether uv is there.

    Returns:
        whether uv did it; the next call need not try it again if it did not.

    Raises:
        Unfit: if pip fails, too.
    """
    if by_uv:
        print(f"Installing {what}", flush=True)
        said = as_uv_says(pip_settings(python))
        command = [str(python), "-m", "uv", "pip", "install", "--python", str(python)]
        command += ["--no-index"] if said.pop("UV_NO_INDEX", "") else []
        environment = dict(said, **os.environ)  # what is set for uv itself wins
        if subprocess.run(command + words, cwd=str(ROOT), env=environment).returncode == 0:
            return True
        print("uv could not do it, and the lines above say why", flush=True)
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    step(f"Installing {what} with pip, which takes its time", pip + words)
    return False


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
    lock = ["--requirement", str(LOCK)]
    by_uv = packages(python, "the packages of requirements.txt", lock, bring_uv(python))
    course = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    packages(python, "the course itself", course, by_uv)
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
        elif arguments[:1] == ["--packages"]:
            here = Path(sys.executable)
            packages(here, "what was asked for", arguments[1:], bring_uv(here))
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
