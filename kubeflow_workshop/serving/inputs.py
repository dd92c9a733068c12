"""What a request may hold: each check ends in one sentence that the client gets to read.

Taught in notebook 09. No KServe and no TensorFlow here: a request is what JSON or gRPC made of it,
and a good one becomes windows, float32 [batch, window, 1].
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

MOST_WINDOWS = 4096
"""Windows of one request."""
MOST_BYTES = 8 << 20
"""Bytes of one request."""
PATIENCE = 10.0
"""Seconds in which a request must have arrived as a whole."""


class BadInputError(ValueError):
    """A request that is wrong: the client reads the message, and must send another one."""


@dataclass(frozen=True)
class Tensor:
    """What the model takes or gives.

    Attributes:
        name: in the signature.
        shape: -1 is any number.
    """

    name: str
    shape: tuple[int, ...]

    @property
    def days(self) -> int:
        """The length of a window, if the tensor is one of windows."""
        return self.shape[1]

    def as_metadata(self) -> dict:
        """As the Open Inference Protocol describes a tensor."""
        return {"name": self.name, "datatype": "FP32", "shape": list(self.shape)}


@dataclass(frozen=True)
class Request:
    """A request of the Open Inference Protocol, read and checked.

    Attributes:
        windows: float32 [batch, window, 1].
        id: the client's, or "".
        parameters: the client's.
        outputs: for each output that the client named, whether it wants bytes; empty if it named
            none.
        binary: whether outputs that the client did not name come as bytes.
    """

    windows: np.ndarray
    id: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, bool] = field(default_factory=dict)
    binary: bool = False


def parse(body: bytes) -> Any:
    """JSON as the standard has it: no NaN, no infinity."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadInputError(f"the body is not JSON: {error}.") from None


def instances(body: object, tensor: Tensor) -> np.ndarray:
    """The windows of a request of protocol V1: `{"instances": [[[27.5], [27.8], [27.9]], …]}`.

    Taught in notebook 09.

    Returns:
        float32 [batch, window, 1].

    Raises:
        BadInputError: if the body is anything else.
    """
    if not isinstance(body, dict) or "instances" not in body:
        raise BadInputError(
            'the body has no "instances"; send {"instances": [window, …]}, and each window as '
            f"{_example(tensor)}."
        )
    return windows(body["instances"], tensor, '"instances"')


def windows(values: object, tensor: Tensor, where: str) -> np.ndarray:
    """Nested lists of numbers, as windows; float32 [batch, window, 1].

    Raises:
        BadInputError: if they have another shape, or hold anything but finite numbers, or if there
            are none or too many.
    """
    if not isinstance(values, list):
        raise BadInputError(f"{where} must be a list of windows, such as [{_example(tensor)}].")
    _right_number(len(values), where)
    try:
        made = np.array(values)
    except ValueError:
        made = np.array(None)
    wanted = (len(values), *tensor.shape[1:])
    if made.shape != wanted:
        shape = f"the shape {list(made.shape)}" if made.ndim else "lists of different lengths"
        raise BadInputError(
            f"{where} has {shape}, and this model takes {_shape(tensor)}: each window is"
            f" {_example(tensor)}."
        )
    flat = list(itertools.chain.from_iterable(itertools.chain.from_iterable(values)))
    if not {type(value) for value in flat} <= {float, int}:
        wrong = next(value for value in flat if type(value) not in (float, int))
        raise BadInputError(f"{where} holds {seen(wrong)}, which is not a number.")
    return finite(made, where)


def finite(values: np.ndarray, where: str) -> np.ndarray:
    """Numbers as float32, if each of them is a finite one there."""
    with np.errstate(over="ignore"):
        made = values.astype(np.float32)
    if not np.isfinite(made).all():
        raise BadInputError(
            f"{where} holds a number that is not finite as float32 (NaN, infinity, or beyond"
            " 3.4e38)."
        )
    return made


def _right_number(count: int, where: str) -> None:
    if not count:
        raise BadInputError(f"{where} is empty; send at least one window.")
    if count > MOST_WINDOWS:
        raise BadInputError(
            f"{where} holds {count} windows; send at most {MOST_WINDOWS} in one request."
        )


def _shape(tensor: Tensor) -> str:
    return f"[batch, {', '.join(map(str, tensor.shape[1:]))}]"


def _example(tensor: Tensor) -> str:
    days = [f"[{27.5 + day / 8:g}]" for day in range(min(tensor.days, 3))]
    more = ["…"] if tensor.days > 3 else []
    return f"[{', '.join(days + more)}]" + (f" ({tensor.days} days)" if more else "")


