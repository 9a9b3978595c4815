"""Every refusal leaves as `{"error": cause, "cure": what to do}` with a fitting status."""

from __future__ import annotations

import secrets

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from loguru import logger
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware

from common.errors import EngineFull, ParleyError


class Refused(ParleyError):
    """A request that is turned away.

    Attributes:
        status: HTTP status.
        retry_after_s: When asking again is worth it, seconds; None when it is not.
    """

    def __init__(
        self, status: int, cause: str, cure: str = "", *, retry_after_s: float | None = None
    ):
        super().__init__(cause, cure)
        self.status = status
        self.retry_after_s = retry_after_s


def refusal(status: int, cause: str, cure: str, retry_after_s: float | None = None) -> JSONResponse:
    """The one shape in which this server says no."""
    headers = {"Cache-Control": "no-store"}
    body: dict[str, object] = {"error": cause, "cure": cure}
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(retry_after_s)))
        body["retry_after_s"] = retry_after_s
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body, status, headers)


def install_error_handlers(app: FastAPI) -> None:
    """Turn every exception that can leave a route into a `refusal`."""

    @app.exception_handler(ParleyError)
    async def on_parley_error(request: Request, error: ParleyError) -> JSONResponse:
        if isinstance(error, Refused):
            return refusal(error.status, error.cause, error.cure, error.retry_after_s)
        if isinstance(error, EngineFull):
            return refusal(503, error.cause, error.cure, error.retry_after_s)
        return refusal(400, error.cause, error.cure)

    @app.exception_handler(RequestValidationError)
    async def on_malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if first["type"] == "json_invalid" or first["loc"] == ("body",):
            return refusal(
                400,
                "The request body is not a JSON object.",
                "Send one, and name JSON as its content type.",
            )
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return refusal(
            400, f"{where}: {first['msg']}.", "See /openapi.json for the expected fields."
        )

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
        cause = {
            404: f"There is nothing at {request.url.path}.",
            405: f"{request.method} is not understood at {request.url.path}.",
        }.get(error.status_code, str(error.detail))
        return refusal(error.status_code, cause, "The page is at /.")

    async def on_bug(request: Request, error: Exception) -> JSONResponse:
        mark = secrets.token_hex(4)
        request.app.state.metrics.errors.labels("server").inc()
        logger.opt(exception=error).error("unhandled error {} at {}", mark, request.url.path)
        return refusal(500, "Something broke on the server.", f"Its log says more under {mark}.")

    # As a handler it would answer outside of all middleware, and without the security headers.
    app.add_middleware(ServerErrorMiddleware, handler=on_bug)
