"""The web server: the page, signalling, health and metrics in one FastAPI app."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from common.errors import ConfigError
from web.calls import Calls
from web.catalogue import Catalogue
from web.errors import install_error_handlers, refusal
from web.guard import Guard, Verifier
from web.metrics import Metrics
from web.settings import WebSettings
from web.shield import BodyLimit, SecurityHeaders
from web.signalling import for_browser, signalling_routes

_STATIC = Path(__file__).parent / "static"
_WORTH_PACKING_BYTES = 1_000
_OUR_PATHS = frozenset(
    "/" + name
    for name in ["api", "healthz", "metrics", "phone", "readyz", "sessions", "start", "static"]
)


def create_app(
    calls: Calls,
    catalogue: Catalogue,
    settings: WebSettings,
    *,
    verify: Verifier | None = None,
    metrics: Metrics | None = None,
) -> FastAPI:
    """Assemble the app.

    Args:
        calls: Carries the calls.
        catalogue: Personas, voices and engines to show.
        settings: The operator's decisions.
        verify: Decides over bearer tokens of an identity provider.
        metrics: Where hooks elsewhere already report to.

    Raises:
        ConfigError: The settings would leave a public address open by accident, `verify` is not
            an async function, or a page's path is one of the server's own.
    """
    settings.check(has_verifier=verify is not None)
    if verify is not None and not inspect.iscoroutinefunction(verify):
        raise ConfigError("The verifier is not an async function.", "Begin it with `async def`.")
    metrics = metrics or Metrics()
    guard = Guard(settings, verify)
    metrics.gauge("parley_calls_active", "Calls going on.", lambda: calls.active)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await calls.close()

    app = FastAPI(title="Parley", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.metrics = metrics
    install_error_handlers(app)
    app.include_router(signalling_routes(calls, catalogue, settings, guard, metrics))

    @app.get("/api/page")
    async def page_data(request: Request, path: str = "/") -> JSONResponse:
        """What the page at `path` needs: its token, and what there is to choose from."""
        await guard.admit_visitor(request)
        return JSONResponse(
            _page_data(path, catalogue, settings) | {"token": guard.mint.mint()},
            headers={"Cache-Control": "no-store"},
        )

    @app.head("/healthz", include_in_schema=False)  # as many monitors ask
    @app.get("/healthz")
    async def healthz() -> Response:
        """The process answers and its models run; 503 with the reason when only a restart helps."""
        if why := calls.failure:
            return refusal(503, why, "Restart Parley.")
        return JSONResponse({"status": "ok"})

    @app.head("/readyz", include_in_schema=False)  # as many monitors ask
    @app.get("/readyz")
    async def readyz() -> dict[str, Any]:
        """One more call would be served well; 503 with the reason otherwise."""
        calls.admit()
        return {"status": "ready", "calls": calls.active}

    @app.get("/metrics")
    async def prometheus(request: Request) -> Response:
        """Prometheus metrics; with a secret set, scrape with it as bearer token."""
        if not guard.is_open:
            await guard.admit_visitor(request)
        return Response(await metrics.scrape(), media_type=CONTENT_TYPE_LATEST)

    for path in catalogue.pages:
        if path in _OUR_PATHS:
            raise ConfigError(
                f"There can be no page at {path}: the server itself answers there.",
                "Choose another path under `pages`.",
            )
        app.add_api_route(path, _page, methods=["GET", "HEAD"], include_in_schema=False)
    app.mount("/static/fonts", _FreshStatic(directory=_STATIC / "fonts"))  # are packed already
    static = GZipMiddleware(_FreshStatic(directory=_STATIC), minimum_size=_WORTH_PACKING_BYTES)
    app.mount("/static", static, name="static")
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.allowed_origins),
            allow_methods=["GET", "POST", "PATCH"],
            allow_headers=["authorization", "content-type"],
        )
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(SecurityHeaders, framed_by=settings.allowed_origins)
    return app


class _FreshStatic(StaticFiles):
    """Static files that a browser asks after each time, so an update never meets a stale module."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


async def _page() -> FileResponse:
    return FileResponse(_STATIC / "index.html", headers={"Cache-Control": "no-cache"})


def _capital(title: str) -> str:
    return title[:1].upper() + title[1:]


def _page_data(path: str, catalogue: Catalogue, settings: WebSettings) -> dict[str, Any]:
    return {
        "personas": [
            {"name": name, "title": _capital(persona.title or name), "about": persona.description}
            for name, persona in catalogue.at(path).items()
        ],
        "voices": [
            {"name": name, "language": voice.language, "description": voice.description}
            for name, voice in catalogue.voices.items()
        ],
        "engines": {"asr": catalogue.asr, "tts": catalogue.tts, "llm": catalogue.llm},
        "ice_servers": [for_browser(server) for server in settings.ice_servers],
        "privacy": catalogue.privacy,
    }
