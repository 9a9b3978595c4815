"""`parley call`: a recording calls the agent, and both sides come back as one stereo wav."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from functools import partial
from itertools import combinations
from pathlib import Path
from signal import SIGINT
from typing import Annotated, Any

import typer

from cli.transcript import as_event, as_line
from common.errors import AudioError, ParleyError


def call(
    recording: Annotated[Path, typer.Argument(help="The caller: wav, flac, mp3, opus; any rate.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Stereo wav or flac: caller left, agent right.")
    ] = Path("call.wav"),
    persona: Annotated[str, typer.Option(help="Who answers: a name, or a YAML file.")] = "parley",
    voice: Annotated[str, typer.Option(help="Which voice; the persona's when left out.")] = "",
    asr: Annotated[str, typer.Option(help="Ears: nano, sphinx, mistral, a folder, a URL.")] = "",
    tts: Annotated[str, typer.Option(help="Voice: nano, espeak, mistral, a folder, a URL.")] = "",
    llm: Annotated[str, typer.Option(help="Brain: auto, script, mistral[:MODEL], a URL.")] = "auto",
    greeting: Annotated[
        bool, typer.Option(help="The agent speaks first, and the recording waits for it.")
    ] = True,
    log: Annotated[
        Path | None, typer.Option(help="Event log (JSON lines, words included) for `replay`.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object about the call instead of text.")
    ] = False,
) -> None:
    """Let a recording call the agent, in real time, through the same pipeline as any other call.

    The quickest way to try a persona, a voice or a model. The recording may hold pauses and
    interruptions: the agent hears it while it speaks. Ctrl-C hangs up; what was said by then is kept.

    Examples:
        parley call question.wav -o both.wav

        parley call question.wav --log call.jsonl && parley replay call.jsonl
    """
    from cli.log import set_up_log

    set_up_log("WARNING")
    asyncio.run(_call(recording, output, persona, voice, asr, tts, llm, greeting, log, as_json))


async def _call(
    recording: Path,
    output: Path,
    persona_name: str,
    voice: str,
    asr: str,
    tts: str,
    llm: str,
    greeting: bool,
    log_path: Path | None,
    as_json: bool,
) -> None:
    from agent.eventlog import EventLog
    from agent.llm_choice import choose_llm
    from agent.persona import load_persona
    from asr.interface import SAMPLE_RATE_HZ as HEARD_HZ
    from cli.output import check_writable
    from common.audiofile import read_audio
    from pipelines.conversation import Conversation
    from pipelines.engines import DEFAULT_ASR, DEFAULT_TTS, open_engines
    from pipelines.file_call import FileCallOptions, call_with_recording
    from pipelines.recorder import Recorder
    from tts.interface import SAMPLE_RATE_HZ as SAID_HZ

    _refuse_overwriting({"The recording": recording, "--output": output, "--log": log_path})
    if output.suffix not in (".wav", ".flac"):
        raise ParleyError(f"{output} is no name for a recording.", "End it in .wav or .flac.")
    check_writable(output)
    if log_path is not None:
        check_writable(log_path)
    persona = load_persona(persona_name)
    caller = read_audio(recording, HEARD_HZ)
    if not len(caller):
        raise AudioError(f"{recording} is empty.", "Give a recording with sound in it.")
    choice = await choose_llm(llm)
    engines = await open_engines(asr or DEFAULT_ASR, tts or DEFAULT_TTS)
    events: list[dict[str, Any]] = []
    recorder = Recorder(output)
    try:
        event_log = EventLog(log_path, with_words=True, persona=persona.name, pace=persona.pace)
        event_log.subscribe(partial(_note, events, print_it=not as_json))
        conversation = Conversation(
            engines,
            choice.open(persona),
            persona,
            voice=voice or persona.voice or None,  # as an order: one that is not there is told of
            log=event_log,
            recorder=recorder,
        )
        with suppress(NotImplementedError):  # where signals are no events, Ctrl-C loses the call
            asyncio.get_running_loop().add_signal_handler(SIGINT, conversation.ended.set)
        try:
            await call_with_recording(conversation, caller, FileCallOptions(greeting=greeting))
        finally:
            await conversation.close()
    finally:
        await engines.close()
        await choice.close()
    seconds = recorder.samples / SAID_HZ
    if recorder.failure:
        raise ParleyError(
            f"{output} holds only {seconds:.1f} s of the call: {recorder.failure}.",
            "Make room there, or choose another --output.",
        )
    if as_json:
        messages = conversation.context.get_messages()
        about = {"output": str(output), "seconds": round(seconds, 3)}
        print(json.dumps(about | {"events": events, "memory": messages}, ensure_ascii=False))
    else:
        typer.echo(f"{output}: {seconds:.1f} s, caller left, agent right.")


def _refuse_overwriting(files: dict[str, Path | None]) -> None:
    given = [(what, path) for what, path in files.items() if path is not None]
    for (one, path), (other, same) in combinations(given, 2):
        both_exist = path.exists() and same.exists()
        if path.resolve() == same.resolve() or (both_exist and path.samefile(same)):
            raise ParleyError(f"{one} and {other} are the same file: {same}.", "Name another file.")


def _note(events: list[dict[str, Any]], entry: dict[str, Any], *, print_it: bool) -> None:
    event = as_event(entry)
    if event:
        events.append(event)
    if print_it and (line := as_line(entry)):
        typer.echo(line)
