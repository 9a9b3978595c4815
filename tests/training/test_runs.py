"""Optimisers, their rates, and runs that end by the clock and go on where they ended."""

from __future__ import annotations

import json

import pytest
import torch

from common.errors import ParleyError
from training.optimise import Rates, Schedule, optimisers, orthogonalised
from training.voice.timed_run import TimedRun


def test_orthogonalised_updates_have_singular_values_near_one():
    torch.manual_seed(0)
    for shape in ((2, 40, 96), (1, 96, 40)):
        values = torch.linalg.svdvals(orthogonalised(torch.randn(shape)))
        assert values.min() > 0.5
        assert values.max() < 1.5


def test_a_run_that_goes_on_learns_as_fast_as_a_new_one():
    def new():
        return optimisers(torch.nn.Linear(40, 40), 0.1, 0.01, 0.001, ())

    steppers = new()
    Schedule(steppers, warm_up_steps=1, decay_share=0.5).set(9, 0.95)
    assert steppers[0].param_groups[0]["lr"] == pytest.approx(0.01)
    later = new()
    rates = Rates(later)
    for stepper, saved in zip(later, steppers, strict=True):
        stepper.load_state_dict(saved.state_dict())
    rates.scale(1.0)
    assert [g["lr"] for stepper in later for g in stepper.param_groups] == [0.1, 0.01, 0.001]


def run_of(folder, *, inputs=40, minutes=0.001, start_from=None):
    """A run of some steps, each of which is logged."""
    module = torch.nn.Linear(inputs, 40)
    steppers = optimisers(module, 0.1, 0.01, 0.001, ())
    timed = TimedRun(
        folder,
        module,
        steppers,
        Schedule(steppers, 1, 0.5),
        core_minutes=minutes,
        seed=1,
        largest_gradient=1.0,
        start_from=start_from,
        about={},
    )

    def losses(done):
        loss = module(torch.ones(1, inputs)).square().mean()
        return loss, {"loss": loss.detach()}

    timed.go("toy", losses, lambda: {}, lambda line: "", log_every=1)
    return timed


def logged(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_what_a_killed_run_did_after_it_was_saved_is_not_in_the_log_twice(tmp_path):
    run_of(tmp_path)
    saved = logged(tmp_path)
    with (tmp_path / "log.jsonl").open("a") as log:  # it was killed in the middle of a line
        log.write(json.dumps(saved[-1] | {"step": saved[-1]["step"] + 1}) + '\n{"loss": 0.1')
    run_of(tmp_path, minutes=0.003)
    steps = [line["step"] for line in logged(tmp_path)]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) > len(saved)


def test_a_run_with_other_settings_is_refused(tmp_path):
    run_of(tmp_path / "wide")
    with pytest.raises(ParleyError, match="not left by a run with these settings"):
        run_of(tmp_path / "wide", inputs=48)
    with pytest.raises(ParleyError, match="another size"):
        run_of(tmp_path / "new", inputs=48, start_from=tmp_path / "wide" / "state.pt")
