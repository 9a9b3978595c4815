"""Offline answers to speech as it is really recognised: a synthetic caller, pocketsphinx, the script."""

from __future__ import annotations

import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest

from agent.persona import load_persona, small_talk
from agent.script import Dialogue, ScriptPlayer
from pipelines.engines import open_asr

SAID = {
    "parley": """what time is it / tell me a joke / how do you work / can i interrupt you / what are you /
        are you recording me / tell me a story / what can you do / my name is john / goodbye /
        are you a robot / how are you / thank you very much / can you hear me / help me please""",
    "restaurant": """i would like to book a table / when are you open / what is on the menu /
        where can i park / can i bring my dog / how expensive is it / what is your address""",
}
VOICES = ("slt", "rms")
BAR = 0.9  # measured 1.0 when written; what is missed gets a reply that keeps the talk going

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed"),
]


def speak(text: str, voice: str, folder: Path) -> np.ndarray:
    path = folder / "said.wav"
    subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
    with wave.open(str(path)) as wav:
        assert wav.getframerate() == 16_000
        pcm = np.frombuffer(wav.readframes(wav.getnframes()), np.int16)
    return np.pad(pcm.astype(np.float32) / 32768, (4_800, 9_600))


async def test_most_of_what_is_said_lands(tmp_path):
    ears = await open_asr("sphinx")
    landed = []
    for name, lines in SAID.items():
        player = ScriptPlayer(load_persona(name).script, small_talk())
        for text in (line.strip() for line in " ".join(lines.split()).split("/")):
            for voice in VOICES:
                stream = await ears.open()
                stream.feed(speak(text, voice, tmp_path))
                heard = (await stream.flush()).text
                await stream.close()
                meant, got = (player.topic_of(Dialogue(), words) for words in (text, heard))
                assert meant is not None, text
                landed.append((meant == got, text, heard))
    await ears.close()
    missed = [(text, heard) for good, text, heard in landed if not good]
    assert 1 - len(missed) / len(landed) >= BAR, missed
