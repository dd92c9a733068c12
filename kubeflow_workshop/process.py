"""A program that is run here: started in a process group of its own, read line by line, and ended
with everything that it has started.

What one program may cost us is bounded: what nobody has read yet is little, after which the program
waits, as at any full pipe, and a line without an end is handed on in pieces. A program has ended
when its process has: what it has left behind, and holds the output open, is not waited for.
"""

import codecs
import contextlib
import io
import os
import queue
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import psutil
from filelock import BaseFileLock, Timeout

GRACE = 5.0
"""Seconds between asking a program to end and ending it."""
LONGEST = 1 << 16
"""Characters of a line that are handed on at once."""
_CHUNK, _CHUNKS = 1 << 16, 16
"""Bytes that are read at once, and how many such pieces wait to be read at most."""
_PIPE = 1 << 20
"""Bytes that a pipe holds at most."""
_LAST_WORDS = 1.0
"""Seconds for which a program's output is read after its end, where the system does not tell that
it is empty (Windows).
"""
GROUPS = hasattr(os, "killpg")
"""Whether this system has process groups; Windows has none."""
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


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
        self._chunks: queue.Queue[list[str] | None] = queue.Queue(_CHUNKS)
        self._next: deque[str] = deque()
        read = self._read if GROUPS else self._read_blocking
        ended, end = os.pipe()
        threading.Thread(target=self._watch, args=(end,), daemon=True).start()
        threading.Thread(target=read, args=(output, ended), daemon=True).start()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def _watch(self, end: int) -> None:
        """Tell the reader when the process has ended."""
        self._process.wait()
        if self._last:  # what was asked to end, and left the group, has had its time
            self._signal_strays(_KILL)
        os.close(end)

    def _read(self, output: int, ended: int) -> None:
        """Hand on the output until it ends, or the process has ended and the pipe is empty."""
        lines, left = _Lines(), _PIPE
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            selector.register(ended, selectors.EVENT_READ)
            while left > 0:
                ready = {key.fd for key, _ in selector.select()}
                if output not in ready:
                    break
                if not (data := os.read(output, _CHUNK)):
                    break
                if ended in ready:
                    left -= len(data)
                self._hand_on(lines.feed(data))
        os.close(output)
        os.close(ended)
        self._hand_on(lines.rest())
        self._chunks.put(None)

    def _read_blocking(self, output: int, ended: int) -> None:
        """The same where one cannot wait for a pipe and for something else."""

        def end() -> None:
            os.read(ended, 1)
            os.close(ended)
            time.sleep(_LAST_WORDS)
            self._chunks.put(None)

        threading.Thread(target=end, daemon=True).start()
        lines = _Lines()
        while data := os.read(output, _CHUNK):
            self._hand_on(lines.feed(data))
        os.close(output)
        self._hand_on(lines.rest())

    def _hand_on(self, lines: list[str]) -> None:
        if lines:
            self._chunks.put(lines)

    def lines(self, patience: float) -> Iterator[str]:
        """Each line with its end, as it comes; an empty text whenever nothing came for `patience`
        seconds. Read them all before `wait`: a program whose output nobody reads stands still.
        """
        while True:
            while self._next:
                yield self._next.popleft()
            try:
                lines = self._chunks.get(timeout=patience)
            except queue.Empty:
                yield ""
                continue
            if lines is None:
                return
            self._next.extend(lines)

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
        self._last = threading.Timer(GRACE, self._signal, [_KILL])
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
        self._signal_strays(number)

    def _signal_strays(self, number: int) -> None:
        for stray in self._strays:
            with contextlib.suppress(psutil.Error):
                stray.send_signal(number)


class _Lines:
    """Cuts what a program writes into lines, and a line that is too long into pieces."""

    def __init__(self) -> None:
        utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._decoder = io.IncrementalNewlineDecoder(utf8, translate=True)
        self._rest = ""

    def feed(self, data: bytes, last: bool = False) -> list[str]:
        """The lines that are whole now, each with its end."""
        *lines, self._rest = (self._rest + self._decoder.decode(data, last)).split("\n")
        made = [piece for line in lines for piece in _pieces(line + "\n")]
        if len(self._rest) > LONGEST:
            *more, self._rest = _pieces(self._rest)
            made += more
        return made

    def rest(self) -> list[str]:
        """What came after the last line's end."""
        made = self.feed(b"", last=True)
        return [*made, self._rest] if self._rest else made


def _pieces(line: str) -> list[str]:
    return [line[start : start + LONGEST] for start in range(0, len(line), LONGEST)]


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


def held(lock: BaseFileLock) -> bool:
    """Whether another owner, such as another process, has a lock now."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # a directory that can only be read
        return False
    lock.release()
    return False
