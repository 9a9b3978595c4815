"""What `/metrics` tells Prometheus, fed by small hooks that cost a call next to nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_TURN_BUCKETS_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0)
_CONNECT_BUCKETS_S = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """One server's counters. Each app has its own registry, so several can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.before_scrape: list[Callable[[], Awaitable[None]]] = []
        self.offers = Counter(
            "parley_offers", "Offers of calls, by what became of them.", ["outcome"],
            registry=self.registry,
        )  # fmt: skip
        self.offer_s = Histogram(
            "parley_offer_seconds", "From a call's offer to its answer.",
            buckets=_CONNECT_BUCKETS_S, registry=self.registry,
        )  # fmt: skip
        self.turn_s = Histogram(
            "parley_turn_seconds", "From the caller's last word to the agent's first sound.",
            buckets=_TURN_BUCKETS_S, registry=self.registry,
        )  # fmt: skip
        self.turn_part_s = Histogram(
            "parley_turn_part_seconds", "Where a turn's time went.", ["part"],
            buckets=_TURN_BUCKETS_S, registry=self.registry,
        )  # fmt: skip
        self.interruptions = Counter(
            "parley_interruptions", "Times a caller cut the agent short.", registry=self.registry
        )
        self.underruns = Counter(
            "parley_playout_underruns", "Times a caller's playout ran dry within an utterance.",
            registry=self.registry,
        )  # fmt: skip
        self.transfers = Counter(
            "parley_transfers", "Callers to be put through, by what became of it.", ["outcome"],
            registry=self.registry,
        )  # fmt: skip
        self.errors = Counter(
            "parley_errors", "Errors, by where.", ["where"], registry=self.registry
        )
        # Prometheus sees a counter rise only from a value that it knows: all begin at 0.
        for outcome in ("answered", "full", "failed"):
            self.offers.labels(outcome)
        for outcome in ("done", "failed"):
            self.transfers.labels(outcome)
        for where in ("call", "server"):
            self.errors.labels(where)

    def gauge(self, name: str, about: str, read: Callable[[], float]) -> None:
        """Publish a value that is read at every scrape, for example an engine's batch size."""
        Gauge(name, about, registry=self.registry).set_function(read)

    def observe(self, event: Mapping[str, Any]) -> None:
        """Take in one event of a call as its page is told it; most count for nothing here."""
        match event:
            case {"event": "latency", "total_ms": total_ms, "parts": parts}:
                self.turn_s.observe(total_ms / 1000)
                for part in parts:
                    self.turn_part_s.labels(part["name"]).observe(part["ms"] / 1000)
            case {"event": "agent_cut", "by": "caller", "heard": heard} if heard:
                self.interruptions.inc()
            case {"event": "transfer", "done": done}:
                self.transfers.labels("done" if done else "failed").inc()
            case {"event": "underrun"}:
                self.underruns.inc()
            case {"event": "error"}:
                self.errors.labels("call").inc()

    async def scrape(self) -> bytes:
        """The exposition format, after everyone in `before_scrape` has had a look."""
        for look in self.before_scrape:
            await look()
        return generate_latest(self.registry)
