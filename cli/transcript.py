"""`parley transcript`: what an event log tells of a call, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from asr.interface import SAMPLE_RATE_HZ

_EVENTS = {
    *("call", "ready", "caller_words", "agent_text", "agent_cut", "latency"),
    *("transfer", "error", "bye"),
}


def transcript(
    log: Annotated[Path, typer.Argument(help="Event log of a call.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per event instead of text.")
    ] = False,
) -> None:
    """Write down who said what and when: what was cut off, how soon answers came, how it ended.

    Reads what `parley serve --log-dir` and `parley call --log` write. Words show only if the log has
    them: `--log-words`.

    Examples:
        parley transcript calls/20261122T145808-fd92d4.jsonl

        parley transcript --json call.jsonl | jq 'select(.event == "latency").total_ms'
    """
    from agent.eventlog import read_log

    for entry in read_log(log):
        if as_json:
            event = as_event(entry)
            line = json.dumps(event, ensure_ascii=False) if event else ""
        else:
            line = as_line(entry)
        if line:
            typer.echo(line)


def as_event(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of an event log for a program; empty for one that tells nothing of the call."""
    if entry.get("kind") not in _EVENTS:
        return {}
    facts = {key: value for key, value in entry.items() if key not in ("at", "kind")}
    return {"at_s": round(_at_s(entry), 3), "event": entry["kind"]} | facts


def as_line(entry: dict[str, Any]) -> str:
    """An entry of an event log for people; empty for one that tells nothing of the call."""
    told = _told(entry)
    return f"{_at_s(entry):7.2f} s  {told}" if told else ""


def _at_s(entry: dict[str, Any]) -> float:
    return float(entry.get("at", 0) / SAMPLE_RATE_HZ)


def _told(entry: dict[str, Any]) -> str:
    match entry:
        case {"kind": "call", "begun": begun}:
            return f"begun {begun}"
        case {"kind": "ready", "persona": who, "asr": asr, "tts": tts, "llm": llm}:
            return f"{who} answers: ears {asr}, voice {tts}, brain {llm}"
        case {"kind": "caller_words", "final": True, "text": text} if text:
            return f"caller  {text}"
        case {"kind": "agent_text", "text": text}:
            return f"agent   {text.strip()}"
        case {"kind": "agent_cut", "heard": heard, "by": by}:
            how = "interrupted" if by == "caller" else "the voice broke off"
            return f"        {how} after: {heard or '(nothing)'}"
        case {"kind": "latency", "total_ms": total, "parts": parts}:
            named = ", ".join(f"{p['name']} {p['ms']:.0f}" for p in parts if p["ms"] >= 1)
            return f"        answered after {total:.0f} ms ({named})"
        case {"kind": "transfer", "done": True, "to": to}:
            return f"        put through to {to}"
        case {"kind": "transfer", "to": to, "reason": reason}:
            return f"        not put through to {to}: {reason}"
        case {"kind": "error", "message": message, "cure": cure}:
            return f"error   {message} {cure}"
        case {"kind": "bye", "reason": reason}:
            return f"ended: {reason}"
    return ""
