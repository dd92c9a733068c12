"""KServe's model server for model versions: V1, the Open Inference Protocol V2 (REST and gRPC), and
the time-series forecast API.

Taught in notebook 09. The image runs this module as a command:

    python -m kubeflow_workshop.serving.server msft=models/msft/1 --port 8080

KServe's own parts do the work: each class here is one of them, with what this server does
otherwise. They are made in functions, since importing KServe takes seconds.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import orjson

from kubeflow_workshop import versions
from kubeflow_workshop.errors import CourseError, CourseParser, exit_with_one_sentence
from kubeflow_workshop.serving import forecast, inputs, signature
from kubeflow_workshop.serving.front import Front
from kubeflow_workshop.serving.inputs import BadInputError
from kubeflow_workshop.serving.log import Answer, RequestLog

if TYPE_CHECKING:
    import kserve

HOST, PORT, GRPC_PORT = "127.0.0.1", 8080, 8081
GRACE = 30.0
"""Seconds that requests may still take after the server was asked to end."""
LINGER = 1.0
"""Seconds in which clients may use a connection once more after that, and learn that it closes."""
INLINE = 256
"""Windows that are computed in the event loop; more of them, in a thread beside it."""
READY = "ready: "
"""What the line on standard output begins with that says where the server listens."""
CALIBRATION = "calibration.json"


class UnavailableError(Exception):
    """What cannot be had now: the client may try again."""


@dataclass(frozen=True)
class Loaded:
    """A model version that can answer.

    Attributes:
        name: under which it is served.
        version: what was read.
        run: windows in, next values out.
        calibration: how far off its forecasts were; None if the version does not say.
    """

    name: str
    version: versions.Version
    run: signature.Signature
    calibration: forecast.Calibration | None

    @property
    def metadata(self) -> dict:
        """As the Open Inference Protocol describes a model, with its card."""
        return {
            "name": self.name,
            "versions": [self.version.number],
            "platform": "tensorflow_savedmodel",
            "inputs": [self.run.input.as_metadata()],
            "outputs": [self.run.output.as_metadata()],
            "card": self.version.card,
        }


def load(name: str, directory: Path, altered: bool = False) -> Loaded:
    """Read, check and load a model version.

    Taught in notebook 09.

    Raises:
        CourseError: if it is no version, not whole, or no model that is served.
    """
    if not versions.NAME.fullmatch(name):
        raise CourseError(
            f"{name!r} cannot be the name of a model; take letters, digits, and . _ - between them."
        )
    version = versions.read(directory, altered=altered)
    run = signature.load(version)
    calibration = None
    if CALIBRATION in version.card["files"]:
        days = json.loads((directory / CALIBRATION).read_text())
        calibration = forecast.calibrate(run, days, run.input.days)
    return Loaded(name, version, run, calibration)


@dataclass
class State:
    """What the parts of a server share.

    Attributes:
        log: where answers are kept, if anywhere.
        draining: whether the server was asked to end.
        closing: whether each answer ends its connection, since no new one is taken.
    """

    log: RequestLog | None = None
    draining: bool = False
    closing: bool = False
    _told: str | None = field(default=None, repr=False)

    def note(self, answer: Answer) -> None:
        """Keep an answer in the log, and say once if that fails."""
        if not self.log:
            return
        self.log.write(answer)
        if self.log.trouble and self.log.trouble != self._told:
            print(
                f"The request log cannot be written ({self.log.trouble}): answers go on, and are"
                " not kept. Make room, or give another directory with --log.",
                file=sys.stderr,
                flush=True,
            )
        self._told = self.log.trouble


# One model


def _predictor(loaded: Loaded, state: State) -> "kserve.Model":
    """The model as KServe holds it."""
    from kserve import InferOutput, InferRequest, InferResponse, Model

    given, made = loaded.run.input, loaded.run.output

    async def run(windows: np.ndarray) -> np.ndarray:
        values = (
            loaded.run(windows)
            if len(windows) <= INLINE
            else await asyncio.to_thread(loaded.run, windows)
        )
        if not (good := np.isfinite(values[:, 0])).all():
            raise BadInputError(
                f"the model has no finite answer for window {int(np.argmin(good))} (counted from"
                " 0); its values are far from those that the model was trained on."
            )
        return values

    def of_grpc(asked: InferRequest) -> inputs.Request:
        inputs.one_tensor([one.name for one in asked.inputs], given)
        one = asked.inputs[0]
        shape = inputs.described(one.datatype, list(one.shape), given)
        for output in asked.request_outputs or []:
            inputs.known_output(output.name, [made.name])
        windows = (
            inputs.flat(one.data, shape, given)
            if one._raw_data is None
            else inputs.raw(one._raw_data, shape, given)
        )
        said = {key: value.string_param for key, value in (asked.parameters or {}).items()}
        return inputs.Request(windows, asked.id or "", said, binary=asked.use_binary_outputs)

    class Predictor(Model):
        """A KServe model that runs a SavedModel's signature."""

        def __init__(self) -> None:
            super().__init__(loaded.name)
            self.loaded = loaded
            self.ready = True

        async def preprocess(self, payload: Any, headers: dict | None = None) -> Any:
            if isinstance(payload, InferRequest | inputs.Request):
                return payload
            return inputs.instances(payload, given)

        async def predict(
            self, payload: Any, headers: dict | None = None, response_headers: Any = None
        ) -> Any:
            if isinstance(payload, InferRequest | inputs.Request):
                return await self._infer(payload)
            values = await run(payload)
            request_id = (headers or {}).get("x-request-id") or uuid4().hex
            self._note(request_id, payload, values)
            return {"predictions": values.tolist()}

        async def _infer(self, payload: "InferRequest | inputs.Request") -> InferResponse:
            grpc = isinstance(payload, InferRequest)
            asked = of_grpc(payload) if grpc else payload
            values = await run(asked.windows)
            request_id = asked.id or uuid4().hex
            self._note(request_id, asked.windows, values, asked.parameters)
            output = InferOutput(made.name, list(values.shape), "FP32")
            binary = asked.binary if not asked.outputs else asked.outputs[made.name]
            output.set_data_from_numpy(values, binary_data=binary)
            return InferResponse(
                request_id,
                loaded.name,
                [output],
                model_version=loaded.version.number,
                from_grpc=grpc,
                use_binary_outputs=binary,
            )

        def _note(
            self,
            request_id: str,
            windows: np.ndarray,
            values: np.ndarray,
            said: Mapping[str, Any] | None = None,
        ) -> None:
            said = {key: value for key, value in (said or {}).items() if isinstance(value, str)}
            state.note(
                Answer(
                    request_id,
                    loaded.name,
                    loaded.version.number,
                    windows,
                    values,
                    said.get("ticker"),
                    said.get("target_date"),
                )
            )

        async def forecast(self, request: Any, context: Any = None) -> Any:
            """The time-series API: every series is forecast on its own."""
            series = [_series(one, given.days) for one in request.inputs]
            horizon, levels = _options(request.options, loaded)
            made = await asyncio.to_thread(
                lambda: [
                    forecast.fan(
                        loaded.run, values, given.days, horizon, levels, loaded.calibration
                    )
                    for values, _ in series
                ]
            )
            request_id = uuid4().hex
            outputs = []
            for asked, (values, last), fan in zip(request.inputs, series, made, strict=True):
                days = forecast.trading_days(last, horizon)
                outputs.append(_forecast_of(asked, fan, days, levels))
                state.note(
                    Answer(
                        request_id,
                        loaded.name,
                        loaded.version.number,
                        values[None, -given.days :, None].astype(np.float32),
                        fan.mean[None, :1],
                        asked.name,
                        days[0].isoformat(),
                    )
                )
            return _forecast_response(request_id, loaded, outputs)

    return Predictor()


