"""Ctrl-C while somebody talks: the call may finish, unless it is pressed again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time

import httpx

from evals.caller import Caller
from evals.run import offer_over_http


async def test_ctrl_c_waits_for_the_call_and_a_second_one_does_not(
    parley: tuple[str, subprocess.Popen[str]],
) -> None:
    url, process = parley
    async with Caller(lambda sdp, kind: offer_over_http(url, sdp, kind)) as caller:
        assert await caller.wait_audible(True, for_s=0.02, timeout_s=10)
        process.send_signal(signal.SIGINT)
        await caller.sleep(1.5)
        assert process.poll() is None
        refused = await asyncio.to_thread(httpx.get, f"{url}readyz")
        assert refused.json()["error"] == "The server is about to stop."
        assert caller.timeline.arrivals[-1].at_s > caller.now_s - 0.5, "sound still flows"

        process.send_signal(signal.SIGINT)
        pressed_s = time.monotonic()
        assert await asyncio.to_thread(process.wait, 20) == 0
        assert time.monotonic() - pressed_s < 5
        told = [m["data"] for _, m in caller.events if m.get("type") == "server-message"]
        assert {"event": "bye", "reason": "the server is stopping"} in told
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
