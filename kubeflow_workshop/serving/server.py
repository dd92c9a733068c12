"""KServe's model server for model versions: V1, the Open Inference Protocol V2 (REST and gRPC), and
the time-series forecast API.

Taught in notebook 09. The image runs this module as a command:

    python -m kubeflow_workshop.serving.server msft=models/msft/1 --port 8080
"""

import argparse
import asyncio
import contextlib
import logging
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from kubeflow_workshop import repository
from kubeflow_workshop.errors import CourseError, CourseParser, exit_with_one_sentence
from kubeflow_workshop.serving import inputs
from kubeflow_workshop.serving.inputs import BadInputError
from kubeflow_workshop.serving.log import RequestLog
from kubeflow_workshop.serving.predictor import State, UnavailableError, extension, model_repository
from kubeflow_workshop.serving.rest import data_plane, rest_server

HOST, PORT, GRPC_PORT = "127.0.0.1", 8080, 8081
GRACE = 30
"""Seconds that requests may still take after the server was asked to end."""
READY = "ready: "
"""What the line on standard output begins with that says where the server listens."""


@dataclass(frozen=True)
class Asked:
    """What a server is to do.

    Attributes:
        sources: name → directory of the version.
        models: a model repository; each of its models is served, the highest version of each.
        host: the address to listen on.
        port, grpc_port: 0 takes any that is free.
        log: the folder of the request log; None keeps none.
        altered: serve files that differ from their card.
    """

    sources: Mapping[str, Path]
    models: Path | None = None
    host: str = HOST
    port: int = PORT
    grpc_port: int = GRPC_PORT
    log: Path | None = None
    altered: bool = False


def serve(asked: Asked) -> None:
    """Serve until a signal ends it: SIGTERM or Ctrl-C, and then what was taken is answered.

    Taught in notebook 09. When it can answer, it prints one line on standard output that says
    where.

    Raises:
        CourseError: if a version cannot be served, or an address is not to be had; nothing has
            been served then.
    """
    found = repository.names(asked.models) if asked.models else []
    directories = {name: repository.current(asked.models, name) for name in found if asked.models}
    directories |= asked.sources
    if not directories:
        raise CourseError(
            f"{asked.models or 'the command'} names no model version to serve; give"
            " NAME=VERSION_DIR, such as msft=models/msft/1, or --models and a directory that holds"
            " NAME/1."
        )
    state = State(RequestLog(asked.log) if asked.log else None)
    # before TensorFlow is imported, so that a mistake is told at once
    listening = listen(asked.host, asked.port)
    listen(asked.host, asked.grpc_port, "--grpc-port").close()
    for directory in directories.values():
        repository.read(directory, altered=asked.altered)
    with _import_kserve():
        server = _model_server(asked, state)
    for name in directories:
        server.registered_models.add(name)
    server.run(listening)


@contextlib.contextmanager
def _import_kserve() -> Iterator[None]:
    """KServe 0.21 reads the command line when it is imported, and ends the program if an option of
    ours is like two of its own. It also imports all of Kubernetes' client, and that a validator,
    where there is one, which takes a second.
    """
    mine, sys.argv = sys.argv, sys.argv[:1]
    validator = "kubernetes_validate"
    hidden = validator not in sys.modules
    if hidden:
        sys.modules[validator] = None  # type: ignore[assignment]
    try:
        import kserve  # noqa: F401

        # its own, of FastAPI
        warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")
        yield
    finally:
        sys.argv = mine
        if hidden:
            del sys.modules[validator]


def _model_server(asked: Asked, state: State) -> Any:
    from kserve import ModelServer

    models = model_repository(asked.sources, asked.models, asked.altered, state)

    class Server(ModelServer):
        """KServe's model server, on the addresses that it is told, which ends when all is answered.

        KServe 0.21 unloads its models first, so that requests under way are lost.
        """

        def __init__(self) -> None:
            super().__init__(registered_models=models, grace_period=GRACE)
            for name in ("kserve", "kserve.trace", "uvicorn", "uvicorn.error"):
                logging.getLogger(name).setLevel(logging.WARNING)  # two lines per request
            access = logging.getLogger("uvicorn.access")  # and a third
            access.handlers, access.propagate = [], False
            self.state = state
            self.dataplane = data_plane(models, state)
            self.model_repository_extension = extension(models)

        def run(self, listening: socket.socket) -> None:
            """Serve on this socket, and beside it gRPC, until a signal ends it."""
            with asyncio.Runner(loop_factory=_loop()) as runner:
                runner.run(self._both(listening))

        async def _both(self, listening: socket.socket) -> None:
            self._grpc_server = _grpc_server(self, asked.host, asked.grpc_port)
            port = self._grpc_server.listen()
            rest = _address(asked.host, listening.getsockname()[1])

            def ready() -> None:
                print(f"{READY}http://{rest} grpc://{_address(asked.host, port)}", flush=True)

            self._rest_server = rest_server(self, listening, ready)
            await self._grpc_server.start()
            with _signals(self._ask_to_end):
                await asyncio.gather(self._rest_server.start(), self._grpc_server.wait())

        def _ask_to_end(self) -> None:
            if self.state.draining:  # asked twice
                self._rest_server.force()
                return
            self.state.draining = True
            print("Ending: what was taken is answered first.", file=sys.stderr, flush=True)
            self._ending = asyncio.gather(self._rest_server.drain(), self._grpc_server.stop())

    return Server()


def _loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return None
    return uvloop.new_event_loop