# The time-series API


def _series(asked: Any, window: int) -> tuple[np.ndarray, date]:
    """The values of a series, and the day of the last one."""
    where = f"the series {inputs._seen(asked.name)}"
    if asked.frequency.value not in ("D", "day"):
        raise BadInputError(
            f"{where} has the frequency {asked.frequency.value}; this model forecasts days (D)."
        )
    if asked.type.value != "univariate_time_series" or any(
        isinstance(value, list) for value in asked.series
    ):
        raise BadInputError(f"{where} must be univariate: one list of numbers.")
    if not window <= len(asked.series) <= inputs.MOST_WINDOWS:
        raise BadInputError(
            f"{where} has {len(asked.series)} values; give at least {window}, a window, and at most"
            f" {inputs.MOST_WINDOWS}."
        )
    values = inputs.finite(np.array(asked.series, float), where)
    return values, _last_day(asked, where)


def _last_day(asked: Any, where: str) -> date:
    """The day of a series' last value: as it says, or counted from the first one, or today."""
    extra = asked.model_extra or {}
    if (end := extra.get("end_timestamp")) is not None:
        return _day(end, where, "end_timestamp")
    if asked.start_timestamp is not None:
        first = _day(asked.start_timestamp, where, "start_timestamp")
        try:
            return forecast.trading_days(first - timedelta(days=1), len(asked.series))[-1]
        except OverflowError:
            raise BadInputError(f"{where} ends beyond the year 9999.") from None
    today = datetime.now(UTC).date()
    return today - timedelta(days=max(0, today.weekday() - 4))


