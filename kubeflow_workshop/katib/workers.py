"""Starts the trials' programs. Where fork exists, one server a search does it: it has imported what
the trials import, and a trial is a fork of it.

Notebook 05 says what this saves: a trial in a fresh process spends most of its time importing
TensorFlow. The numbers are those of a fresh process, since the program itself is run from its
beginning in each fork. The server ends, and its trials with it, when the process that asked for
them is gone.
"""

import ast
import contextlib
import gc
import importlib.util
import json
import os
import queue
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

CAN_FORK = hasattr(os, "fork")
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Trials share the cores by running side by side, so each takes one."""
_GRACE = 5
"""Seconds between asking a program to end and ending it."""


def search_path() -> str:
    """The PATH of the trials: the programs of this environment first, so that `python` is the one
    that has the course's libraries.
    """
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def module_of(argv: Sequence[str]) -> str | None:
    """The module that a command `python -m MODULE …` runs, if the `python` is this one."""
    found = shutil.which(argv[0], path=search_path())
    if len(argv) > 2 and argv[1] == "-m" and found and os.path.samefile(found, sys.executable):
        return argv[2]
    return None


class ServerGoneError(Exception):
    """The process that starts the programs is no more."""


class Program:
    """A program that runs: its output line by line, its exit code, its end."""

    def __init__(self, output: int, process: "subprocess.Popen | _Fork"):
        """`output` is the end of a pipe that the program writes to; `process` is waited for."""
        self._process = process
        self._last: threading.Timer | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, args=(output,), daemon=True).start()

    def _read(self, output: int) -> None:
        with open(output, encoding="utf-8", errors="replace", newline=None) as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(None)

    def lines(self, patience: float) -> Iterator[str]:
        """Each line with its end, as it comes; an empty text whenever nothing came for `patience`
        seconds.
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
            _GRACE, self._signal, [getattr(signal, "SIGKILL", signal.SIGTERM)]
        )
        self._last.daemon = True
        self._signal(signal.SIGTERM)
        self._last.start()

    def _signal(self, number: int) -> None:
        if not CAN_FORK:
            self._process.kill()
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


class Fresh:
    """Starts each program as a fresh process: the way where fork does not exist."""

    def __init__(
        self, environment: Mapping[str, str], module: str | None = None, folder: Path | None = None
    ):
        """`environment` is added to this process's own; the rest is there for the likeness with
        `Server`.
        """
        self._environment = (
            os.environ | ONE_THREAD | {"PATH": search_path(), "PYTHONUNBUFFERED": "1"} | environment
        )

    def start(
        self,
        argv: Sequence[str],
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Program:
        """Start a program in a folder, with more environment of its own."""
        reading, writing = os.pipe()
        variables = self._environment | (environment or {})
        program = shutil.which(argv[0], path=variables["PATH"]) or argv[0]
        process = subprocess.Popen(
            [program, *argv[1:]],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            start_new_session=True,
        )
        os.close(writing)
        return Program(reading, process)

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
            env=os.environ
            | ONE_THREAD
            | {"PATH": search_path(), "PYTHONUNBUFFERED": "1"}
            | environment,
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
        ready, _, _ = select.select([control, waking], [], [])
        if waking in ready:
            os.read(waking, 4096)
            _reap(running)
        if control in ready:
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
    text, descriptors = b"", []
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
            origin = importlib.util.find_spec(name).origin
            for wanted in _names(ast.parse(Path(origin).read_text(encoding="utf-8"))):
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
