"""Work shared out among processes ends as a whole: at a failure, at Ctrl-C, with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import ParleyError
from training.processes import side_by_side

MAIN = """
from pathlib import Path
from training.processes import side_by_side
from tests.training.test_processes import sleep
side_by_side(sleep, [(Path({folder!r}), name) for name in "abcdef"], 2, "sleeping")
"""


def sleep(folder: Path, name: str) -> None:
    (folder / name).write_text(str(os.getpid()))
    time.sleep(60)


def fail_at_once(folder: Path, name: str) -> None:
    (folder / name).touch()
    raise ParleyError("There is no synthesiser.")


def test_the_first_failure_ends_the_others(tmp_path: Path) -> None:
    jobs = [(tmp_path, str(number)) for number in range(500)]
    with pytest.raises(ParleyError, match="no synthesiser"):
        side_by_side(fail_at_once, jobs, 2, "failing")
    assert len(list(tmp_path.iterdir())) < 100


def until(there: Callable[[], bool]) -> None:
    """Wait for what must happen soon; a test that waits in vain is ended from outside."""
    while not there():
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has buried yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_first(tmp_path: Path, how: signal.Signals) -> None:
    command = [sys.executable, "-c", MAIN.format(folder=str(tmp_path))]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as main:
        until(lambda: sum(bool(path.read_text()) for path in tmp_path.iterdir()) == 2)
        pids = [int(path.read_text()) for path in tmp_path.iterdir()]
        assert all(map(alive, pids))
        main.send_signal(how)
        assert main.wait() == -how
    until(lambda: not any(map(alive, pids)))
    assert len(list(tmp_path.iterdir())) == 2
