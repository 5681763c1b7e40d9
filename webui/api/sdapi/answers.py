"""Answers to what cannot be done: a 4xx with JSON that names the field."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from webui.errors import AppError, BadField
from webui.files import FULL

log = logging.getLogger(__name__)

PREFIX = "/sdapi/v1"
LARGEST_NUMBER = 2**63 - 1

Result = TypeVar("Result")
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Shape(BaseModel):
    """Body of a request or an answer; the documentation shows what is said below a field."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Question(Shape):
    """Body of a request; its texts are sure to be Unicode, its whole numbers of 64 bits."""

    @model_validator(mode="before")
    @classmethod
    def _is_plain(cls, given: Any) -> Any:
        """Look at what is given itself, unknown fields too."""
        for name, value in given.items() if isinstance(given, dict) else ():
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, int) and abs(item) > LARGEST_NUMBER:
                    raise BadField(str(name), f"{name}: The number is too large.")
        return given

    @field_validator("*")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        for text in value if isinstance(value, list) else [value]:
            try:
                str(text).encode()
            except UnicodeEncodeError:
                raise ValueError("It holds half a character (a lone surrogate)") from None
        return value


class Refusal(Shape):
    """Why a request was refused."""

    error: str = Field(examples=["BadField"])
    detail: str = Field(examples=["Steps must be between 1 and 150, not 900."])
    """Whole sentences for people."""
    message: str = ""
    """The same, where some clients look for it."""
    field: str | None = Field(None, examples=["steps"])
    """The field of the request to mend, where it is one."""
    errors: list[dict[str, str]] = []
    """Every field that is wrong, as ``{"field", "message"}``."""


REFUSED: dict[int | str, dict[str, Any]] = {
    422: {"model": Refusal, "description": "A field cannot be used; `field` names it."}
}
"""What each route may answer besides, for the documentation."""


class NotFound(AppError):
    """What the request names does not exist."""


class Busy(AppError):
    """Too much is waiting already."""


class ApiRoute(APIRoute):
    """A route whose errors are answered as ``Refusal``; nothing unforeseen reaches the client."""

    def get_route_handler(self) -> Handler:
        """Wrap FastAPI's handler of the route."""
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except RequestValidationError as error:
                return _wrong_fields([_told(problem) for problem in error.errors()])
            except BadField as error:
                return _wrong_fields([{"field": error.field, "message": str(error)}])
            except NotFound as error:
                return refusal(404, "NotFound", str(error))
            except Busy as error:
                return refusal(503, "Busy", str(error))
            except AppError as error:
                return refusal(422, type(error).__name__, str(error))
            except OSError as error:
                if error.errno not in FULL:
                    raise
                return refusal(507, "DiskFull", "The disk is full. Make room and try again.")
            except HTTPException as error:
                return refusal(error.status_code, "HTTPException", error.detail, error.headers)
            except Exception:
                log.exception("%s %s failed.", request.method, request.url.path)
                return refusal(500, "Unexpected", "An unexpected error; the log says more.")

        return answer


class _Plain(JSONResponse):
    """JSON in ASCII, because names in a request may be no valid Unicode."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return json.dumps(content).encode("ascii")


async def waited(wait: Callable[[], Result]) -> Result:
    """Return what a call that blocks for long returns; a thread of its own does the waiting.

    The threads that serve short calls are few, and would all be taken. If the caller goes away,
    the thread waits on.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(outcome: Result | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(outcome)  # type: ignore[arg-type]
        else:
            future.set_exception(error)

    def run() -> None:
        outcome, problem = None, None
        try:
            outcome = wait()
        except Exception as error:  # raised again where it is awaited
            problem = error
        with contextlib.suppress(RuntimeError):  # the server was closed meanwhile
            loop.call_soon_threadsafe(settle, outcome, problem)

    threading.Thread(target=run, name="waiting", daemon=True).start()
    return await future


def refusal(
    status: int, error: str, detail: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return an answer that says why there is none."""
    content: dict[str, Any] = {"error": error, "detail": detail, "message": detail}
    content |= {"field": None, "errors": []}
    return _Plain(content, status, headers)


def _wrong_fields(errors: list[dict[str, str]]) -> JSONResponse:
    detail = " ".join(error["message"] for error in errors)
    field = errors[0]["field"]
    content = {"error": "BadField", "detail": detail, "message": detail}
    return _Plain(content | {"field": field, "errors": errors}, 422)


def _told(problem: Mapping[str, Any]) -> dict[str, str]:
    """Return what FastAPI found wrong as field and sentence."""
    place = [str(part) for part in problem["loc"] if part not in ("body", "query", "path")]
    field = "body" if problem["type"] == "json_invalid" or not place else ".".join(place)
    message = problem["msg"].rstrip(".").removeprefix("Value error, ")
    return {"field": field, "message": f"{field}: {message}."}


NOT_YET = {
    "img2img": "It draws from prompts only; images to begin with are not there yet. ",
    "interrogate": "It has no model that describes images. ",
}
"""What clients ask for that is not there, and why."""


def add_refusals(router: APIRouter) -> None:
    """Answer everything that is not there by name, so that clients can say what is missing."""

    @router.api_route(
        "/{path:path}",
        methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        include_in_schema=False,
    )
    def unknown(path: str) -> None:
        why = NOT_YET.get(path, "")
        raise NotFound(f"This app has no {PREFIX}/{path[:100]}. {why}What it has is told at /docs.")
