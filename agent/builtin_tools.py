"""Tools every persona may name in its YAML."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field

from agent.tools import tool

__all__ = ["current_time", "end_call"]


def current_time(
    zone: Annotated[str, Field(description="IANA zone such as Europe/Paris; empty: here")] = "",
) -> str:
    """Tell the present date, weekday and time of day."""
    try:
        now = datetime.now(ZoneInfo(zone)) if zone else datetime.now().astimezone()
    except (ZoneInfoNotFoundError, ValueError):
        return f"There is no time zone '{zone}'."
    return f"{now:%A}, {now.day} {now:%B %Y}, {now:%H:%M} ({now.tzname()})"


@tool(answer_follows=False)
def end_call() -> str:
    """Hang up. Only after the caller has said goodbye and you have said it too, in this reply."""
    return "The call ends."
