from __future__ import annotations

from pathlib import Path

import pytest

from tests.tts.checkpoints import write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with random weights, presets and a codec encoder."""
    return write_checkpoint(tmp_path_factory.mktemp("tts") / "toy")


@pytest.fixture(autouse=True)
def voices_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the tests away from the voices of whoever runs them."""
    folder = tmp_path / "voices"
    monkeypatch.setenv("PARLEY_VOICES", str(folder))
    return folder
