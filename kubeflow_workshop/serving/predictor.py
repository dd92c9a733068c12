"""A model as KServe holds it: what it answers to each protocol, and how it comes and goes.

Taught in notebook 09. KServe's classes are extended in functions, since importing KServe takes
seconds.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from kubeflow_workshop import repository
from kubeflow_workshop.errors import CourseError
from kubeflow_workshop.serving import forecast, inputs
from kubeflow_workshop.serving.inputs import BadInputError
from kubeflow_workshop.serving.log import Answer, RequestLog
from kubeflow_workshop.serving.model import CALIBRATION, Loaded, load

if TYPE_CHECKING:
    import kserve

INLINE = 256
"""Windows that are computed in the event loop; more of them, in a thread beside it."""


class UnavailableError(Exception):
    """What cannot be had now: the client may try again."""


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


def predictor(loaded: Loaded, state: State) -> "kserve.Model":
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
                    said.get("ticker") or None,
                    said.get("target_date") or None,
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


# Several models


def model_repository(
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
            try:
                if models:
                    return repository.current(models, name)
            except CourseError:
                if name in self.models:
                    raise
            raise ModelNotFound(name)

        def add(self, name: str) -> None:
            """Load the current version of a model."""
            self.update(predictor(load(name, self.find(name), altered), state))

        async def load(self, name: str) -> bool:
            """Load the current version beside the one that serves, and then put it in its place."""
            self.update(
                predictor(await asyncio.to_thread(load, name, self.find(name), altered), state)
            )
            return True

    return Repository()


def extension(models: Any) -> Any:
    """KServe's way to load and unload models by request, with an answer that says why not.

    `models` is what `model_repository` returns.
    """
    from kserve.protocol.model_repository_extension import ModelRepositoryExtension

    class Extension(ModelRepositoryExtension):
        """Loads by the repository's rules."""

        async def load(self, model_name: str) -> None:
            try:
                await models.load(model_name)
            except CourseError as error:
                serving = models.get_model(model_name)
                on = f" Version {serving.loaded.version.number} goes on serving." if serving else ""
                raise UnavailableError(f"{error}{on}") from None

    return Extension(models)


# The time-series API


def _series(asked: Any, window: int) -> tuple[np.ndarray, date]:
    """The values of a series, and the day of the last one."""
    where = f"the series {inputs.seen(asked.name)}"
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
            f"{where} has the {field_name} {inputs.seen(value)}, which is no day such as"
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
            f"the model has no finite answer for the series {inputs.seen(asked.name)}."
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
