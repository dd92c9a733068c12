"""KServe's REST server: V1, the Open Inference Protocol V2, and the time-series forecast API.

Taught in notebook 09. KServe's classes are extended in functions, since importing KServe takes
seconds. Each of them says what KServe 0.21 does otherwise; `tests/serving/test_upstream.py` turns
red where it no longer does.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from kubeflow_workshop.serving import forecast, inputs
from kubeflow_workshop.serving.inputs import MOST_BYTES, PATIENCE, BadInputError
from kubeflow_workshop.serving.predictor import State, UnavailableError

LINGER = 1.0
"""Seconds in which clients may use a connection once more when the server ends, and learn that it
closes.
"""


def data_plane(repository: Any, state: State) -> Any:
    """What both protocols, REST and gRPC, ask about the models of a repository."""
    from cloudevents.sdk.converters.util import has_binary_headers
    from kserve.protocol.dataplane import DataPlane

    class Plane(DataPlane):
        """Ready until the server is asked to end."""

        async def ready(self) -> bool:
            return not state.draining and await super().ready()

        async def model_metadata(self, model_name: str) -> dict:
            return self.get_model_from_registry(model_name).loaded.metadata

        def decode(self, body: Any, headers: Any, *others: Any, **more: Any) -> tuple[Any, dict]:
            """KServe 0.21 looks at a body as JSON only if its type says so, and `curl -d` says
            otherwise.
            """
            if has_binary_headers(headers):
                return super().decode(body, headers, *others, **more)
            return self.decode_cloudevent(inputs.parse(body))

    return Plane(repository)


def _forecast_plane(repository: Any) -> Any:
    """KServe 0.21 forecasts with a model only if its class has the name of another model server's,
    and lists those of yet another name.
    """
    from kserve.protocol.rest.timeseries import TimeSeriesDataPlane

    class Plane(TimeSeriesDataPlane):
        """Forecasts with every model."""

        async def forecast(
            self, request_body: Any, raw_request: Any, headers: Any, response: Any
        ) -> Any:
            model = await self.get_model(request_body.model)
            return await model.forecast(request_body)

        async def models(self) -> list:
            return list(self.model_registry.get_models().values())

    return Plane(repository)


def _add_routes(app: Any, plane: Any, repository: Any) -> None:
    """Routes that KServe 0.21 has otherwise, or not at all; the first that fits answers."""
    from fastapi import APIRouter, Request, Response
    from kserve.constants.constants import INFERENCE_CONTENT_LENGTH_HEADER
    from kserve.errors import ModelNotReady
    from kserve.protocol.rest.timeseries import ForecastRequest
    from kserve.protocol.rest.timeseries.endpoints import TimeSeriesEndpoints
    from pydantic import ValidationError

    router = APIRouter()
    forecasts = TimeSeriesEndpoints(_forecast_plane(repository))

    @router.post("/v2/models/{model_name}/infer", response_model=None)
    async def infer(model_name: str, request: Request) -> Response:
        """KServe's answers 422 or 500 to most of what is wrong, and takes no bytes without JSON."""
        if not await plane.model_ready(model_name, True):
            raise ModelNotReady(model_name)
        run = plane.get_model_from_registry(model_name).loaded.run
        asked = inputs.infer(
            await request.body(),
            request.headers.get(INFERENCE_CONTENT_LENGTH_HEADER),
            run.input,
            [run.output],
        )
        answer, _ = await plane.infer(model_name, asked, dict(request.headers))
        content, size = answer.to_rest()
        if size is None:
            return Response(orjson.dumps(content), media_type="application/json")
        return Response(
            content,
            headers={INFERENCE_CONTENT_LENGTH_HEADER: str(size)},
            media_type="application/octet-stream",
        )

    @router.get("/v2/models/{model_name}", response_model=None)
    async def metadata(model_name: str) -> dict:
        """KServe's leaves out what it does not know, the card among it."""
        return await plane.model_metadata(model_name)

    @router.post("/v1/timeseries/forecast", response_model=None)
    async def ask_forecast(request: Request, response: Response) -> Any:
        """KServe's takes text for numbers, and answers 422 to what is wrong."""
        try:
            asked = ForecastRequest.model_validate_json(await request.body(), strict=True)
        except ValidationError as error:
            raise BadInputError(_first_of(error)) from None
        return await forecasts.forecast(asked, request, response)

    router.add_api_route("/v1/timeseries/models", forecasts.models, methods=["GET"])
    app.include_router(router)


