"""The loss picture that goes on a model card."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot


def losses(work: Path, picture: Path) -> None:
    """Draw what the runs in `work` logged, training dotted, validation drawn through.

    What was unpacked from another checkpoint has no log and is left out.
    """
    wanted = [
        (work / run / "log.jsonl", name, f"{run}: {title}")
        for run, name, title in (
            ("codec", "spectra", "spectral distance"),
            ("codec", "phones", "phone cross-entropy"),
            ("speech", "semantic", "semantic cross-entropy"),
            ("speech", "flow", "flow error"),
            ("decoder", "spectra", "spectral distance"),
            ("decoder", "periodicity", "lost periodicity"),
        )
    ]
    wanted = [panel for panel in wanted if panel[0].exists()]
    figure, panels = pyplot.subplots(1, len(wanted), figsize=(3.75 * len(wanted), 3.2))
    for panel, (log, name, title) in zip(panels, wanted, strict=True):
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        lines = [line for line in lines if name in line]
        minutes = [line["core_minutes"] for line in lines]
        panel.plot(minutes, [line[name] for line in lines], ":", label="training")
        panel.plot(minutes, [line[f"val_{name}"] for line in lines], label="validation")
        panel.set(title=title, xlabel="core minutes")
        panel.legend()
    figure.tight_layout()
    figure.savefig(picture, dpi=70)
    pyplot.close(figure)