@contextlib.contextmanager
def _signals(ask_to_end: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(ask_to_end)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# Addresses


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _in_use(host: str, port: int, option: str, why: str = "in use") -> str:
    return (
        f"port {port} of {host} is {why}; end the program that has it, or give another port with"
        f" {option}."
    )


def listen(host: str, port: int, option: str = "--port") -> socket.socket:
    """A socket that has the address, and does not listen yet.

    Raises:
        CourseError: if the address cannot be had.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, socket.SOCK_STREAM)
        if sys.platform != "win32":  # there, it would take the port from another server
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        why = f"not to be had ({error.strerror})"
        raise CourseError(_in_use(host, port, option, why)) from None
    return made


# gRPC


def _grpc_server(server: Any, host: str, port: int) -> Any:
    """KServe's gRPC server, on one address: its own listens on every one, and beside another
    server on the same port.
    """
    import grpc
    from grpc_interceptor.server import AsyncServerInterceptor
    from kserve.errors import InvalidInput, ModelNotFound, ModelNotReady
    from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as protocol
    from kserve.protocol.grpc.server import GRPCServer
    from kserve.protocol.grpc.servicer import InferenceServicer

    codes = (
        ((BadInputError, InvalidInput), grpc.StatusCode.INVALID_ARGUMENT),
        (ModelNotFound, grpc.StatusCode.NOT_FOUND),
        ((ModelNotReady, UnavailableError), grpc.StatusCode.UNAVAILABLE),
        (NotImplementedError, grpc.StatusCode.UNIMPLEMENTED),
    )

    class Sentences(AsyncServerInterceptor):
        """What is wrong, as a status and a sentence. KServe's own stumbles over some of its own
        exceptions.
        """

        async def intercept(self, method: Any, request: Any, context: Any, name: str) -> Any:
            try:
                if getattr(request, "model_version", "") or getattr(request, "version", ""):
                    raise NotImplementedError(
                        "one version of a model is served at a time, so none can be asked for;"
                        " leave the version out."
                    )
                return await method(request, context)
            except grpc.aio.AbortError:
                raise
            except Exception as error:
                for kinds, code in codes:
                    if isinstance(error, kinds):
                        await context.abort(code, str(error))
                raise

    class Servicer(InferenceServicer):
        """KServe's answers, with the version and the platform in the metadata."""

        async def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
            metadata = await self._data_plane.model_metadata(model_name=request.name)
            from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages

            return messages.ModelMetadataResponse(
                **{key: value for key, value in metadata.items() if key != "card"}
            )

    class Grpc(GRPCServer):
        """Listens where it is told to."""

        def listen(self) -> int:
            """Take the address; returns the port."""
            self._server = grpc.aio.server(
                futures.ThreadPoolExecutor(max_workers=4),
                interceptors=(Sentences(),),
                options=[
                    ("grpc.max_receive_message_length", inputs.MOST_BYTES),
                    ("grpc.so_reuseport", 0),
                ],
            )
            protocol.add_GRPCInferenceServiceServicer_to_server(
                Servicer(self._data_plane, self._model_repository_extension), self._server
            )
            try:
                return self._server.add_insecure_port(_address(host, port))
            except RuntimeError:
                raise CourseError(_in_use(host, port, "--grpc-port")) from None

        async def start(self, max_workers: int = 4) -> None:
            await self._server.start()

        async def wait(self) -> None:
            await self._server.wait_for_termination()

    return Grpc(
        port,
        server.dataplane,
        server.model_repository_extension,
        kwargs={},
        grace_period=GRACE,
    )


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a model server's arguments to a parser: this module's own, and `workshop serve`'s."""
    parser.add_argument(
        "sources",
        nargs="*",
        type=_source,
        metavar="NAME=VERSION_DIR",
        help="a model version, and the name under which it is served, such as msft=models/msft/1",
    )
    parser.add_argument(
        "--models",
        type=Path,
        metavar="DIR",
        help="a model repository: DIR/NAME/N; of each model, the highest N is served",
    )
    parser.add_argument(
        "--host",
        default=HOST,
        help="the address to listen on; 0.0.0.0 is every one (default: %(default)s, this machine)",
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=PORT,
        help="for REST; 0 takes a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--grpc-port",
        type=_port,
        default=GRPC_PORT,
        help="for gRPC; 0 takes a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--log",
        type=Path,
        metavar="DIR",
        help="keep each answer here, one file of JSON Lines a day",
    )
    parser.add_argument(
        "--altered",
        action="store_true",
        help="serve a version although its files are not those that its card names",
    )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give a number from 0 to 65535")
    return int(text)


def _source(text: str) -> tuple[str, Path]:
    name, equals, directory = text.partition("=")
    if not (equals and directory and repository.NAME.fullmatch(name)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not of the form NAME=VERSION_DIR, such as msft=models/msft/1"
        )
    return name, Path(directory)


def run(arguments: argparse.Namespace) -> None:
    """Do what the command line asks for.

    Raises:
        CourseError: if it cannot be done.
    """
    names = [name for name, _ in arguments.sources]
    if twice := {name for name in names if names.count(name) > 1}:
        raise CourseError(f"{min(twice)} is given twice; give each version a name of its own.")
    serve(
        Asked(
            dict(arguments.sources),
            arguments.models,
            arguments.host,
            arguments.port,
            arguments.grpc_port,
            arguments.log,
            arguments.altered,
        )
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the model server; returns 0, or 2 after one sentence on stderr."""
    parser = CourseParser(
        prog="python -m kubeflow_workshop.serving.server", description="Serve model versions."
    )
    add_arguments(parser)
    return exit_with_one_sentence(lambda: run(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
