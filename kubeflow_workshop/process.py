"""A program that is run here: started in a process group of its own, read line by line, and ended
with everything that it has started.

What one program may cost us is bounded: the lines that nobody has read yet are few, after which the
program waits, as at any full pipe, and a line without an end is handed on in pieces.
"""

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import psutil

GRACE = 5.0
"""Seconds between asking a program to end and ending it."""
LINES = 10_000
"""Lines that wait to be read at most."""
LONGEST = 1 << 16
"""Characters of a line that are handed on at once."""
GROUPS = hasattr(os, "killpg")
"""Whether this system has process groups; Windows has none."""


class Process(Protocol):
    """What is waited for: a `subprocess.Popen`, or something that knows how one ended."""

    @property
    def pid(self) -> int:
        """Its number, which is its process group's, too."""

    def wait(self) -> int:
        """The exit code, when it has ended; minus the signal's number if a signal ended it."""


class Program:
    """A program that runs: its output line by line, its exit code, its end."""

    def __init__(self, output: int, process: Process):
        """`output` is the end of a pipe that the program writes to; `process` is waited for."""
        self._process = process
        self._last: threading.Timer | None = None
        self._strays: list[psutil.Process] = []
        self._lines: queue.Queue[str | None] = queue.Queue(LINES)
        threading.Thread(target=self._read, args=(output,), daemon=True).start()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def _read(self, output: int) -> None:
        with open(output, encoding="utf-8", errors="replace", newline=None) as lines:
            while line := lines.readline(LONGEST):
                self._lines.put(line)
        self._lines.put(None)

    def lines(self, patience: float) -> Iterator[str]:
        """Each line with its end, as it comes; an empty text whenever nothing came for `patience`
        seconds. Read them all before `wait`: a program whose output nobody reads stands still.
        """
        while True:
            try:
                line = self._lines.get(timeout=patience)
            except queue.Empty:
                yield ""
                continue
            if line is None:
                return
            yield line

    def wait(self) -> int:
        """The exit code, when it has ended; minus the signal's number if a signal ended it."""
        code = self._process.wait()
        if self._last:
            self._last.cancel()  # its number may soon be another program's
        return code

    def end(self) -> None:
        """Ask the program, and all that it started, to end; make it after a few seconds."""
        if self._last:
            return
        self._last = threading.Timer(
            GRACE, self._signal, [getattr(signal, "SIGKILL", signal.SIGTERM)]
        )
        self._last.daemon = True
        self._signal(signal.SIGTERM)
        self._last.start()

    def _signal(self, number: int) -> None:
        """Send a signal to the program's group, and to those of its children that have left it."""
        for child in _tree(self.pid):
            if child not in self._strays and not _in_group(child.pid, self.pid):
                self._strays.append(child)
        if GROUPS:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)
        for stray in self._strays:
            with contextlib.suppress(psutil.Error):
                stray.send_signal(number)


def _tree(pid: int) -> list[psutil.Process]:
    """A process and all that it has started, as far as they run."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def _in_group(pid: int, group: int) -> bool:
    with contextlib.suppress(OSError):
        return GROUPS and os.getpgid(pid) == group
    return False


def search_path() -> str:
    """A PATH with the programs of this environment first, so that `python` is the one that has the
    course's libraries.
    """
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def start(
    argv: Sequence[str],
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Program:
    """Start a program as a fresh process, in a process group of its own, so that Ctrl-C is for the
    one who asked, who then ends it.

    Args:
        argv: the program, looked up in the PATH of `search_path` or of `environment`, and its
            arguments.
        folder: where it runs; None is here.
        environment: variables beside this process's own.

    Raises:
        OSError: if there is no such program or folder.
    """
    variables = {
        **os.environ,
        "PATH": search_path(),
        "PYTHONUNBUFFERED": "1",
        **(environment or {}),
    }
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(
            [shutil.which(argv[0], path=variables["PATH"]) or argv[0], *argv[1:]],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            start_new_session=True,
        )
    except OSError:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    if GROUPS:
        threading.Thread(target=_leave_nothing, args=(process,), daemon=True).start()
    return Program(reading, process)


def _leave_nothing(process: subprocess.Popen) -> None:
    """End what a program has left behind: it would hold the output open for ever."""
    process.wait()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
