"""Opening the ears and the voice together."""

from types import SimpleNamespace

import pytest

import pipelines.engines
from common.errors import CheckpointError, ParleyError
from pipelines.engines import open_asr, open_engines, open_tts


@pytest.fixture
def opened(monkeypatch):
    """What happened, in order; ears of the name `broken` cannot be opened."""
    seen = []

    def opener(which):
        async def close():
            seen.append(f"{which} closed")

        async def open_(spec):
            seen.append(f"{which} begins")
            if spec == "broken":
                raise CheckpointError("No ears.")
            seen.append(f"{which} ready")
            return SimpleNamespace(close=close)

        return open_

    monkeypatch.setattr(pipelines.engines, "open_tts", opener("voice"))
    monkeypatch.setattr(pipelines.engines, "open_asr", opener("ears"))
    return seen


async def test_the_ears_begin_when_the_voice_has_its_memory_and_its_graphs(opened):
    engines = await open_engines("ears", "voice")
    assert opened == ["voice begins", "voice ready", "ears begins", "ears ready"]
    await engines.close()
    assert set(opened[4:]) == {"voice closed", "ears closed"}


async def test_ears_that_cannot_be_opened_leave_no_voice_behind(opened):
    with pytest.raises(CheckpointError, match="No ears"):
        await open_engines("broken", "voice")
    assert opened[-1] == "voice closed"


@pytest.mark.parametrize("open_mistral", [open_asr, open_tts])
async def test_a_key_that_cannot_be_sent_is_refused_without_being_quoted(open_mistral, monkeypatch):
    monkeypatch.setenv("MISTRAL_API_KEY", "first-line\nsecond-line\n")
    with pytest.raises(ParleyError, match="MISTRAL_API_KEY holds") as refused:
        await open_mistral("mistral")
    assert "first-line" not in str(refused.value)


async def test_pocketsphinx_is_awake_before_the_first_caller():
    ears = await open_asr("sphinx")
    (waiting,) = ears._idle
    stream = await ears.open()
    assert stream._worker is waiting
    await ears.close()
