"""A question as a telephone hears it, and an office with real ears, a real voice and a SIP line."""

import subprocess

import pytest

from agent.llm_choice import choose_llm
from common.audiofile import read_audio
from pipelines.engines import open_engines
from pipelines.phone.sip import SipServer
from pipelines.phone.sip_wire import take_port
from tests.fakes.phone import LINE_HZ
from tests.phone.office import Office


@pytest.fixture(scope="module")
def question(tmp_path_factory):
    path = tmp_path_factory.mktemp("speech") / "a.wav"
    subprocess.run(["flite", "-voice", "rms", "-t", "what time is it", "-o", str(path)], check=True)
    return read_audio(path, LINE_HZ)


@pytest.fixture
async def office():
    engines, llm = await open_engines("sphinx", "espeak"), await choose_llm("script")
    yield Office(engines, llm)
    await engines.close()
    await llm.close()


@pytest.fixture
async def exchange(office, request):
    server = SipServer(office.answer)
    await server.listen(take_port(getattr(request, "param", "127.0.0.1"), 0))
    yield server
    await server.close()
