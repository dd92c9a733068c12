"""What stands before KServe's routes, for every request: a limit on its size, a limit on the time
it takes to arrive, and the end of the connection when the server is going.

Taught in notebook 09. KServe 0.21 takes a body of any size, and waits for one for ever.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from kubeflow_workshop.serving.inputs import MOST_BYTES, PATIENCE

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
_THROWN_AWAY = 64 << 20
"""Bytes of a refused body that are still read, so that the sender gets to read the answer."""


class Front:
    """An ASGI application around another one."""

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
            left = _THROWN_AWAY
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