def _first_of(error: Any) -> str:
    """The first thing that is wrong with a request, in one sentence."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where or 'the body'}: {first['msg'][0].lower()}{first['msg'][1:]}."


def _add_handlers(app: Any) -> None:
    """One sentence for what is wrong, in the form of the protocol, and no traceback in our log for
    a mistake of a client.
    """
    from fastapi import Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from kserve.errors import InvalidInput, ModelNotFound, ModelNotReady, ServerNotReady
    from starlette.exceptions import HTTPException

    def answer(status: int, say: Callable[[Any], str] = str) -> Callable:
        async def handler(request: Request, error: Exception) -> JSONResponse:
            code = error.status_code if isinstance(error, HTTPException) else status
            content: dict = {"error": say(error)}
            if request.url.path.startswith("/v1/timeseries/"):
                content["error"] = {
                    "code": str(code),
                    "message": content["error"],
                    "param": "",
                    "type": type(error).__name__.removesuffix("Error"),
                }
            return JSONResponse(content, code)

        return handler

    for kind, status in (
        (BadInputError, 400),
        (InvalidInput, 400),
        (ModelNotFound, 404),
        (NotImplementedError, 501),
        (ModelNotReady, 503),
        (ServerNotReady, 503),
        (UnavailableError, 503),
    ):
        app.add_exception_handler(kind, answer(status))
    app.add_exception_handler(RequestValidationError, answer(400, _first_of))
    app.add_exception_handler(HTTPException, answer(404, lambda error: f"{error.detail}."))
    app.add_exception_handler(
        Exception, answer(500, lambda error: "the server made a mistake; its log says which.")
    )


def rest_server(server: Any, listening: socket.socket, ready: Callable[[], None]) -> Any:
    """KServe's REST server, on a socket of ours: its own listens on every address."""
    from kserve.constants.constants import FASTAPI_APP_IMPORT_STRING
    from kserve.protocol.rest.server import RESTServer

    class Rest(RESTServer):
        """Listens where it is told to, and leaves signals to the model server."""

        def _register_endpoints(self, app: Any) -> None:
            _add_routes(app, self.dataplane, server.registered_models)
            super()._register_endpoints(app)
            _describe(app, server.registered_models)

        def _add_exception_handlers(self, app: Any) -> None:
            super()._add_exception_handlers(app)
            _add_handlers(app)

        def _add_middlewares(self, app: Any) -> None:
            # KServe's writes two lines for each request to a log that is off
            app.add_middleware(Front, closing=lambda: server.state.closing)

        async def start(self) -> None:
            self.create_application()
            running = self._server
            running.capture_signals = contextlib.nullcontext
            start_up = running.startup

            async def startup(sockets: list | None = None) -> None:
                await start_up(sockets)
                ready()

            running.startup = startup
            await running.serve(sockets=[listening])

        async def drain(self) -> None:
            """Take no new connection, answer what is under way, and let clients learn from an
            answer that their connection closes, before idle ones are closed.
            """
            running = self._server
            for one in getattr(running, "servers", []):
                one.close()
            await asyncio.sleep(0.05)  # closed only now; who came back before would be cut off
            server.state.closing = True
            loop = asyncio.get_running_loop()
            end = loop.time() + LINGER
            while running.server_state.connections and loop.time() < end:
                await asyncio.sleep(0.02)
            running.should_exit = True

        def force(self) -> None:
            self._server.should_exit = self._server.force_exit = True

    return Rest(
        FASTAPI_APP_IMPORT_STRING,
        server.dataplane,
        server.model_repository_extension,
        listening.getsockname()[1],
        grace_period=server.grace_period,
    )


# What stands before the routes


Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
THROWN_AWAY = 64 << 20
"""Bytes of a refused body that are still read, so that the sender gets to read the answer."""


class Front:
    """What stands before the routes: a limit on the size of a body, a limit on the time it takes to
    arrive, and the end of the connection when the server is going. KServe 0.21 takes a body of any
    size, and waits for one for ever.
    """

    def __init__(self, app: App, closing: Callable[[], bool], patience: float = PATIENCE):
        """`closing` says whether connections end; `patience`, in seconds, is for one body."""
        self._app, self._closing, self._patience = app, closing, patience

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Read the body as a whole, and hand it on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._closing():
            send = _closing(send)
        if (length := _length(scope)) is not None and length > MOST_BYTES:
            await self._refuse(send, receive, 413, _TOO_LARGE)
            return
        body, more = bytearray(), True
        try:
            async with asyncio.timeout(self._patience):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > MOST_BYTES:
                        break
        except TimeoutError:
            await self._refuse(send, None, 408, _TOO_SLOW.format(self._patience))
            return
        if more:
            await self._refuse(send, receive, 413, _TOO_LARGE)
            return
        await self._app(scope, _again(bytes(body), receive), send)

    async def _refuse(self, send: Send, receive: Receive | None, status: int, why: str) -> None:
        """Answer, and close the connection: what else comes on it belongs to this body."""
        content = orjson.dumps({"error": why})
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content, "more_body": True})
        if receive:
            # closing at once would reset the connection, and the answer might be lost with it
            left = THROWN_AWAY
            try:
                async with asyncio.timeout(self._patience):
                    while left > 0:
                        message = await receive()
                        left -= len(message.get("body", b""))
                        if not message.get("more_body", False):
                            break
            except TimeoutError:
                pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})


