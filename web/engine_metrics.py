"""What the engines say of themselves, as Prometheus gauges read at each scrape."""

from __future__ import annotations

import statistics
from inspect import isawaitable
from typing import Any

from prometheus_client import Gauge

from pipelines.engines import Engines
from web.metrics import Metrics


class EngineMetrics:
    """Publishes streams, batch and step time of both engines; remote and simple ones have none."""

    def __init__(self, engines: Engines, metrics: Metrics):
        """Register the gauges; `metrics` then reads the engines before each scrape."""
        self._engines = {"asr": engines.asr, "tts": engines.tts}
        self._gauges = {
            name: Gauge(f"parley_engine_{name}", about, ["engine"], registry=metrics.registry)
            for name, about in (
                ("streams", "Callers that the engine serves now."),
                ("streams_max", "Callers that it can serve in time."),
                ("batch", "Streams served by its last step."),
                ("step_seconds", "Median duration of its recent steps."),
                ("underruns", "Frames that came too late."),
            )
        }
        metrics.before_scrape.append(self.read)

    async def read(self) -> None:
        """Take the engines' own figures."""
        for role, engine in self._engines.items():
            measure: Any = getattr(engine, "metrics", None)
            told = measure() if callable(measure) else measure
            if isawaitable(told):
                told = await told
            if told is None:
                continue
            streams = getattr(told, "streams", getattr(told, "speakers", 0))
            batches = getattr(told, "batch_sizes", ()) or (streams,)
            for name, value in (
                ("streams", streams),
                ("streams_max", getattr(told, "max_streams", getattr(told, "max_speakers", 0))),
                ("batch", batches[-1]),
                ("step_seconds", statistics.median(told.step_ms or (0.0,)) / 1000),
                ("underruns", getattr(told, "underruns", 0)),
            ):
                self._gauges[name].labels(role).set(value)