def _day(value: object, where: str, field_name: str) -> date:
    try:
        day = datetime.fromisoformat(str(value)).date()
        forecast.trading_days(day, 2 * forecast.LONGEST)
        _ = day - timedelta(days=1)
    except (ValueError, OverflowError):
        raise BadInputError(
            f"{where} has the {field_name} {inputs._seen(value)}, which is no day such as"
            " 2013-03-01."
        ) from None
    return day


def _options(options: Any, loaded: Loaded) -> tuple[int, list[float]]:
    """The horizon, and the levels of the quantiles, the lowest first."""
    horizon, levels = options.horizon, sorted(set(options.quantiles or []))
    if not 1 <= horizon <= forecast.LONGEST:
        raise BadInputError(
            f"the horizon is {horizon}; give a whole number of trading days from 1 to"
            f" {forecast.LONGEST}."
        )
    if not levels:
        return horizon, []
    if len(levels) > 20 or not all(0 < level < 1 for level in levels):
        raise BadInputError(
            "the quantiles must be at most 20 numbers between 0 and 1, such as [0.1, 0.5, 0.9]."
        )
    if not loaded.calibration:
        raise BadInputError(
            f"model {loaded.name} does not say how far off it was ({CALIBRATION} is not in its"
            " version), so it gives no quantiles; leave them out, or train it again."
        )
    enough = [len(found) >= forecast.FEWEST for found in loaded.calibration.residuals]
    if not all(enough[:horizon]):
        raise BadInputError(
            f"quantiles for {horizon} days need {forecast.FEWEST} errors of each horizon, and this"
            f" version has them for {enough.index(False)} days; ask for fewer days, or leave the"
            " quantiles out."
        )
    return horizon, levels


def _forecast_of(
    asked: Any, fan: forecast.Fan, days: Sequence[date], levels: Sequence[float]
) -> dict:
    if not np.isfinite(fan.mean).all():
        raise BadInputError(
            f"the model has no finite answer for the series {inputs._seen(asked.name)}."
        )
    made = {
        "type": asked.type,
        "name": asked.name,
        "mean_forecast": fan.mean.tolist(),
        "frequency": asked.frequency,
        "start_timestamp": days[0].isoformat(),
        "timestamps": [day.isoformat() for day in days],
    }
    if levels:
        shares = [
            [None if np.isnan(share) else round(float(share), 3) for share in row]
            for row in fan.coverage
        ]
        made["quantiles"] = {
            str(level): row for level, row in zip(levels, fan.quantiles.tolist(), strict=True)
        }
        made["coverage_on_test_days"] = {
            str(level): row for level, row in zip(levels, shares, strict=True)
        }
    return made


def _forecast_response(request_id: str, loaded: Loaded, outputs: Sequence[dict]) -> Any:
    from kserve.protocol.rest.timeseries import ForecastResponse

    return ForecastResponse.model_validate(
        {
            "id": request_id,
            "created_at": int(datetime.now(UTC).timestamp()),
            "status": "completed",
            "model": loaded.name,
            "model_version": loaded.version.number,
            "outputs": [
                {
                    "type": "time_series_forecast",
                    "id": f"{request_id}-0",
                    "status": "completed",
                    "content": list(outputs),
                }
            ],
        }
    )


# Several models


def _repository(
    sources: Mapping[str, Path], models: Path | None, altered: bool, state: State
) -> Any:
    """KServe's repository, whose `load` loads: KServe 0.21's does nothing."""
    from kserve import ModelRepository
    from kserve.errors import ModelNotFound

    class Repository(ModelRepository):
        """The models that are served, and where their versions are."""

        def find(self, name: str) -> Path:
            """The directory of the version that is current now."""
            if name in sources:
                return sources[name]
            if models is None or not versions.NAME.fullmatch(name):
                raise ModelNotFound(name)
            return versions.current(models, name)

        def add(self, name: str) -> None:
            """Load the current version of a model."""
            self.update(_predictor(load(name, self.find(name), altered), state))

        async def load(self, name: str) -> bool:
            """Load the current version beside the one that serves, and then put it in its place."""
            self.update(
                _predictor(await asyncio.to_thread(load, name, self.find(name), altered), state)
            )
            return True

    return Repository()


