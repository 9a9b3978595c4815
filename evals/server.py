"""A `parley serve` of our own to call, on a free port, gone when done."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from common.errors import RemoteError

_READY_LIMIT_S = 60.0


@contextmanager
def serving(*options: str) -> Iterator[tuple[str, float]]:
    """Run `parley serve` with `options`; yields its address and the seconds it took to be ready.

    Raises:
        RemoteError: It ended, or was not ready within a minute; the message ends with its last words.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    parley = Path(sys.executable).with_name("parley")
    began = time.perf_counter()
    # Not a pipe: nobody reads it while the server runs, and a full one would stop it.
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [parley, "serve", "--port", str(port), "--drain-s", "1", *options],
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        try:
            while not _is_ready(url):
                if process.poll() is not None:
                    said.seek(0)
                    raise RemoteError(f"parley serve ended: {said.read()[-500:].strip()}")
                if time.perf_counter() - began > _READY_LIMIT_S:
                    raise RemoteError(f"parley serve was not ready within {_READY_LIMIT_S:.0f} s.")
                time.sleep(0.02)
            yield url, time.perf_counter() - began
        finally:
            process.terminate()
            process.wait(timeout=30)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=1).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
