"""Where log lines go: stderr, as text or as JSON, and never with what callers said."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from typing import TYPE_CHECKING

from loguru import logger

if TYPE_CHECKING:
    from loguru import Message


def set_up_log(
    level: str = "INFO", *, as_json: bool = False, library_level: str = "WARNING"
) -> None:
    """Send every log line of this process to stderr.

    Tracebacks show code but no values of variables: those are callers' words and operators' keys.

    Args:
        level: Of our own lines.
        as_json: One object per line: `time`, `level`, `from`, `message`, and `traceback` if any.
        library_level: Of pipecat's and the other libraries'; finer ones quote what people say.
    """
    logger.remove()
    logger.add(
        _write_json if as_json else sys.stderr,
        level="DEBUG",
        format="<dim>{time:HH:mm:ss}</dim> <level>{level.name:<7}</level> {message}",
        filter={"": level, "pipecat": library_level},
        diagnose=False,
    )
    logging.basicConfig(handlers=[_ToLoguru()], level=library_level, force=True)


class _ToLoguru(logging.Handler):
    """Hands over what libraries tell Python's own logging."""

    def emit(self, record: logging.LogRecord) -> None:
        told = logger.patch(lambda line: line.__setitem__("name", record.name))
        told.opt(exception=record.exc_info).log(record.levelname, "{}", record.getMessage())


def _write_json(message: Message) -> None:
    record = message.record
    line = {
        "time": record["time"].isoformat(timespec="milliseconds"),
        "level": record["level"].name,
        "from": record["name"],
        "message": record["message"],
    }
    if record["exception"] is not None:
        line["traceback"] = "".join(traceback.format_exception(record["exception"].value))
    print(json.dumps(line, ensure_ascii=False), file=sys.stderr, flush=True)
