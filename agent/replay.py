"""A recorded call once more: the same evidence must lead to the same decisions, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import decisions as known_decisions
from agent import evidence as known_evidence
from agent.decisions import Decision
from agent.eventlog import GIVE, read_log
from agent.evidence import Evidence
from agent.pace import BALANCED, TurnOptions, options_for
from agent.turns import TurnTaking
from asr.interface import Hypothesis, Word
from common.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Replayed:
    """The outcome of a replay.

    Attributes:
        evidence_count: Pieces of evidence fed.
        decisions: What turn-taking decided this time.
        difference: The first difference to the recording, in words; empty when there is none.
    """

    evidence_count: int
    decisions: tuple[Decision, ...]
    difference: str


def replay(log: Path, *, pace: str | None = None) -> Replayed:
    """Feed a recorded call through turn-taking again.

    Args:
        log: What `EventLog` wrote, with words.
        pace: Try another pace than the recorded one; then differences are expected.

    Raises:
        ConfigError: The file is no such log, or was written without words.
    """
    entries = read_log(log)
    if not entries[0].get("with_words"):
        raise ConfigError(
            f"{log} was written without words.",
            "Turn-taking judges words: record calls with --log-words.",
        )
    try:
        rules = _rules(entries)
        evidence = [_evidence(entry) for entry in entries if entry["kind"] == "evidence"]
        recorded = [
            _rebuilt(known_decisions, entry) for entry in entries if entry["kind"] == "decision"
        ]
    except (AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"{log} holds a malformed entry: {error}.", GIVE) from error
    turns = TurnTaking(options_for(pace) if pace else rules)
    decided = [decision for piece in evidence for decision in turns.observe(piece)]
    return Replayed(len(evidence), tuple(decided), _first_difference(recorded, decided))


def _rules(entries: list[dict[str, Any]]) -> TurnOptions:
    for entry in entries:
        if entry["kind"] == "rules":
            told = {key: value for key, value in entry.items() if key not in ("kind", "at")}
            return TurnOptions(**{**told, "patience_ms": tuple(told["patience_ms"])})
    return BALANCED


def _evidence(entry: dict[str, Any]) -> Evidence:
    if entry["type"] == "Heard":
        told = entry["hypothesis"]
        words = tuple(Word(**word) for word in told["words"])
        return known_evidence.Heard(entry["at"], Hypothesis(**{**told, "words": words}))
    return _rebuilt(known_evidence, entry)


def _rebuilt(module: Any, entry: dict[str, Any]) -> Any:
    kind = getattr(module, entry["type"])
    return kind(**{key: value for key, value in entry.items() if key not in ("kind", "type")})


def _first_difference(recorded: list[Decision], decided: list[Decision]) -> str:
    for number, (then, now) in enumerate(zip(recorded, decided, strict=False), 1):
        if then != now:
            return f"decision {number}: recorded {then}, now {now}"
    if len(recorded) > len(decided):
        return f"decision {len(decided) + 1}: recorded {recorded[len(decided)]}, now nothing"
    if len(decided) > len(recorded):
        return f"decision {len(recorded) + 1}: recorded nothing, now {decided[len(recorded)]}"
    return ""
