"""Work shared out among processes; it ends as a whole."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import active_children, parent_process
from typing import Any

from rich.progress import track


def side_by_side(
    work: Callable[..., None], given: Iterable[tuple[Any, ...]], processes: int, description: str
) -> None:
    """Call `work(*arguments)` for all arguments given, so many at a time, and show the progress.

    The first that fails ends all of it and its error is raised; so do Ctrl-C and the death of this
    process.

    Args:
        work: Importable by name.
        given: What can be sent to a process.
        processes: How many.
        description: Of the progress bar.
    """
    with ProcessPoolExecutor(processes, initializer=_begin) as pool:
        jobs = [pool.submit(work, *arguments) for arguments in given]
        try:
            for job in track(as_completed(jobs), description, total=len(jobs)):
                job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                process.terminate()
            raise


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first process's to answer
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := parent_process():
        parent.join()
    os._exit(1)
