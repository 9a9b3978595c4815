"""Log lines, as a program of its own writes them."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest


def stderr_of(setting: str, what: str) -> str:
    """What a program logs that sets up its log with `setting` and then does `what`."""
    program = f"from loguru import logger\nfrom cli.log import set_up_log\nset_up_log({setting})\n"
    ran = subprocess.run(
        [sys.executable, "-c", program + textwrap.dedent(what)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return ran.stderr


@pytest.mark.parametrize("setting", ["", "as_json=True"])
def test_tracebacks_show_code_but_nothing_that_was_said_or_is_secret(setting: str) -> None:
    told = stderr_of(
        setting,
        """
        def answer(said, key):
            return {}[len(said + key)]
        try:
            answer("I am " + "ill", "hunter" + "2")
        except KeyError:
            logger.exception("the call broke")
        """,
    )
    assert "the call broke" in told
    assert "KeyError" in told
    for private in ("I am ill", "hunter2"):
        assert private not in told


def test_lines_are_json_objects_when_asked() -> None:
    told = stderr_of(
        "as_json=True",
        """
        import logging
        logger.info("one\\nline with {}", "braces {}")
        logging.getLogger("aioice").warning("no %s", "luck {}")
        logging.getLogger("uvicorn").info("chatter")
        """,
    )
    ours, theirs = map(json.loads, told.splitlines())
    assert ours["message"] == "one\nline with braces {}"
    assert (ours["level"], ours["from"]) == ("INFO", "__main__")
    assert (theirs["level"], theirs["from"]) == ("WARNING", "aioice")
    assert theirs["message"] == "no luck {}"


def test_a_carriers_address_and_the_token_in_it_are_never_logged() -> None:
    told = stderr_of(
        'library_level="DEBUG"',
        """
        import logging
        from web.run import DrainingServer
        DrainingServer(None, drain=None, on_ready=None)
        logging.getLogger("uvicorn.error").info("WebSocket /phone/twilio/hunter2/stream [accepted]")
        logging.getLogger("uvicorn.error").warning("a word of warning")
        """,
    )
    assert "a word of warning" in told
    assert "hunter2" not in told


def test_what_pipecat_tells_of_calls_is_left_out_unless_asked_for() -> None:
    what = """
        logger.patch(lambda line: line.update(name="pipecat.services")).debug("said: hello")
        logger.patch(lambda line: line.update(name="pipecat.services")).warning("trouble")
        """
    assert "hello" not in stderr_of("", what)
    assert "trouble" in stderr_of("", what)
    assert "hello" in stderr_of("library_level='DEBUG'", what)


def test_a_clients_message_that_pipecat_cannot_read_is_not_quoted() -> None:
    what = """
        import asyncio
        from pipecat.frames.frames import InputTransportMessageFrame
        from pipecat.processors.frameworks.rtvi import RTVIProcessor
        from pipecat.processors.frameworks.rtvi.models import Message

        class Reader(RTVIProcessor):
            async def push_transport_message(self, message):
                pass

        async def read():
            reader, broken = Reader(), {"label": "rtvi-ai", "type": "t", "data": "card 4711"}
            await reader._handle_transport_message(InputTransportMessageFrame(message=broken))
            await reader._handle_message(Message(type="client-message", id="1", data={"t": [4711]}))
            await reader._handle_message(Message(type="card 4711", id="1"))

        asyncio.run(read())
        """
    told = stderr_of("", what)
    assert "4711" not in told
    assert told.count("A client's message could not be understood.") == 3
    assert stderr_of("library_level='DEBUG'", what).count("4711") >= 3


def test_a_pipe_that_nobody_reads_does_not_stop_the_program():
    program = (
        "from loguru import logger\nfrom cli.log import set_up_log\nset_up_log()\n"
        "for _ in range(5_000): logger.info('x' * 100)\nprint('done')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"done\n"
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
