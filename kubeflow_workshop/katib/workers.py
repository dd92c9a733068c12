"""Starts the trials' programs. Where it can be done, one server per search does it: it has imported
the installed libraries that the trials import, and a trial is a fork of it (`forks`).

Notebook 05 says what this saves: a trial in a fresh process spends most of its time importing
TensorFlow. The numbers are those of a fresh process, since the program and its own modules are run
from the beginning in each fork. The server ends, and its trials with it, when the process that
asked for them is gone.

Why none of the libraries does this: loky and joblib use a process again for the next task, so a
trial would find what the one before has left behind; the `forkserver` of Python's multiprocessing
is one per interpreter, so two searches could not have different environments and imports, it runs a
function and not a program, and its children outlive a parent that is killed.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from kubeflow_workshop import forks, process
from kubeflow_workshop.process import Program, search_path

CAN_FORK = hasattr(os, "fork") and sys.platform != "darwin"
"""Whether a server is used. On macOS a fork of a process that has imported TensorFlow does not
work: its system libraries do not bear it.
"""
TRIAL_NAME = "KATIB_TRIAL_NAME"
"""The variable that tells a trial its name; no library reads it."""
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Trials share the cores by running side by side, so each takes one."""


def module_of(argv: Sequence[str]) -> str | None:
    """The module that a command `python -m MODULE …` runs, if the `python` is this one."""
    return forks.module_of(argv, search_path())


class ServerGoneError(Exception):
    """The process that starts the programs is no more."""


class Fresh:
    """Starts each program as a fresh process: the way where fork does not exist."""

    def __init__(
        self, environment: Mapping[str, str], module: str | None = None, folder: Path | None = None
    ):
        """`environment` is added to this process's own; the rest is there for the likeness with
        `Server`.
        """
        self._environment = {**ONE_THREAD, **environment}

    def start(
        self,
        argv: Sequence[str],
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Program:
        """Start a program in a folder, with more environment of its own."""
        return process.start(argv, folder, {**self._environment, **(environment or {})})

    def close(self) -> None:
        """Nothing stays behind."""


class Server:
    """Starts programs as forks of one process, which has imported the installed libraries that
    `module` imports.
    """

    def __init__(
        self, environment: Mapping[str, str], module: str | None = None, folder: Path | None = None
    ):
        """Start the server.

        Args:
            environment: is added to this process's own, and set before anything is imported.
            module: what the programs will run; without it, nothing is imported.
            folder: where the program's own modules are.
        """
        self._control, other = socket.socketpair()
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [
                sys.executable,
                forks.__file__,
                str(other.fileno()),
                TRIAL_NAME,
                str(folder or Path.cwd()),
                *([module] if module else []),
            ],
            env={
                **os.environ,
                **ONE_THREAD,
                "PATH": search_path(),
                "PYTHONUNBUFFERED": "1",
                **environment,
            },
            pass_fds=[other.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the one who asked, who then ends the trials
        )
        other.close()

    def start(
        self,
        argv: Sequence[str],
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Program:
        """Start a program in a folder, with more environment of its own.

        Raises:
            ServerGoneError: if the server has been ended from outside.
        """
        reading, writing = os.pipe()
        channel, other = socket.socketpair()
        request = {
            "argv": list(argv),
            "folder": str(folder or Path.cwd()),
            "environment": dict(environment or {}),
        }
        line = json.dumps(request).encode() + b"\n"
        try:
            with self._lock:
                sent = socket.send_fds(self._control, [line], [writing, other.fileno()])
                self._control.sendall(line[sent:])
                other.close()
                fork = _Fork(channel)
        except (OSError, ValueError):
            os.close(reading)
            raise ServerGoneError(
                "the process that starts the trials has been ended; was there memory enough?"
            ) from None
        finally:
            os.close(writing)
            other.close()
        return Program(reading, fork)

    def close(self) -> None:
        """End the server, and what still runs."""
        self._control.close()
        self._process.wait()


class _Fork:
    """A program that the server started. On the channel come its process id and, when it has ended,
    its exit code.
    """

    def __init__(self, channel: socket.socket):
        self._answers = channel.makefile("r")
        channel.close()
        self.pid = int(self._answers.readline())
        self._code: int | None = None
        self._lock = threading.Lock()

    def wait(self) -> int:
        with self._lock:
            if self._code is None:
                # silence: the server itself was ended
                self._code = int(self._answers.readline() or -signal.SIGKILL)
                self._answers.close()
            return self._code
