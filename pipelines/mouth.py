"""The agent's side of a call: text in by clauses, audio to the playout, and which words were heard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from agent.clauses import ClauseSplitter
from agent.heard import Cut, HeardLedger
from common.errors import EngineFull, ParleyError
from pipelines.playout import Playout, Utterance
from pipelines.tasks import Tasks
from tts.interface import SpeechStream, SpokenWord, TtsEngine
from tts.speakable import Spoken

_ASK_AGAIN, _FULL_FOR_S = 40, 0.05  # two seconds in all


class Reply(Utterance):
    """One thing the agent says, from its first clause to its last sample.

    Attributes:
        turn: The caller's turn it answers; 0 for the greeting.
        remembered: Whether it belongs into the conversation's memory (an "mm-hm" does not).
        tool_calls: How many tools the model had called for its turn; None if no model wrote it.
        worded: Its first words are there. Until then it needs no voice and is in nobody's way.
        clauses: What was handed to the voice so far.
        shown: How many of them people were told of.
        broken: The voice failed before it had spoken all of it.
    """

    def __init__(
        self,
        turn: int,
        *,
        held: bool = False,
        interruptible: bool = True,
        remembered: bool = True,
        tool_calls: int | None = None,
    ):
        super().__init__(held=held, interruptible=interruptible)
        self.turn = turn
        self.remembered = remembered
        self.tool_calls = tool_calls
        self.worded = False
        self.clauses: list[str] = []
        self.shown = 0
        self.ledger = HeardLedger()
        self.splitter = ClauseSplitter()
        self.stream: SpeechStream | None = None
        self.text_ended = False
        self.cancelled = self.broken = False
        self.backlog: list[str] = []  # spoken text that waits for the stream to open
        self.waiting: list[str] = []  # clauses that wait until the reply is let go
        self._words: list[Spoken] = []
        self._planned = 0  # how many of `_words` are in the ledger
        self._parts: list[SpokenWord] = []  # of the word that comes next

    @property
    def text(self) -> str:
        """All that was handed to the voice."""
        return "".join(self.clauses).strip()

    @property
    def mute(self) -> bool:
        """The voice has made no sound yet of words that are to be heard."""
        return not self._begun and any(word.spoken for word in self._words)

    def on_gone(self, n_samples: int) -> None:
        """As `Utterance.on_gone`, noted in the ledger."""
        self.ledger.wrote(n_samples)

    def expect(self, clause: str, words: Sequence[Spoken]) -> None:
        """A clause goes to the voice as these words."""
        self.clauses.append(clause)
        self._words += words

    def spoke(self, word: SpokenWord) -> None:
        """The voice tells where a word lies; several spoken ones may make one that was written."""
        self._parts.append(word)
        start, end = self._parts[0].start_samples, self._parts[-1].end_samples
        while self._planned < len(self._words):
            parts = len(self._words[self._planned].spoken.split())
            if parts > len(self._parts):
                return
            # What is said as nothing (an emoji) is heard with the word that follows it.
            self.ledger.plan(start, end)
            self._planned += 1
            if parts:
                self._parts = []
                return

    def words_heard(self, downstream_samples: int) -> int:
        """How many of the written words the caller has heard."""
        if self.done and not self.broken and self.written_samples:
            return len(self._words)
        return self.ledger.words_heard(downstream_samples)

    def cut(self, downstream_samples: int) -> Cut:
        """Divide the text at what the caller has heard; what was never synthesised is unheard."""
        count = self.words_heard(downstream_samples)
        texts = [word.original for word in self._words]
        return Cut(" ".join(texts[:count]), " ".join(texts[count:]))


class Watcher(Protocol):
    """Who wants to know what the mouth does."""

    def on_text(self, reply: Reply) -> None:
        """The first text of a reply arrived."""

    def on_clause(self, reply: Reply, clause: str) -> None:
        """A clause was handed to the voice."""

    def on_frame(self, reply: Reply) -> None:
        """One more frame of a reply's audio exists."""

    def on_voice_failure(self, reply: Reply, error: ParleyError) -> None:
        """The voice cannot speak (any more)."""


