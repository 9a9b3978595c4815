"""Where log lines go: stderr, as text or as JSON, and never with what callers said."""

from __future__ import annotations

import atexit
import json
import logging
import os
import queue
import sys
import threading
import time
import traceback
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from loguru import logger

if TYPE_CHECKING:
    from loguru import Message, Record


_STDERR = 2
_MOST_LINES = 10_000  # that wait for a terminal; later ones are lost
_LAST_WORDS_S = 1.0
_CLIENT_MESSAGES = "pipecat.processors.frameworks.rtvi.processor"


def set_up_log(
    level: str = "INFO", *, as_json: bool = False, library_level: str = "WARNING"
) -> None:
    """Send every log line of this process to stderr.

    Tracebacks show code but no values of variables: those are callers' words and operators' keys.

    Args:
        level: Of our own lines.
        as_json: One object per line: `time`, `level`, `from`, `message`, and `traceback` if any.
        library_level: Of pipecat's and the other libraries'; DEBUG lets them quote what people say.
    """
    logger.remove()
    write = _writer()
    logger.add(
        (lambda message: write(_as_json(message))) if as_json else write,
        level="DEBUG",
        colorize=not as_json and sys.stderr.isatty(),
        format="<dim>{time:HH:mm:ss}</dim> <level>{level.name:<7}</level> {message}",
        filter={"": level, "pipecat": library_level},
        diagnose=False,
    )
    logger.configure(patcher=_as_told if library_level == "DEBUG" else _unquoted)
    logging.basicConfig(handlers=[_ToLoguru()], level=library_level, force=True)


@cache
def _writer() -> _Writer:
    """One for the process, however often its log is set up."""
    return _Writer()


class _Writer:
    """Writes to stderr on a thread: a stalled terminal or a full pipe must not stop calls."""

    def __init__(self) -> None:
        self._lines: queue.Queue[str] = queue.Queue(_MOST_LINES)
        threading.Thread(target=self._write, name="log", daemon=True).start()
        atexit.register(self._finish)

    def __call__(self, line: str) -> None:
        with suppress(queue.Full):
            self._lines.put_nowait(line)

    def _write(self) -> None:
        while True:
            left = self._lines.get().encode()
            with suppress(OSError):  # nobody listens any more
                while left:
                    left = left[os.write(_STDERR, left) :]
            self._lines.task_done()

    def _finish(self) -> None:
        deadline = time.monotonic() + _LAST_WORDS_S
        while self._lines.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.005)


class _ToLoguru(logging.Handler):
    """Hands over what libraries tell Python's own logging."""

    def emit(self, record: logging.LogRecord) -> None:
        told = logger.patch(lambda line: line.__setitem__("name", record.name))
        told.opt(exception=record.exc_info).log(record.levelname, "{}", record.getMessage())


def _as_told(record: Record) -> None:
    """Leave a line as it is."""


def _unquoted(record: Record) -> None:
    """What pipecat cannot read of a client's messages it quotes, and people type into those."""
    if record["name"] == _CLIENT_MESSAGES:
        record["message"] = "A client's message could not be understood."


def _as_json(message: Message) -> str:
    record = message.record
    line = {
        "time": record["time"].isoformat(timespec="milliseconds"),
        "level": record["level"].name,
        "from": record["name"],
        "message": record["message"],
    }
    if record["exception"] is not None:
        line["traceback"] = "".join(traceback.format_exception(record["exception"].value))
    return json.dumps(line, ensure_ascii=False) + "\n"
