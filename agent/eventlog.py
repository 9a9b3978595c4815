"""One log per conversation: JSON lines, one clock (samples received), everything with its reason.

    {"at": 30400, "kind": "evidence", "type": "Sound", "voiced": true, …}
    {"at": 30400, "kind": "decision", "type": "Commit", "reason": "a finished question; …", …}
    {"at": 31200, "kind": "latency", "total_ms": 512, …}

What people say is written only when the log was opened `with_words`. Without, every word becomes `·`
marks of its length, and the log can be read but not replayed: turn-taking judges words, so a replay
needs them. Whoever wants to replay calls (`parley call --log`) opens it with words.
"""

from __future__ import annotations

import json
import queue
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from loguru import logger

from agent.decisions import Decision
from agent.evidence import Evidence
from agent.pace import TurnOptions
from common.errors import ConfigError
from common.privatefile import only_ours, wait_until_written

GIVE = "Give what `parley call --log` or `parley serve --log-dir` wrote."
_FORMAT = 1
# Every field that holds what somebody said, in evidence, decisions and the pipeline's own entries.
_SPOKEN_FIELDS = frozenset({"text", "heard", "unheard"})
_QUOTED = re.compile("“.*”")  # a reason names the words it judged
_CALLBACK = Callable[[dict[str, Any]], None]


class EventLog:
    """Takes entries from the event loop without ever waiting for the disk.

    Attributes:
        with_words: Whether what people say is written.
    """

    def __init__(self, path: Path | None = None, *, with_words: bool = False, **header: Any):
        """Open it.

        Args:
            path: File to write; None keeps no file and only tells subscribers.
            with_words: Write what people say. Needed for a replay.
            **header: Facts about the call for the first line (persona, pace, engines).
        """
        self.with_words = with_words
        self._subscribers: list[_CALLBACK] = []
        self._queue: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._path = path  # None: nothing is written, or no more
        self._written: Future[None] = Future()
        if path is not None:
            threading.Thread(
                target=self._drain, args=(path,), name="event-log", daemon=True
            ).start()
        begun = datetime.now().astimezone().isoformat(timespec="seconds")
        self.write("call", 0, format=_FORMAT, begun=begun, with_words=with_words, **header)

    def subscribe(self, callback: _CALLBACK) -> None:
        """Call `callback` with every further entry, words included, in the thread that writes it."""
        self._subscribers.append(callback)

    def write(self, kind: str, at_samples: int, **entry: Any) -> None:
        """Note something; returns at once.

        Args:
            kind: What sort of entry: "evidence", "decision", "latency", "heard", …
            at_samples: When, in samples received from the caller.
            **entry: Anything JSON can hold.
        """
        line = {"at": at_samples, "kind": kind, **entry}
        for callback in self._subscribers:
            callback(line)
        if self._path is not None:
            self._queue.put(line)

    def rules(self, options: TurnOptions) -> None:
        """Note how patient turn-taking is in this call; a replay needs it."""
        self.write("rules", 0, **asdict(options))

    def evidence(self, evidence: Evidence) -> None:
        """Note what turn-taking was told."""
        self._typed("evidence", evidence)

    def decision(self, decision: Decision) -> None:
        """Note what turn-taking decided."""
        self._typed("decision", decision)

    async def close(self) -> None:
        """Write what is left and close the file. Idempotent; a disk that hangs is not waited for."""
        if self._path is not None:
            path, self._path = self._path, None
            self._queue.put(None)
            await wait_until_written(self._written, path)

    def _typed(self, kind: str, what: Evidence | Decision) -> None:
        if not self._subscribers and self._path is None:
            return
        facts = _facts(what)
        self.write(kind, facts.pop("at"), type=type(what).__name__, **facts)

    def _drain(self, path: Path) -> None:
        lines = iter(self._queue.get, None)
        try:
            self._write_lines(path, lines)
        except (OSError, TypeError, ValueError) as error:
            logger.error("{} holds no more of this call: {}", path, error)
            for _ in lines:  # piled up, they would fill the memory
                pass
        finally:
            self._written.set_result(None)

    def _write_lines(self, path: Path, lines: Iterator[dict[str, Any]]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", encoding="utf-8", opener=only_ours) as file:
            for line in lines:
                if not self.with_words:
                    line = {key: _hidden(key, value) for key, value in line.items()}
                file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
                if self._queue.empty():
                    file.flush()


def read_log(path: Path) -> list[dict[str, Any]]:
    """All entries of an event log, of which the first describes the call.

    Raises:
        ConfigError: It cannot be read, is no event log, or one of another version.
    """
    entries: list[dict[str, Any]] = []
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            lines = list(file)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            if entries and not line.endswith("\n"):  # its writer was killed in the midst of it
                break
            raise ConfigError(f"{path}, line {number} is not JSON ({error.msg}).", GIVE) from error
        if not isinstance(entry, dict):
            raise ConfigError(f"{path}, line {number} is no entry of an event log.", GIVE)
        entries.append(entry)
    header = entries[0] if entries else {}
    if header.get("kind") != "call" or header.get("format") != _FORMAT:
        raise ConfigError(f"{path} is no event log of this version.", GIVE)
    return entries


def _facts(what: Evidence | Decision) -> dict[str, Any]:
    """The fields of a piece of evidence or a decision, nested dataclasses as dictionaries."""
    flat = {field.name: getattr(what, field.name) for field in fields(what)}
    if "hypothesis" in flat:
        flat["hypothesis"] = asdict(flat["hypothesis"])
    return flat


def _hidden(key: str, value: Any) -> Any:
    """`value` with every word that somebody said made illegible."""
    if isinstance(value, dict):
        return {inner: _hidden(inner, content) for inner, content in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden(key, content) for content in value]
    if isinstance(value, str) and key in _SPOKEN_FIELDS:
        return _blotted(value)
    if isinstance(value, str) and key == "reason":
        return _QUOTED.sub(lambda quoted: _blotted(quoted[0]), value)
    return value


def _blotted(words: str) -> str:
    return re.sub(r"\w", "·", words)
