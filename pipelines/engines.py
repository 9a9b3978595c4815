"""Opening the models that conversations share, each from one word, folder or address."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from asr.interface import AsrEngine
from common.errors import CheckpointError, ParleyError
from common.keys import read_key
from tts.interface import TtsEngine

PACKAGE_ROOT = Path(__file__).resolve().parent.parent
NANO_ASR = PACKAGE_ROOT / "asr" / "nano"
NANO_TTS = PACKAGE_ROOT / "tts" / "nano"
DEFAULT_ASR = "sphinx"
DEFAULT_TTS = "nano"


@dataclass(frozen=True, slots=True)
class Engines:
    """The ears and the voice, loaded once and shared by every conversation of the process."""

    asr: AsrEngine
    tts: TtsEngine

    async def close(self) -> None:
        """Stop both engines."""
        await asyncio.gather(self.asr.close(), self.tts.close())


async def open_engines(asr: str = DEFAULT_ASR, tts: str = DEFAULT_TTS) -> Engines:
    """Open both engines, the voice first: on a shared GPU the ears take most of what it leaves.

    Args:
        asr: See `open_asr`.
        tts: See `open_tts`.

    Raises:
        ParleyError: One of them cannot be opened; the message says which and how to mend it.
    """
    voice = await open_tts(tts)
    try:
        return Engines(await open_asr(asr), voice)
    except BaseException:
        await voice.close()
        raise


async def open_asr(
    spec: str = DEFAULT_ASR, *, delay_ms: int | None = None, max_streams: int | None = None
) -> AsrEngine:
    """Open a recogniser.

    Args:
        spec: `sphinx` (pocketsphinx), `nano` (our own Voxtral Realtime, shipped), `mistral` (hosted,
            needs MISTRAL_API_KEY), a `ws://` or `wss://` address of a vLLM server, or the folder of
            a Voxtral Realtime checkpoint.
        delay_ms: How far the words trail the voice, for engines where that can be chosen.
        max_streams: Callers at once on a Voxtral Realtime in process; None measures.
    """
    if spec == "sphinx":
        from asr.sphinx import SphinxEngine

        engine = SphinxEngine()
        await engine.warm_up()
        return engine
    if spec == "mistral":
        from asr.remote.mistral import MistralAsrEngine

        return MistralAsrEngine(api_key=_mistral_key("--asr mistral"), delay_ms=delay_ms)
    if _is_url(spec, "ws", "wss", "http", "https"):
        from asr.remote.vllm import VllmAsrEngine

        return await VllmAsrEngine.connect(spec)
    folder = _folder(spec, NANO_ASR, "--asr", "nano, sphinx, mistral")
    from asr.engine import VoxtralRealtimeEngine

    return await _off_the_loop(
        VoxtralRealtimeEngine.load, folder, delay_ms=delay_ms, max_streams=max_streams
    )


async def open_tts(spec: str = DEFAULT_TTS) -> TtsEngine:
    """Open a synthesiser.

    Args:
        spec: `nano` (our own Voxtral TTS, shipped), `espeak` (espeak-ng, from the system), `mistral`
            (hosted, needs MISTRAL_API_KEY), an `http://` or `https://` address of a vLLM-Omni
            server, or the folder of a Voxtral TTS checkpoint.
    """
    if spec == "espeak":
        from tts.espeak import EspeakEngine

        return await _off_the_loop(EspeakEngine)
    if spec == "mistral":
        from tts.remote.mistral import MistralTtsEngine

        return await MistralTtsEngine.connect(api_key=_mistral_key("--tts mistral"))
    if _is_url(spec, "http", "https"):
        from tts.remote.vllm import VllmTtsEngine

        return await VllmTtsEngine.connect(spec)
    folder = _folder(spec, NANO_TTS, "--tts", "nano, espeak, mistral")
    from tts.engine import VoxtralTtsEngine

    return await _off_the_loop(VoxtralTtsEngine.load, folder)


async def _off_the_loop(load, *args, **kwargs):  # type: ignore[no-untyped-def]
    """Load a model on a thread of its own: seconds of work must not stop running calls."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def settle(outcome, value):  # type: ignore[no-untyped-def]
        if not future.done():
            outcome(value)

    def tell(outcome, value):  # type: ignore[no-untyped-def]
        with suppress(RuntimeError):  # the loop is closed: Ctrl-C came first
            loop.call_soon_threadsafe(settle, outcome, value)

    def work() -> None:
        try:
            result = load(*args, **kwargs)
        except BaseException as error:
            tell(future.set_exception, error)
        else:
            tell(future.set_result, result)

    threading.Thread(target=work, name=f"load-{getattr(load, '__qualname__', 'model')}").start()
    return await future


def _folder(spec: str, nano: Path, option: str, words: str) -> Path:
    folder = nano if spec == "nano" else Path(spec).expanduser()
    if not (folder / "params.json").is_file():
        raise CheckpointError(
            f"{option} {spec}: {folder} holds no params.json, so it is no checkpoint folder.",
            f"Give {words}, the address of a server, or a folder with params.json and "
            "consolidated.safetensors.",
        )
    return folder


def _is_url(spec: str, *schemes: str) -> bool:
    return urlsplit(spec).scheme in schemes


def _mistral_key(option: str) -> str:
    if not (key := read_key("MISTRAL_API_KEY")):
        raise ParleyError(f"{option} needs a key.", "Put it into the environment: MISTRAL_API_KEY.")
    return key
