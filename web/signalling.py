"""The routes that place a call: our page's, and those that stock pipecat clients expect.

A stock client either posts its offer to `/api/offer`, or asks `/start` for a session and uses
`/sessions/{id}/api/offer` from then on.
"""

from __future__ import annotations

import re
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aiortc import RTCDtlsFingerprint, RTCIceServer
from aiortc.rtcdtlstransport import X509_DIGEST_ALGORITHMS
from aiortc.sdp import SessionDescription
from fastapi import APIRouter, Request
from loguru import logger
from pydantic import BaseModel, Field
from typing_extensions import TypedDict  # before Python 3.12 pydantic cannot read typing's

from common.errors import EngineFull
from web.calls import Calls
from web.catalogue import Catalogue
from web.errors import Refused
from web.guard import Guard
from web.metrics import Metrics
from web.settings import WebSettings

_SESSION_TTL_S = 300.0
_MAX_SESSIONS = 200
_BYTE = re.compile("[0-9A-Fa-f]{2}")


class Wishes(TypedDict, total=False):
    """What a client may choose. Keys that stock clients add are ignored."""

    page: str | None
    persona: str | None
    voice: str | None


class Offer(BaseModel):
    """A browser's offer. Fields that stock clients add are ignored."""

    sdp: str = Field(min_length=1)
    type: Literal["offer"]
    pc_id: str | None = Field(None, max_length=128)
    restart_pc: bool | None = None
    request_data: Wishes | None = None
    requestData: Wishes | None = None

    @property
    def wishes(self) -> Wishes:
        """Page, persona and voice, when the client names any."""
        return self.request_data or self.requestData or {}


class Candidate(BaseModel):
    """One ICE candidate; an empty string marks the end."""

    candidate: str = Field(max_length=1024)
    sdp_mid: str = Field("0", max_length=64)
    sdp_mline_index: int = Field(0, ge=0, le=64)


class Candidates(BaseModel):
    """Candidates found after the offer was sent."""

    pc_id: str = Field(max_length=128)
    candidates: list[Candidate] = Field(max_length=64)


class Start(BaseModel):
    """What a stock client sends before its offer."""

    body: Wishes = Field(default_factory=Wishes)


@dataclass(slots=True)
class Session:
    """What a stock client calls through: forgotten after `_SESSION_TTL_S`, or when its call is over."""

    wishes: Wishes
    began_s: float = field(default_factory=time.monotonic)
    pc_id: str | None = None


