from __future__ import annotations

from typing import Any

from starlette.websockets import WebSocket

from web.phone import CarrierSocket


async def test_a_carrier_that_hangs_up_while_it_is_spoken_to_has_hung_up() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        if message["type"] == "websocket.send":
            raise OSError("the other side is gone")

    socket = WebSocket({"type": "websocket"}, receive, send)
    await socket.accept()
    carrier = CarrierSocket(socket)
    await carrier.send("20 ms of sound")
    assert await carrier.receive() is None
