"""The caller's side of a call: audio in, evidence to turn-taking, decisions out.

Every 20 ms of audio goes to the recogniser, to the judges of voice and to the own-voice gate; what
they say becomes evidence, stamped in samples received. The recogniser is fed always: nothing that is
said while the agent speaks, thinks or ducks is lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from loguru import logger

from agent import decisions as d
from agent.eventlog import EventLog
from agent.evidence import Evidence, Finished, Heard, Sound
from agent.own_voice import OwnVoiceGate
from agent.pitch import Pitch
from agent.turns import TurnTaking
from asr.interface import AsrEngine, AsrStream, Hypothesis
from common.errors import ParleyError
from pipelines.judges import TurnJudge, VoiceJudge, level_dbfs
from pipelines.recorder import Recorder
from pipelines.tasks import Tasks

_ECHO_FRAMES = 50  # a second of 20 ms frames after the agent's last sound


class Listener:
    """One caller's ears and the rules of turn-taking behind them.

    Attributes:
        at: Samples received so far at 16 kHz: the conversation's clock.
        turns: The state machine.
    """

    def __init__(
        self,
        turns: TurnTaking,
        log: EventLog,
        recorder: Recorder,
        decide: Callable[[d.Decision], None],
        on_words: Callable[[Hypothesis], None],
        on_failure: Callable[[ParleyError], None],
    ):
        """Create it inside a running event loop.

        Args:
            turns: The rules.
            log: Takes down all evidence and all decisions.
            recorder: Takes down what both sides sound like.
            decide: Carries a decision out.
            on_words: Told of every hypothesis.
            on_failure: Told when the recogniser died.
        """
        self.at = 0
        self.turns = turns
        self._log = log
        self._recorder = recorder
        self._decide = decide
        self._on_words = on_words
        self._on_failure = on_failure
        self._voice = VoiceJudge()
        self._finished = TurnJudge()
        self._own_voice = OwnVoiceGate()
        self._pitch = Pitch()
        self._echo_frames = 0  # for so much longer an echo may come back
        self._stream: AsrStream | None = None
        self._inbox: deque[Evidence] = deque()
        self._observing = False
        self._tasks = Tasks()

    async def open(self, engine: AsrEngine, language: str | None = None) -> None:
        """Open the caller's stream in the recogniser.

        Raises:
            EngineFull: It refuses one more caller.
            RemoteError: It cannot be reached.
        """
        self._stream = await engine.open(language=language)
        self._tasks.start(self._receive(self._stream), "hypotheses")

    def hear(self, pcm: np.ndarray) -> None:
        """Take in 20 ms: float32 [320] at 16 kHz. The clock runs while the recogniser listens."""
        if self._stream is None:
            return
        self.at += len(pcm)
        self._recorder.heard(pcm)
        self._stream.feed(pcm)
        self._finished.hear(pcm)
        voiced = self._voice.hear(pcm)
        own_voice = self._own_voice.hear(pcm) if self._echo_frames else 0.0
        pitch_hz = self._pitch.hear(pcm) if voiced else 0.0
        level = level_dbfs(pcm)
        self.observe(Sound(self.at, voiced, self._voice.confidence, level, own_voice, pitch_hz))

    def said(self, pcm: np.ndarray | None, n_samples: int) -> None:
        """Note what the caller hears from us: float32 at 24 kHz, None for silence."""
        self._recorder.said(pcm)
        if pcm is not None:
            self._echo_frames = _ECHO_FRAMES
        if self._echo_frames:
            self._echo_frames -= 1
            self._own_voice.sent(np.zeros(n_samples, np.float32) if pcm is None else pcm)

    def observe(self, evidence: Evidence) -> None:
        """Give evidence to turn-taking and carry out what it decides.

        Carrying out a decision makes new evidence (the agent falls silent); that waits its turn.
        """
        self._inbox.append(evidence)
        if self._observing:
            return
        self._observing = True
        try:
            while self._inbox:
                evidence = self._inbox.popleft()
                self._log.evidence(evidence)
                for decision in self.turns.observe(evidence):
                    self._log.decision(decision)
                    self._carry_out(decision)
        finally:
            self._observing = False

    async def close(self) -> None:
        """Free the recogniser's slot. Idempotent."""
        stream, self._stream = self._stream, None
        await self._tasks.cancel()
        if stream is not None:
            await stream.close()

    def _carry_out(self, decision: d.Decision) -> None:
        try:
            self._obey(decision)
            self._decide(decision)
        except Exception:  # a call that missed one decision is better than a deaf one
            logger.exception("{} could not be carried out", type(decision).__name__)

    def _obey(self, decision: d.Decision) -> None:
        """The part of a decision that concerns the ears."""
        if self._stream is None:
            return
        match decision:
            case d.TurnStarted():
                self._finished.turn_began(decision.began_samples)
            case d.FlushWords():
                self._tasks.start(self._flush(self._stream), "final words")
            case d.AskFinished():
                self._tasks.start(self._judge(decision.pause_began), "judge the turn")
            case d.Commit() | d.Backchannel() | d.Ignore():
                self._stream.commit(decision.upto_samples)

    async def _receive(self, stream: AsrStream) -> None:
        try:
            async for hypothesis in stream.events():
                self._take(hypothesis)
        except ParleyError as error:
            self._on_failure(error)

    async def _flush(self, stream: AsrStream) -> None:
        try:
            self._take(await stream.flush())
        except ParleyError as error:
            self._on_failure(error)

    def _take(self, hypothesis: Hypothesis) -> None:
        self._on_words(hypothesis)  # first: to be told as part of the turn that it may complete
        self.observe(Heard(self.at, hypothesis))

    async def _judge(self, pause_began: int) -> None:
        probability = await self._finished.finished()
        self.observe(Finished(self.at, pause_began, probability))