def seen(value: object) -> str:
    """A value of a request, short enough for a sentence."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 40 else f"{text[:40]}…"


# The Open Inference Protocol, V2


def infer(body: bytes, header: str | None, tensor: Tensor, outputs: Sequence[Tensor]) -> Request:
    """A REST request of protocol V2.

    Taught in notebook 09.

    Args:
        body: JSON, and behind it the bytes of the tensors that are not in it.
        header: `Inference-Header-Content-Length`: how many bytes of the body are JSON; None if all.
        tensor, outputs: what the model takes and gives.

    Raises:
        BadInputError: if it is no request of this model.
    """
    size = len(body)
    if header is not None:
        if not (header.isascii() and header.isdecimal() and int(header[:20]) <= size):
            raise BadInputError(
                f"the header Inference-Header-Content-Length is {seen(header)}; it must be the"
                f" number of bytes of JSON at the begin of the body, at most {size}."
            )
        size = int(header)
    asked, binary = parse(body[:size]), body[size:]
    if not isinstance(asked, dict) or not isinstance(asked.get("inputs"), list):
        raise BadInputError(
            f'the body has no "inputs"; send {{"inputs": [{{"name": "{tensor.name}", "datatype":'
            f' "FP32", "shape": [1, {", ".join(map(str, tensor.shape[1:]))}], "data": […]}}]}}.'
        )
    given = asked["inputs"]
    for one in given:
        if not isinstance(one, dict):
            raise BadInputError(f'"inputs" holds {seen(one)}, which is not a tensor.')
    if len(given) != 1:
        raise _other_tensors([one.get("name") for one in given], tensor)
    one = given[0]
    shape = _checked(one.get("name"), one.get("datatype"), one.get("shape"), tensor)
    own = _parameters(one)
    if "binary_data_size" in own:
        if "data" in one:
            raise BadInputError(
                f'input "{tensor.name}" has both "data" and a "binary_data_size"; send one of them.'
            )
        if own["binary_data_size"] != len(binary):
            raise BadInputError(
                f'input "{tensor.name}" says "binary_data_size": {seen(own["binary_data_size"])},'
                f" and {len(binary)} bytes stand behind the JSON."
            )
        made = raw(binary, shape, tensor)
    elif binary:
        raise BadInputError(
            f"{len(binary)} bytes stand behind the JSON, and no input says that they are its"
            ' "binary_data_size".'
        )
    else:
        made = flat(one.get("data"), shape, tensor)
    request_id = asked.get("id", "")
    if not isinstance(request_id, str | None):
        raise BadInputError(f'"id" is {seen(request_id)}; it must be text.')
    parameters = _parameters(asked)
    return Request(
        windows=made,
        id=request_id or "",
        parameters=parameters,
        outputs=_wanted(asked.get("outputs"), outputs),
        binary=parameters.get("binary_data_output") is True,
    )


def _wanted(asked: object, outputs: Sequence[Tensor]) -> dict[str, bool]:
    if asked is None:
        return {}
    if not isinstance(asked, list) or not all(isinstance(one, dict) for one in asked):
        raise BadInputError('"outputs" must be a list of {"name": …}.')
    known = [output.name for output in outputs]
    wanted = {}
    for one in asked:
        known_output(one.get("name"), known)
        wanted[one["name"]] = _parameters(one).get("binary_data") is True
    return wanted


def known_output(name: object, known: Sequence[str]) -> None:
    """Raise BadInputError if the model does not give an output of this name."""
    if name not in known:
        raise BadInputError(f"the model gives no output {seen(name)}; it gives {', '.join(known)}.")


def _parameters(thing: Mapping) -> dict:
    found = thing.get("parameters")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BadInputError(f'"parameters" is {seen(found)}; it must be an object.')
    return found


def _other_tensors(given: list, tensor: Tensor) -> BadInputError:
    names = ", ".join(map(seen, given)) or "none"
    return BadInputError(
        f'the model takes one input, "{tensor.name}"; the request has {len(given)}: {names}.'
    )


def one_tensor(given: Sequence[str], tensor: Tensor) -> None:
    """Raise BadInputError unless exactly the model's input is given, by its name."""
    if list(given) != [tensor.name]:
        raise _other_tensors(list(given), tensor)


def _checked(name: object, datatype: object, shape: object, tensor: Tensor) -> list[int]:
    if name != tensor.name:
        raise _other_tensors([name], tensor)
    return described(datatype, shape, tensor)


def described(datatype: object, shape: object, tensor: Tensor) -> list[int]:
    """The shape of the model's input, if the datatype and the shape are those of windows.

    Raises:
        BadInputError: if they are not.
    """
    if datatype != "FP32":
        raise BadInputError(
            f'input "{tensor.name}" has the datatype {seen(datatype)}; this model takes "FP32".'
        )
    if (
        not isinstance(shape, list)
        or not all(type(size) is int for size in shape)
        or shape[1:] != list(tensor.shape[1:])
        or shape[0] < 0
    ):
        raise BadInputError(
            f'input "{tensor.name}" has the shape {seen(shape)}; this model takes {_shape(tensor)}.'
        )
    _right_number(shape[0], f'input "{tensor.name}"')
    return shape


def raw(data: bytes, shape: list[int], tensor: Tensor) -> np.ndarray:
    """Windows from bytes: float32, little-endian, as the protocol sends them."""
    size = int(np.prod(shape)) * 4
    if len(data) != size:
        raise BadInputError(
            f'input "{tensor.name}" has {len(data)} bytes; the shape {shape} of FP32 takes {size}.'
        )
    return finite(np.frombuffer(data, "<f4").reshape(shape), f'input "{tensor.name}"')


def flat(data: object, shape: list[int], tensor: Tensor) -> np.ndarray:
    """Windows from a list of numbers, in a row or nested as the shape says."""
    where = f'"data" of input "{tensor.name}"'
    if not isinstance(data, list):
        raise BadInputError(f"{where} is {seen(data)}; it must be a list of numbers.")
    if data and isinstance(data[0], list):
        made = windows(data, tensor, where)
        if list(made.shape) != shape:
            raise BadInputError(f"{where} has the shape {list(made.shape)}, and says {shape}.")
        return made
    if wrong := [value for value in data if type(value) not in (float, int)]:
        raise BadInputError(f"{where} holds {seen(wrong[0])}, which is not a number.")
    if len(data) != np.prod(shape):
        raise BadInputError(
            f"{where} holds {len(data)} numbers; the shape {shape} takes {np.prod(shape)}."
        )
    return finite(np.array(data).reshape(shape), where)
