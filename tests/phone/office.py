"""Who answers the calls of these tests, and how they wait for what happens."""

import asyncio

import numpy as np

from agent.persona import load_persona
from pipelines.conversation import Conversation

PRACTICE = """
name: practice
greeting: Hello.
unreachable: Nobody answers there.
tools: [end_call]
transfers: {the doctor: sip:doctor@127.0.0.2, front desk: +33 1 23 45 67 89}
script:
  rules:
    - {hear: "1", say: I will put you through to the doctor., put_through: the doctor}
    - hear: "3"
      say: I will put you through, which may take a while, so please stay on the line and do not hang up.
      put_through: the doctor
    - {hear: "2", say: I will put you through to the front desk., put_through: front desk}
"""


class Office:
    """Answers numbers with conversations, and remembers them."""

    def __init__(self, engines, llm):
        self.engines, self.llm = engines, llm
        self.conversations = []
        self.refusal = None
        self.persona = load_persona("parley")
        self.numbers = []
        self.events = []

    async def answer(self, called, to_screen=lambda message: None):
        self.numbers.append(called)
        if self.refusal:
            raise self.refusal
        llm = self.llm.open(self.persona)
        conversation = Conversation(
            self.engines,
            llm,
            self.persona,
            to_client=to_screen,
            on_event=self.events.append,
        )
        self.conversations.append(conversation)
        return self.conversations[-1]

    def turns(self, role):
        messages = self.conversations[-1].context.get_messages() if self.conversations else []
        return [message["content"] for message in messages if message["role"] == role]


async def until(condition, timeout_s=15.0):
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def loudness(pieces):
    return np.sqrt(np.mean(np.concatenate(pieces) ** 2)) if pieces else 0.0
