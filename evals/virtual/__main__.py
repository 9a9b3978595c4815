"""`python -m evals.virtual`: every scenario with every set of scripted engines, and what came of it."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence

from agent.pace import options_for
from evals.scenario import Behaviour, load_all
from evals.virtual.measure import STOP_MS, Outcome, measure
from evals.virtual.world import DELAYED, ECHOING, FAST, HARSH, World

ENGINES = {"fast": FAST, "delayed": DELAYED, "harsh": HARSH, "echoing": ECHOING}


def run_all(engines: str, pace: str = "balanced") -> list[Outcome]:
    """Every scenario once."""
    return [
        measure(scenario, World(scenario, ENGINES[engines], options_for(pace)).play())
        for scenario in load_all()
    ]


def share(outcomes: Sequence[Outcome], what: str) -> float:
    """Share of outcomes for which a yes-or-no attribute holds."""
    return sum(bool(getattr(outcome, what)) for outcome in outcomes) / len(outcomes)


def percentile(values: Sequence[float], part: float) -> float:
    """Nearest-rank percentile."""
    return sorted(values)[min(int(part * len(values)), len(values) - 1)] if values else float("nan")


def table(outcomes: Sequence[Outcome]) -> str:
    """One line per family."""
    lines = []
    for family in dict.fromkeys(outcome.scenario.family for outcome in outcomes):
        members = [o for o in outcomes if o.scenario.family == family and o.valid]
        void = sum(o.scenario.family == family and not o.valid for o in outcomes)
        line = f"{family}  n={len(members):3d} void={void:2d}  "
        if members[0].scenario.expect is Behaviour.RESPOND:
            v2v = [o.v2v_ms for o in members if o.v2v_ms is not None]
            line += f"takeover {share(members, 'took_over'):.3f}  miss {1 - len(v2v) / len(members):.3f}  "
            line += f"v2v p50 {percentile(v2v, 0.5):4.0f} p95 {percentile(v2v, 0.95):4.0f} ms  "
            line += f"lost {sum(len(o.lost) for o in members):2d}  "
            if family in "IR":
                stops = [o.stop_ms for o in members if o.stop_ms is not None]
                line += f"yield {share(members, 'yielded'):.3f}  stop p95 {percentile(stops, 0.95):3.0f} ms  "
            line += f"answers {statistics.mean(o.answers for o in members):.2f}"
        else:
            stopped = sum(o.silenced_ms >= STOP_MS or o.hard_stop for o in members) / len(members)
            held = [o.silenced_ms for o in members]
            line += f"stopped {stopped:.3f}  hard {share(members, 'hard_stop'):.3f}  "
            line += (
                f"silenced p50 {percentile(held, 0.5):3.0f} p95 {percentile(held, 0.95):3.0f} ms  "
            )
            line += f"answered {share(members, 'answered'):.3f}"
        lines.append(line)
    return "\n".join(lines)


if __name__ == "__main__":
    for name in sys.argv[1:] or ENGINES:
        print(f"— {name}\n{table(run_all(name))}")
