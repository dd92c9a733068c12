"""What every part stands on: the error, the folders, the state of an instance, and how a program is
run.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

COURSE = Path(__file__).resolve().parents[2]
PROFILES = COURSE / "install" / "profiles"
PREFIX = "kubeflow-workshop-"
"""What each cluster's name begins with, so that no cluster of yours is taken for one of ours."""
NAMESPACE = "kubeflow-workshop"


class InstallError(Exception):
    """A mistake that the user can mend: what is wrong, where, what to do. Told in one sentence,
    exit code 2, as the course's CourseError.
    """


def machine() -> str:
    """This machine as the release pages write it, such as linux/amd64."""
    processor = platform.machine().lower()
    processor = {"x86_64": "amd64", "aarch64": "arm64"}.get(processor, processor)
    return f"{platform.system().lower()}/{processor}"


def data() -> Path:
    """Where all that `up` makes on this machine is kept, by the system's custom."""
    home = Path.home()
    if platform.system() == "Windows":
        return (
            Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "kubeflow-workshop"
        )
    if platform.system() == "Darwin":
        return home / "Library" / "Application Support" / "kubeflow-workshop"
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "kubeflow-workshop"


def versions() -> dict:
    """What `install/versions.json` pins."""
    return json.loads((COURSE / "install" / "versions.json").read_text(encoding="utf-8"))


def image() -> str:
    """The course's image, with the version in pyproject.toml as its tag. Python 3.9 has no reader
    of TOML.
    """
    found = re.search(
        r'^version = "([^"]+)"',
        (COURSE / "pyproject.toml").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    return f"kubeflow-workshop:{found.group(1)}"


class Instance:
    """One cluster: its name, and a folder that holds its state, its kubeconfig and its log.

    The state is written under a temporary name and then renamed, so it is whole whenever the
    program is killed.
    """

    def __init__(self, name: str):
        """Read the state, if there is one; InstallError if this cannot be a name."""
        if not re.fullmatch(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?", name):
            raise InstallError(
                f'"{name}" cannot name a cluster; take up to 20 small letters, digits and hyphens,'
                ' with a letter first, such as "demo".'
            )
        self.name = name
        self.cluster = PREFIX + name
        self.folder = data() / "instances" / name
        self.kubeconfig = self.folder / "kubeconfig"
        self.log = self.folder / "up.log"
        self._file = self.folder / "state.json"
        self.state: dict = {}
        if self._file.is_file():
            self.state = json.loads(self._file.read_text(encoding="utf-8"))

    def save(self) -> None:
        """Keep the state."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(self.state, indent=2), encoding="utf-8")
        os.replace(part, self._file)

    def did(self, step: str) -> None:
        """Remember that a step is done."""
        self.state["done"] = [*self.state.get("done", []), step]
        self.save()

    @property
    def context(self) -> str:
        """The name of the cluster in a kubeconfig."""
        return f"kind-{self.cluster if self.state.get('tool') != 'multikf' else self.name}"

    def remove(self) -> None:
        """Remove the folder, the state last: an interrupted `down` can be run again."""
        for path in sorted(self.folder.iterdir(), key=lambda path: path == self._file):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.folder.rmdir()


def instances() -> list[Instance]:
    """Every instance that `up` has begun and `down` has not removed."""
    folder = data() / "instances"
    return (
        [
            Instance(path.name)
            for path in sorted(folder.iterdir())
            if (path / "state.json").is_file()
        ]
        if folder.is_dir()
        else []
    )


class Runner:
    """Runs programs, writes them and their output to a log, or only prints them.

    Args:
        log: where to write; None writes nowhere.
        dry: print each command and run none.
    """

    def __init__(self, log: Path | None = None, dry: bool = False):
        """See the class."""
        self.log, self.dry = log, dry

    def say(self, text: str) -> None:
        """Tell the user, and the log."""
        print(text, flush=True)
        self.note(text)

    def note(self, text: str) -> None:
        """Tell the log."""
        if self.log and not self.dry:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("a", encoding="utf-8") as log:
                log.write(f"{time.strftime('%H:%M:%S')} {text.rstrip()}\n")

    def run(
        self,
        *command: object,
        stdin: str | None = None,
        tolerate: bool = False,
        secret: bool = False,
        within: float | None = None,
    ) -> subprocess.CompletedProcess:
        """Run a program and wait for it.

        Args:
            command: the program and its arguments.
            stdin: what it reads; shown nowhere.
            tolerate: return a failure instead of raising it.
            secret: its arguments and its output go to no log and into no message.
            within: seconds that it may take; after them it is ended, which is a failure.

        Returns:
            What it answered, as text. In a dry run, an empty success.

        Raises:
            InstallError: if the program is not there, or if it fails.
        """
        words = [str(word) for word in command]
        shown = written(words) if not secret else f"{written(words[:2])} …"
        self.note(f"$ {shown}")
        if self.dry:
            print(f"$ {shown}")
            return subprocess.CompletedProcess(words, 0, "", "")
        program = shutil.which(words[0], path=search_path())
        if not program:
            raise InstallError(
                f"the program {words[0]} is not on the PATH; install it, then give the same command"
                " again."
            )
        try:
            done = subprocess.run(
                [program, *words[1:]],
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                check=False,
                timeout=within,
            )
        except subprocess.TimeoutExpired:
            done = subprocess.CompletedProcess(words, 124, "", f"no answer in {within:g} s")
        if not secret:
            self.note((done.stdout[-4000:] + done.stderr[-4000:]) or "(no output)")
        if done.returncode and not tolerate:
            where = f"the log is {self.log}; " if self.log else ""
            why = last_line(done) if not secret else f"it ended with {done.returncode}"
            raise InstallError(
                f"{Path(words[0]).name} failed: {why}; {where}mend it, then give the"
                " same command again: it goes on from here."
            )
        return done


def written(words: list[str]) -> str:
    """A command as one would type it."""
    return (
        subprocess.list2cmdline(words)
        if platform.system() == "Windows"
        else " ".join(map(shlex.quote, words))
    )


def search_path() -> str:
    """The PATH, and where Debian keeps sysctl, which is on no ordinary user's PATH."""
    path = os.environ.get("PATH", os.defpath)
    return path if os.name == "nt" else f"{path}{os.pathsep}/usr/sbin{os.pathsep}/sbin"


def last_line(done: subprocess.CompletedProcess) -> str:
    """The last thing a program said, its errors first, without the full stop."""
    for said in (done.stderr, done.stdout):
        if said.strip():
            return said.strip().splitlines()[-1].strip().rstrip(".")
    return f"it ended with {done.returncode} and said nothing"


def consent(question: str, yes: bool) -> bool:
    """Ask before something is changed outside our own folders; `--yes` has said so already, and no
    terminal means no.
    """
    if yes:
        return True
    if not sys.stdin or not sys.stdin.isatty():
        return False
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