def _extension(repository: Any) -> Any:
    """KServe's way to load and unload models by request, with an answer that says why not."""
    from kserve.errors import ModelNotFound
    from kserve.protocol.model_repository_extension import ModelRepositoryExtension

    class Extension(ModelRepositoryExtension):
        """Loads by the repository's rules."""

        async def load(self, model_name: str) -> None:
            try:
                await repository.load(model_name)
            except CourseError as error:
                serving = repository.get_model(model_name)
                if serving is None and not isinstance(error, CourseError):
                    raise ModelNotFound(model_name) from None
                on = f" Version {serving.loaded.version.number} goes on serving." if serving else ""
                raise UnavailableError(f"{error}{on}") from None

    return Extension(repository)


# The parts of KServe's server


def _data_plane(repository: Any, state: State) -> Any:
    from cloudevents.sdk.converters.util import has_binary_headers
    from kserve.protocol.dataplane import DataPlane

    class Plane(DataPlane):
        """What both protocols ask: is it ready, what is it, what does it answer?"""

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


def _rest_server(server: Any, listening: socket.socket, ready: Callable[[], None]) -> Any:
    """KServe's REST server, on a socket of ours: its own listens on every address."""
    from kserve.constants.constants import FASTAPI_APP_IMPORT_STRING
    from kserve.protocol.rest.server import RESTServer

    class Rest(RESTServer):
        """Listens where it is told to, and leaves signals to the model server."""

        def _register_endpoints(self, app: Any) -> None:
            from kubeflow_workshop.serving import openapi

            _add_routes(app, self.dataplane, server.registered_models)
            super()._register_endpoints(app)
            openapi.describe(app, server.registered_models)

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
        grace_period=int(GRACE),
    )


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
    except (OSError, OverflowError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise CourseError(_in_use(host, port, option, f"not to be had ({said})")) from None
    return made


# The server as a whole


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
    names = [*asked.sources, *(versions.names(asked.models) if asked.models else [])]
    if not names:
        raise CourseError(
            f"{asked.models or 'the command'} names no model version to serve; give"
            " NAME=VERSION_DIR, such as msft=models/msft/1, or --models and a directory that holds"
            " NAME/1."
        )
    state = State(RequestLog(asked.log) if asked.log else None)
    # before TensorFlow is imported: a mistake is told at once
    listening = listen(asked.host, asked.port)
    listen(asked.host, asked.grpc_port, "--grpc-port").close()
    for name in names:
        directory = asked.sources.get(name)
        if directory is None and asked.models:
            directory = versions.current(asked.models, name)
        versions.read(directory, altered=asked.altered)
    with _import_kserve():
        server = _model_server(asked, state)
    for name in names:
        server.registered_models.add(name)
    server.run(listening)


@contextlib.contextmanager
def _import_kserve() -> Iterator[None]:
    """KServe 0.21 reads the command line when it is imported, and ends the program if an option of
    ours is like two of its own.
    """
    mine, sys.argv = sys.argv, sys.argv[:1]
    try:
        import kserve  # noqa: F401

        # its own, of FastAPI
        warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")
        yield
    finally:
        sys.argv = mine


def _model_server(asked: Asked, state: State) -> Any:
    from kserve import ModelServer

    repository = _repository(asked.sources, asked.models, asked.altered, state)

    class Server(ModelServer):
        """KServe's model server, on the addresses that it is told, which ends when all is answered.

        KServe 0.21 unloads its models first, so that requests under way are lost.
        """

        def __init__(self) -> None:
            super().__init__(registered_models=repository, grace_period=int(GRACE))
            for name in ("kserve", "kserve.trace", "uvicorn", "uvicorn.error"):
                logging.getLogger(name).setLevel(logging.WARNING)  # two lines per request
            access = logging.getLogger("uvicorn.access")  # and a third
            access.handlers, access.propagate = [], False
            self.state = state
            self.dataplane = _data_plane(repository, state)
            self.model_repository_extension = _extension(repository)

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

            self._rest_server = _rest_server(self, listening, ready)
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
    numbers = [signal.SIGINT, signal.SIGTERM]
    before = {
        number: signal.signal(
            number, lambda number, frame: loop.call_soon_threadsafe(ask_to_end) and None
        )
        for number in numbers
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
        "--port", type=int, default=PORT, help="for REST; 0 takes a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--grpc-port",
        type=int,
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


def _source(text: str) -> tuple[str, Path]:
    name, equals, directory = text.partition("=")
    if not (equals and directory and versions.NAME.fullmatch(name)):
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
