from __future__ import annotations

import asyncio
import threading

import pytest

from backbone.stepper import Stepper
from common.errors import ParleyError


def no_failure(error: Exception) -> None:
    raise AssertionError(error)


async def test_commands_run_between_steps_on_the_one_thread():
    inside, threads = False, set()

    def step():
        nonlocal inside
        inside = True
        threads.add(threading.current_thread().name)
        inside = False
        return 0.001

    stepper = Stepper("tester", step, failed=no_failure)

    def command():
        threads.add(threading.current_thread().name)
        return inside

    assert await asyncio.gather(*(stepper.call(command) for _ in range(20))) == [False] * 20
    await stepper.close()
    assert threads == {"tester"}


async def test_an_idle_stepper_sleeps_until_it_is_woken():
    steps = 0

    def step():
        nonlocal steps
        steps += 1

    stepper = Stepper("sleeper", step, failed=no_failure)
    await asyncio.sleep(0.05)
    idle = steps
    assert idle <= 2
    stepper.wake()
    await asyncio.sleep(0.05)
    assert steps == idle + 1
    await stepper.close()


async def test_errors_of_a_command_reach_its_caller_only():
    stepper = Stepper("careful", lambda: None, failed=no_failure)

    def wrong():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await stepper.call(wrong)
    stepper.post(wrong)
    assert await stepper.call(lambda: 7) == 7
    await stepper.close()


async def test_what_a_cancelled_caller_did_not_receive_is_taken_back():
    stepper, taken_back = Stepper("patient", lambda: None, failed=no_failure), []
    waiting = asyncio.create_task(stepper.call(lambda: 7, undo=taken_back.append))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await stepper.call(lambda: 8, undo=taken_back.append) == 8
    assert taken_back == [7]
    await stepper.close()


async def test_a_failed_step_is_reported_once_and_later_calls_say_why():
    told, failed = [], threading.Event()

    def step():
        raise ZeroDivisionError("boom")

    stepper = Stepper("broken", step, failed=lambda error: (told.append(error), failed.set()))
    await asyncio.to_thread(failed.wait, 5)
    with pytest.raises(ParleyError, match=r"broken has stopped: ZeroDivisionError\('boom'\)"):
        await stepper.call(lambda: 1)
    await stepper.close()
    assert len(told) == 1


async def test_who_was_let_in_during_the_failing_step_is_told_too():
    stepping, go, let_in, told = threading.Event(), threading.Event(), [], []

    def step():
        stepping.set()
        go.wait(5)
        raise ZeroDivisionError("boom")

    stepper = Stepper("broken", step, failed=lambda error: told.extend(let_in))
    await asyncio.to_thread(stepping.wait, 5)
    entering = asyncio.create_task(stepper.call(lambda: let_in.append("me")))
    await asyncio.sleep(0)
    go.set()
    await entering
    await stepper.close()
    assert told == ["me"]


async def test_closing_twice_is_fine_and_refuses_new_work():
    stepper = Stepper("closed", lambda: None, failed=no_failure)
    await stepper.close()
    await stepper.close()
    with pytest.raises(ParleyError, match="closed has stopped"):
        stepper.post(lambda: None)
