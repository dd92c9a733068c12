"""The request log: one line of JSON per window that was answered, one file per day.

Taught in notebook 09. A line has `id`, `time` (RFC 3339, UTC), `model`, `version`, `ticker`,
`window`, `next_close` and `target_date`; what the client did not say is null. Outcomes are joined
later by ticker and date, and never written back.
"""

import contextlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson

from kubeflow_workshop.errors import CourseError


@dataclass(frozen=True)
class Answer:
    """What was asked, and what was answered.

    Attributes:
        id: of the request; the windows of a batch are told apart by a number behind it.
        model, version: who answered.
        windows: float32 [batch, window, 1], dollars.
        values: float32 [batch, 1], dollars.
        ticker, target_date: as the client said them, for all of the batch.
    """

    id: str
    model: str
    version: str
    windows: np.ndarray
    values: np.ndarray
    ticker: str | None = None
    target_date: str | None = None


class RequestLog:
    """Where answers are kept. A log that cannot be written stops no answer: it is counted, and said
    once.
    """

    def __init__(self, folder: Path):
        """Make the folder, if it does not exist.

        Raises:
            CourseError: if it cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._file(folder, datetime.now(UTC)), _APPEND, 0o644))
        except OSError as error:
            raise CourseError(
                f"the request log {folder} cannot be written ({error.strerror}); give a directory"
                " where you may write."
            ) from None
        self._folder, self._lock = folder, threading.Lock()
        self.lost = 0
        self.trouble: str | None = None

    @staticmethod
    def _file(folder: Path, day: datetime) -> Path:
        return folder / f"{day:%Y-%m-%d}.jsonl"

    def write(self, answer: Answer) -> None:
        """Add one line per window. What cannot be written is counted in `lost`, and `trouble` says
        why, until it can be written again.
        """
        now = datetime.now(UTC)
        lines = b"".join(orjson.dumps(line, option=_AS_LINE) for line in _lines(answer, now))
        with self._lock:
            try:
                _append(self._file(self._folder, now), lines)
                self.trouble = None
            except OSError as error:
                self.lost += len(answer.windows)
                self.trouble = error.strerror or str(error)


_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
_AS_LINE = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
"""Of a float32, as many digits as it has."""


def _append(file: Path, data: bytes) -> None:
    """Write all of it, or nothing: half a line would spoil the next one."""
    opened = os.open(file, _APPEND, 0o644)
    try:
        before = os.fstat(opened).st_size
        written = 0
        try:
            while written < len(data):
                written += os.write(opened, data[written:])
        except OSError:
            if written:
                with contextlib.suppress(OSError):
                    os.ftruncate(opened, before)
            raise
    finally:
        os.close(opened)


def _lines(answer: Answer, now: datetime) -> Iterator[dict]:
    many = len(answer.windows) > 1
    windows = np.ascontiguousarray(answer.windows[:, :, 0])
    for index, (window, value) in enumerate(zip(windows, answer.values[:, 0], strict=True)):
        yield {
            "id": f"{answer.id}-{index}" if many else answer.id,
            "time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "model": answer.model,
            "version": answer.version,
            "ticker": answer.ticker,
            "window": window,
            "next_close": value,
            "target_date": answer.target_date,
        }


def of_events(request: Mapping, response: Mapping) -> list[dict]:
    """The lines for a pair of events of KServe's own logger, which a cluster sends as CloudEvents.

    Taught in notebook 09. That logger writes no file: it posts what came in and what went out to an
    address, as events `org.kubeflow.serving.inference.request` and `….response` with the same id.

    Args:
        request, response: the events, each with its attributes and, under `data`, the body; both
            of protocol V1.
    """
    windows = np.asarray(request["data"]["instances"], np.float32)
    values = np.asarray(response["data"]["predictions"], np.float32)
    answer = Answer(
        id=request["id"],
        model=request["inferenceservicename"],
        version=response.get("version", ""),
        windows=windows,
        values=values,
    )
    return list(_lines(answer, datetime.fromisoformat(request["time"])))


def read(folder: Path) -> Sequence[dict]:
    """Every line of a request log, the oldest first."""
    return [
        json.loads(line)
        for file in sorted(folder.glob("*.jsonl"))
        for line in file.read_text().splitlines()
    ]