def signalling_routes(
    calls: Calls,
    catalogue: Catalogue,
    settings: WebSettings,
    guard: Guard,
    metrics: Metrics,
) -> APIRouter:
    """Build the router."""
    router = APIRouter()
    sessions: OrderedDict[str, Session] = OrderedDict()
    voices = catalogue.voices

    async def take(offer: Offer, wishes: Wishes) -> Mapping[str, str]:
        _check_sdp(offer.sdp)
        personas = catalogue.at(wishes.get("page") or "/")
        name = wishes.get("persona") or next(iter(personas))
        if name not in personas:
            raise Refused(400, f"There is no persona {name!r}.", f"There is: {_all(personas)}.")
        voice = wishes.get("voice") or None
        if voice is not None and voice not in voices:
            raise Refused(400, f"There is no voice {voice!r}.", f"There is: {_all(voices)}.")
        began_s = time.monotonic()
        outcome = "failed"
        try:
            answer = await calls.offer(
                offer.sdp,
                offer.type,
                persona=personas[name],
                voice=voice,
                pc_id=offer.pc_id,
                restart=bool(offer.restart_pc),
            )
            outcome = "answered"
        except EngineFull:
            outcome = "full"
            raise
        finally:
            metrics.offers.labels(outcome).inc()
        metrics.offer_s.observe(time.monotonic() - began_s)
        logger.info("answered an offer for {} as {}", name, answer["pc_id"])
        return answer

    def forget_old_sessions() -> None:
        oldest_s = time.monotonic() - _SESSION_TTL_S
        for name, held in list(sessions.items()):
            calling = held.pc_id is not None and calls.carries(held.pc_id)
            if held.began_s < oldest_s and not calling:
                del sessions[name]

    def session(session_id: str) -> Session:
        forget_old_sessions()
        if session_id not in sessions:
            raise Refused(404, "There is no such session.", "Ask /start for one.")
        return sessions[session_id]

    @router.post("/api/offer")
    async def offer(request: Request, offer: Offer) -> Mapping[str, str]:
        """Answer a browser's offer."""
        await guard.admit_caller(request)
        return await take(offer, offer.wishes)

    @router.patch("/api/offer")
    async def candidates(request: Request, found: Candidates) -> dict[str, str]:
        """Take in trickled candidates."""
        await guard.admit_caller(request)
        await calls.add_candidates(found.pc_id, [c.model_dump() for c in found.candidates])
        return {"status": "success"}

    @router.post("/start")
    async def start(request: Request, wanted: Start) -> dict[str, Any]:
        """Open a session for a stock client."""
        await guard.admit_caller(request)
        calls.admit()
        forget_old_sessions()
        if len(sessions) >= _MAX_SESSIONS:
            sessions.popitem(last=False)
        session_id = str(uuid.uuid4())
        sessions[session_id] = Session(wanted.body)
        return {
            "sessionId": session_id,
            "iceConfig": {"iceServers": [for_browser(server) for server in settings.ice_servers]},
        }

    @router.post("/sessions/{session_id}/api/offer")
    async def session_offer(session_id: str, offer: Offer) -> Mapping[str, str]:
        """Answer the offer of a session; its id is the capability."""
        held = session(session_id)
        answer = await take(offer, offer.wishes or held.wishes)
        held.pc_id = answer["pc_id"]
        return answer

    @router.patch("/sessions/{session_id}/api/offer")
    async def session_candidates(session_id: str, found: Candidates) -> dict[str, str]:
        """Take in a session's trickled candidates."""
        session(session_id)
        await calls.add_candidates(found.pc_id, [c.model_dump() for c in found.candidates])
        return {"status": "success"}

    return router


def for_browser(server: RTCIceServer) -> dict[str, Any]:
    """The RTCIceServer dictionary of the WebRTC specification."""
    urls = [server.urls] if isinstance(server.urls, str) else server.urls
    keys = {"username": server.username, "credential": server.credential} if server.username else {}
    return {"urls": urls} | keys


def _all(names: Iterable[str]) -> str:
    return ", ".join(names)


def _check_sdp(sdp: str) -> None:
    """Refuse junk before a pipeline is built for it."""
    try:
        media = SessionDescription.parse(sdp).media
    except Exception as error:  # the parser fails in whatever way the text makes it
        raise Refused(
            400, "The offer is not a session description.", "Send what createOffer() returned."
        ) from error
    if not media or media[0].kind != "audio":
        raise Refused(
            400, "The offer carries no audio.", "Add an audio transceiver before anything else."
        )
    if media[0].direction in {"sendonly", "inactive"}:
        raise Refused(
            400, "The offer would not play our voice.", "Make its audio line one for both ways."
        )
    # Without one aiortc answers all the same, and fails once the two sides are to shake hands.
    if not all(one.dtls and any(map(_is_usable, one.dtls.fingerprints)) for one in media):
        raise Refused(
            400,
            "The offer carries no fingerprint that the caller's certificate could be checked by.",
            "Send what createOffer() returned, with its a=fingerprint line of sha-256.",
        )


def _is_usable(fingerprint: RTCDtlsFingerprint) -> bool:
    digest = X509_DIGEST_ALGORITHMS.get(fingerprint.algorithm.lower())
    if digest is None:
        return False
    pairs = fingerprint.value.split(":")
    return len(pairs) == digest.digest_size and all(map(_BYTE.fullmatch, pairs))