_TOO_LARGE = f"the body is larger than {MOST_BYTES >> 20} MiB; send fewer windows in one request."
_TOO_SLOW = (
    "the body did not arrive within {:g} seconds as its Content-Length says; send it at once, and"
    " as long as it says."
)


def _length(scope: Message) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:20])
    return None


def _again(body: bytes, receive: Receive) -> Receive:
    """What hands on a body that has been read; after it, whatever else comes."""
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return whole.pop() if whole else await receive()

    return next_message


def _closing(send: Send) -> Send:
    """What ends the connection after the answer."""

    async def send_last(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await send(message)

    return send_last


# What the server says of itself


def _describe(app: Any, repository: Any) -> None:
    """Let /openapi.json declare the bodies that are taken, and the models that there are. KServe
    0.21 declares no body for V1, and no names.
    """
    from fastapi.openapi.utils import get_openapi

    def openapi() -> dict:
        models = {name: model.loaded for name, model in repository.get_models().items()}
        made = get_openapi(title=app.title, version=app.version, routes=app.routes)
        tensors = [model.run.input for model in models.values()]
        for path, methods in made["paths"].items():
            for operation in methods.values():
                operation["responses"].pop("422", None)  # we answer 400
                for parameter in operation.get("parameters", []):
                    if parameter["name"] == "model_name" and models:
                        parameter["schema"] = {"type": "string", "enum": list(models)}
            if path in _BODIES and tensors:
                methods["post"]["requestBody"] = {
                    "required": True,
                    "content": {
                        "application/json": {"schema": _BODIES[path](tensors[0], list(models))}
                    },
                }
        return made

    app.openapi = openapi


def _windows(tensor: inputs.Tensor) -> dict:
    """Nested lists, as long as the tensor says."""
    schema: dict = {"type": "number", "minimum": 0.01, "maximum": 1e6}
    for size in reversed(tensor.shape[1:]):
        schema = {"type": "array", "minItems": size, "maxItems": size, "items": schema}
    return {"type": "array", "minItems": 1, "maxItems": inputs.MOST_WINDOWS, "items": schema}


def _predict(tensor: inputs.Tensor, models: list[str]) -> dict:
    return {
        "type": "object",
        "required": ["instances"],
        "properties": {"instances": _windows(tensor)},
        "example": {"instances": [[[27.5 + day / 8] for day in range(tensor.days)]]},
    }


def _infer(tensor: inputs.Tensor, models: list[str]) -> dict:
    given = {
        "type": "object",
        "required": ["name", "datatype", "shape", "data"],
        "properties": {
            "name": {"const": tensor.name},
            "datatype": {"const": "FP32"},
            "shape": {"const": [1, *tensor.shape[1:]]},
            "data": {**_windows(tensor), "maxItems": 1},
        },
    }
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "inputs": {"type": "array", "minItems": 1, "maxItems": 1, "items": given},
        },
    }


def _forecast(tensor: inputs.Tensor, models: list[str]) -> dict:
    series = {
        "type": "object",
        "required": ["type", "name", "series", "frequency"],
        "properties": {
            "type": {"const": "univariate_time_series"},
            "name": {"type": "string"},
            "series": {
                "type": "array",
                "minItems": tensor.days,
                "maxItems": inputs.MOST_WINDOWS,
                "items": {"type": "number", "minimum": 0.01, "maximum": 1e6},
            },
            "frequency": {"enum": ["D", "day"]},
            "start_timestamp": {"type": "string", "format": "date"},
            "end_timestamp": {"type": "string", "format": "date"},
        },
    }
    level = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    return {
        "type": "object",
        "required": ["model", "inputs", "options"],
        "properties": {
            "model": {"enum": models},
            "inputs": {"type": "array", "minItems": 1, "items": series},
            "options": {
                "type": "object",
                "required": ["horizon"],
                "properties": {
                    "horizon": {"type": "integer", "minimum": 1, "maximum": forecast.LONGEST},
                    "quantiles": {"type": "array", "maxItems": 20, "items": level},
                },
            },
        },
    }


_BODIES = {
    "/v1/models/{model_name}:predict": _predict,
    "/v2/models/{model_name}/infer": _infer,
    "/v1/timeseries/forecast": _forecast,
}
