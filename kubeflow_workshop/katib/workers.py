"""Starts the trials' programs. Where fork exists, one server per search does it: it has imported
what the trials import, and a trial is a fork of it.

Notebook 05 says what this saves: a trial in a fresh process spends most of its time importing
TensorFlow. The numbers are those of a fresh process, since the program itself is run from its
beginning in each fork. The server ends, and its trials with it, when the process that asked for
them is gone.

Why none of the libraries does this: loky and joblib use a process again for the next task, so a
trial would find what the one before has left behind; the `forkserver` of Python's multiprocessing
is one per interpreter, so two searches could not have different environments and imports, it runs a
function and not a program, and its children outlive a parent that is killed.
"""

import ast
import contextlib
import gc
import importlib.util
import json
import os
import random
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kubeflow_workshop import process
from kubeflow_workshop.process import Program, search_path

CAN_FORK = hasattr(os, "fork")
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Trials share the cores by running side by side, so each takes one."""


def module_of(argv: Sequence[str]) -> str | None:
    """The module that a command `python -m MODULE …` runs, if the `python` is this one."""
    found = shutil.which(argv[0], path=search_path())
    if len(argv) > 2 and argv[1] == "-m" and found and os.path.samefile(found, sys.executable):
        return argv[2]
    return None


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
    """Starts programs as forks of one process, which has imported what `module` imports."""

    def __init__(
        self, environment: Mapping[str, str], module: str | None = None, folder: Path | None = None
    ):
        """Start the server.

        Args:
            environment: is added to this process's own, and set before anything is imported.
            module: what the programs will run; without it, nothing is imported.
            folder: where the programs will run, since `python -m` looks for modules there first.
        """
        self._control, other = socket.socketpair()
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(other.fileno()), *([module] if module else [])],
            env={
                **os.environ,
                **ONE_THREAD,
                "PATH": search_path(),
                "PYTHONUNBUFFERED": "1",
                **environment,
            },
            cwd=folder,
            pass_fds=[other.fileno()],
            stdin=subprocess.DEVNULL,
            # a module that prints when it is imported has no say on our standard output
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
        request = json.dumps(
            {
                "argv": list(argv),
                "folder": str(folder or Path.cwd()),
                "environment": dict(environment or {}),
            }
        )
        try:
            with self._lock:
                socket.send_fds(
                    self._control, [request.encode() + b"\n"], [writing, other.fileno()]
                )
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


def _serve(control: socket.socket) -> None:
    """Fork a program for each request, tell how each ended, and end them all when nobody can ask
    any more.
    """
    waking, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control.fileno(), waking], [], [])
        if waking in ready:
            os.read(waking, 4096)
            _reap(running)
        if control.fileno() in ready:
            message, descriptors = _request(control)
            if not message:
                break
            output, channel = descriptors
            if (pid := os.fork()) == 0:
                control.close()
                _become(message, output)
            with contextlib.suppress(OSError):  # the fork does it too: whoever is first
                os.setpgid(pid, pid)
            os.close(output)
            running[pid] = channel
            os.write(channel, f"{pid}\n".encode())
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _request(control: socket.socket) -> tuple[dict, list[int]]:
    text = b""
    descriptors: list[int] = []
    while not text.endswith(b"\n"):
        part, more, _, _ = socket.recv_fds(control, 1 << 16, 2)
        if not part:
            return {}, []
        text, descriptors = text + part, descriptors + more
    return json.loads(text), descriptors


def _reap(running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # what it left behind would hold its output open
        channel = running.pop(pid)
        with contextlib.suppress(BrokenPipeError):
            os.write(channel, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os.close(channel)


def _become(request: dict, output: int) -> None:
    """In the fork: run the program. Never returns."""
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(output, 1)
    os.dup2(output, 2)
    argv = request["argv"]
    os.environ.update(request["environment"])
    try:
        os.chdir(request["folder"])
        if not (module := module_of(argv)):
            os.execvp(argv[0], argv)
    except OSError as error:
        print(f"{argv[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(127)
    sys.argv, sys.path[0] = [module, *argv[3:]], os.getcwd()
    _reseed()
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    sys.exit()


def _reseed() -> None:
    """A fork begins with its parent's random numbers, and a fresh process with its own."""
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()


def imports(module: str) -> list[str]:
    """The modules that a module imports, also late inside its functions, and those of the modules
    of its own package that it imports.

    The source is read, not run: a training program without `if __name__ == "__main__"` would begin
    to train.
    """
    package, found, waiting = module.partition(".")[0], [], [module]
    for name in waiting:
        # no such module, no source, or a package that cannot be imported: the trial will say so
        with contextlib.suppress(Exception):
            found_spec = importlib.util.find_spec(name)
            source = Path(found_spec.origin or "").read_text(encoding="utf-8") if found_spec else ""
            for wanted in _names(ast.parse(source)):
                if wanted not in found:
                    found.append(wanted)
                    waiting += [wanted] if wanted.partition(".")[0] == package else []
    return [name for name in found if name != module]


def _names(tree: ast.AST) -> Iterator[str]:
    if isinstance(tree, ast.If) and "TYPE_CHECKING" in ast.unparse(tree.test):
        return
    if isinstance(tree, ast.Import):
        yield from (alias.name for alias in tree.names)
    elif isinstance(tree, ast.ImportFrom) and not tree.level and tree.module:
        yield tree.module
        # those that are no modules are passed over
        yield from (f"{tree.module}.{alias.name}" for alias in tree.names)
    for child in ast.iter_child_nodes(tree):
        yield from _names(child)


def main() -> None:
    """Be the server: `python -m kubeflow_workshop.katib.workers DESCRIPTOR [MODULE]`."""
    for module in sys.argv[2:]:
        for name in imports(module):
            # a name that is no module, or a library that is not here: the trial will say what it
            # needs
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    gc.freeze()  # what is imported is shared by the forks for as long as nobody touches it
    _serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