class Mouth:
    """Speaks replies one after the other.

    Attributes:
        playout: Where the audio goes.
        writing: The reply that a language model is writing now.
    """

    def __init__(
        self,
        engine: TtsEngine,
        voice: str | None,
        speak: Callable[[str], Sequence[Spoken]],
        playout: Playout,
        watcher: Watcher,
    ):
        """Create it.

        Args:
            engine: The synthesiser, shared with other calls.
            voice: One of its voices; None for its default.
            speak: Turns a clause into words as they are spoken.
            playout: Takes the audio.
            watcher: Is told what happens.
        """
        self.playout = playout
        self.writing: Reply | None = None
        self._engine = engine
        self._voice = voice
        self._speak = speak
        self._watcher = watcher
        self._tasks = Tasks()

    @property
    def idle(self) -> bool:
        """Nothing is being said, prepared or written."""
        return self.playout.current is None and self.writing is None

    def write(self, reply: Reply, text: str) -> None:
        """Add text as it is written; whole clauses are spoken at once."""
        if reply.cancelled or reply.broken:
            return
        if not reply.worded and text.strip():
            reply.worded = True
            self._watcher.on_text(reply)
            self.playout.add(reply)
            # The voice is opened at once, so that the first clause finds it ready.
            self._tasks.start(self._synthesise(reply), "speech")
        for clause in reply.splitter.push(text):
            self._say_clause(reply, clause)

    def end(self, reply: Reply) -> None:
        """The reply's text is complete."""
        if reply.cancelled or reply.broken:
            return
        for clause in reply.splitter.flush():
            self._say_clause(reply, clause)
        if not reply.worded:
            self.playout.add(reply)
            reply.end()
        reply.text_ended = True
        self._end_text(reply)

    def let_go(self, reply: Reply) -> None:
        """A held reply may be heard now; what waited of it is spoken."""
        reply.held = False
        waiting, reply.waiting = reply.waiting, []
        for clause in waiting:
            self._say_clause(reply, clause)
        self._end_text(reply)

    def say(self, reply: Reply, text: str) -> Reply:
        """Speak a text that is there already."""
        self.write(reply, text)
        self.end(reply)
        return reply

    def drop(self, reply: Reply) -> None:
        """Throw away a reply of which nothing was heard."""
        self.playout.remove(reply)
        self._stop(reply)

    def silence(self) -> list[Reply]:
        """Stop everything at once; return the replies that were cut, in order."""
        dropped = [reply for reply in self.playout.flush() if isinstance(reply, Reply)]
        for reply in dropped:
            self._stop(reply)
        if self.writing is not None:
            self._stop(self.writing)
        return dropped

    async def close(self) -> None:
        """Free the engine's slots. Idempotent."""
        self.silence()
        await self._tasks.cancel()

    def _stop(self, reply: Reply) -> None:
        if reply is self.writing:
            self.writing = None
        reply.cancelled = True
        if reply.stream is not None:
            reply.stream.cancel()

    def _end_text(self, reply: Reply) -> None:
        if reply.text_ended and not reply.waiting and reply.stream is not None:
            reply.stream.end_text()

    def _say_clause(self, reply: Reply, clause: str) -> None:
        if reply.held and reply.clauses:
            # One clause is enough to begin at once; more might be spoken for nothing.
            reply.waiting.append(clause)
            return
        words = self._speak(clause)
        reply.expect(clause, words)
        self._watcher.on_clause(reply, clause)
        spoken = " ".join(word.spoken for word in words if word.spoken)
        if not spoken:
            return
        if reply.stream is not None:
            reply.stream.write(spoken)
        else:
            reply.backlog.append(spoken)

    async def _synthesise(self, reply: Reply) -> None:
        try:
            stream = reply.stream = await self._free_voice(reply)
            if reply.cancelled:
                return
            for spoken in reply.backlog:
                stream.write(spoken)
            self._end_text(reply)
            async for frame in stream.frames():
                reply.push(frame.pcm)
                for word in frame.words:
                    reply.spoke(word)
                self._watcher.on_frame(reply)
            if reply.mute and not reply.cancelled:
                raise ParleyError("The voice made no sound.", "See the log, or try another voice.")
        except ParleyError as error:
            self._fail(reply, error)
        except Exception:
            self._fail(reply, ParleyError("The voice failed.", "See the log."))
            raise
        finally:
            if reply.stream is not None:
                reply.stream.cancel()
            reply.end()

    async def _free_voice(self, reply: Reply) -> SpeechStream:
        """A stream for a reply; a full engine is asked again, for other replies end every moment."""
        for _ in range(_ASK_AGAIN):
            with suppress(EngineFull):
                return await self._engine.open(voice=self._voice)
            await asyncio.sleep(_FULL_FOR_S)
            if reply.cancelled:
                break
        return await self._engine.open(voice=self._voice)

    def _fail(self, reply: Reply, error: ParleyError) -> None:
        reply.broken = True
        if not reply.cancelled:
            self._watcher.on_voice_failure(reply, error)
