"""A model server here: a process of its own, which is ended with the block that asked for it.

Taught in notebook 09. KServe's server cannot run in a notebook, which has an event loop already.
"""

import os
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from kubeflow_workshop import process
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.serving.server import READY

LAST_LINES = 15
"""Lines of a server that has failed that are shown."""


class Served:
    """A server that runs.

        with Served({"msft": "models/msft/1"}) as server:
            requests.post(f"{server.url}/v1/models/msft:predict", json=…)

    Taught in notebook 09.

    Attributes:
        url: of REST, such as http://127.0.0.1:40123.
        grpc: the address of gRPC, such as 127.0.0.1:40124.
    """

    def __init__(
        self,
        versions: Mapping[str, str | Path] | None = None,
        *,
        models: str | Path | None = None,
        log: str | Path | None = None,
        port: int = 0,
        grpc_port: int = 0,
        patience: float = 120.0,
    ):
        """Start the server, and wait until it answers.

        Args:
            versions: name → directory of a model version.
            models: a model repository, of which every model is served.
            log: the folder of the request log.
            port, grpc_port: 0 takes any that is free.
            patience: seconds to wait for it.

        Raises:
            CourseError: if it ends before it answers, or does not answer in time; with its last
                lines.
        """
        arguments = [f"{name}={directory}" for name, directory in (versions or {}).items()]
        arguments += ["--port", str(port), "--grpc-port", str(grpc_port)]
        arguments += ["--models", str(models)] if models else []
        arguments += ["--log", str(log)] if log else []
        self._start("kubeflow_workshop.serving.server", arguments, patience)

    def _start(self, module: str, arguments: Sequence[str], patience: float) -> None:
        self._said: deque[str] = deque(maxlen=200)
        self._known, self._ended = threading.Event(), threading.Event()
        self.url = self.grpc = ""
        self._program = process.start(
            [sys.executable, "-m", module, *arguments],
            environment={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        threading.Thread(target=self._listen, daemon=True).start()
        self._known.wait(patience)
        if self.url:
            return
        ended = self._ended.is_set()
        self.stop()
        said = "".join(list(self._said)[-LAST_LINES:]).strip() or "nothing"
        what = "ended before it could answer" if ended else f"did not answer in {patience:g} s"
        raise CourseError(f"the model server {what}; its last lines are:\n{said}")

    def _listen(self) -> None:
        """Keep what the server says: nobody else reads it, and a full pipe would stop it."""
        for line in self._program.lines(patience=60):
            self._said.append(line)
            if line.startswith(READY):
                self.url, grpc = line.removeprefix(READY).split()
                self.grpc = grpc.removeprefix("grpc://")
                self._known.set()
        self._ended.set()
        self._known.set()

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._program.pid

    @property
    def said(self) -> str:
        """The last lines that it wrote."""
        return "".join(self._said)

    def stop(self) -> int:
        """End it, and wait until it has answered what it had taken; returns its exit code."""
        if not self._ended.is_set():
            self._program.end()
        return self._program.wait()

    def __enter__(self) -> "Served":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
