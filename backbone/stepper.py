"""The thread that owns a model.

Only this thread touches the model and its state. Event loops hand it functions to run between two
steps and get results back through `call_soon_threadsafe`; nothing computes on a loop or on the
default executor, where the transport encodes its audio.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from loguru import logger

from common.errors import ParleyError

P = ParamSpec("P")
T = TypeVar("T")


class Stepper:
    """Runs `step` again and again on a thread of its own.

    Args:
        name: Of the thread and in errors.
        step: Does one step. Returns the seconds after which it wants to run again (0: at once), or
            None when there is nothing to do until something is posted.
        failed: Told once, on the thread, when `step` raised; the thread then ends.
        cpu_threads: How many threads torch may use for a step. Torch keeps this number per process
            for threads that start later.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], float | None],
        *,
        failed: Callable[[Exception], None],
        cpu_threads: int = 1,
    ):
        self.name = name
        self._step = step
        self._failed = failed
        self._cpu_threads = cpu_threads
        self._posted: deque[Callable[[], None]] = deque()
        self._bell = threading.Event()
        self._door = threading.Lock()  # nothing may be posted after the last look at the post
        self._stopping = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def why_stopped(self) -> str:
        """Why nothing more can be posted; empty while the thread runs."""
        if not self._stopping:
            return ""
        return f"{self.name} has stopped{f': {self._error!r}' if self._error else ''}."

    def post(self, function: Callable[[], None]) -> None:
        """Run a function on the thread between two steps. From any thread; returns at once.

        Raises:
            ParleyError: The thread has ended.
        """
        with self._door:
            if self._stopping:
                raise ParleyError(self.why_stopped, "Restart it." if self._error else "")
            self._posted.append(function)
        self._bell.set()

    def wake(self) -> None:
        """Something new is there for `step` to see. From any thread; returns at once."""
        self._bell.set()

    async def call(
        self, function: Callable[[], T], *, undo: Callable[[T], None] = lambda result: None
    ) -> T:
        """Run a function on the thread between two steps and wait for what it returns or raises.

        Args:
            function: Runs in any case, even when the waiting is cancelled.
            undo: Then takes back what nobody received; on the thread, too.

        Raises:
            ParleyError: The thread has ended.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        results: list[T] = []

        def run() -> None:
            try:
                results.append(function())
            except Exception as error:
                deliver(loop, _reject, answer, error)
            else:
                deliver(loop, _resolve, answer, results[0])

        def take_back() -> None:
            for result in results:
                undo(result)

        self.post(run)
        try:
            return await answer
        except asyncio.CancelledError:
            with suppress(ParleyError):
                self.post(take_back)
            raise

    async def close(self) -> None:
        """Let the current step finish and end the thread. Idempotent."""
        with suppress(ParleyError):
            await self.call(lambda: self._stop(None))
        self._thread.join()  # it has left its loop, so this does not block

    def _stop(self, error: Exception | None) -> None:
        with self._door:
            self._error = error
            self._stopping = True

    def _run(self) -> None:
        torch.set_num_threads(self._cpu_threads)
        with torch.inference_mode():
            try:
                self._work()
            except Exception as error:
                logger.exception("{} failed", self.name)
                self._stop(error)
            self._answer_posted()  # whoever still waits gets an answer
        if self._error is not None:
            self._failed(self._error)  # last: whoever was let in just now must be told too

    def _work(self) -> None:
        while not self._stopping:
            self._bell.clear()
            self._answer_posted()
            wait_s = None if self._stopping else self._step()
            if not self._stopping and wait_s != 0:
                self._bell.wait(wait_s)

    def _answer_posted(self) -> None:
        while self._posted:
            try:
                self._posted.popleft()()
            except Exception:  # what one caller wanted must not end it for all
                logger.exception("{} could not do what was posted", self.name)


def on_one_core(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate what prepares a model: it runs on a thread where torch uses no other.

    Operations of microseconds gain nothing from a second thread, and on a busy machine each of them
    waits until that one is scheduled.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return pool.submit(function, *args, **kwargs).result()

    return run


def deliver(loop: asyncio.AbstractEventLoop, function: Callable[..., Any], *args: Any) -> None:
    """Run a function on an event loop from another thread; a loop that has closed misses nothing."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *args)


def _resolve(answer: asyncio.Future[T], result: T) -> None:
    if not answer.done():
        answer.set_result(result)


def _reject(answer: asyncio.Future[T], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
