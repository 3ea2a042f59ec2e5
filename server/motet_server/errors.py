"""Errors as OpenAI's clients know them: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from motet_decoding.errors import RequestError
from motet_decoding.problems import path_in

#: Names by which vLLM's own errors call the prompt, which is `messages` or `prompt` to a client.
_PROMPT_NAMES = {"input_tokens", "input_text", "prompt_is_token_ids"}
#: What vLLM says without naming the field, and the fields it can be about.
_UNNAMED = (
    (re.compile(r'"auto" tool choice|tool_choice='), ("tool_choice",)),
    (
        re.compile(r"Grammar error|Failed to (transform|convert|compile)"),
        ("response_format", "structured_outputs", "tools"),
    ),
    (re.compile(r"Chat template is passed with request"), ("chat_template",)),
    (
        re.compile(r"The decoder prompt cannot be empty|Token id -?\d+ is out of vocabulary"),
        ("prompt", "messages"),
    ),
    (re.compile(r"You must use one kind of structured outputs"), ("structured_outputs",)),
)
#: vLLM appends its parameter's name and value to the sentence; `param` says the first, the body the second.
_APPENDIX = re.compile(r" \(parameter=[\w.]+(, value=.*)?\)$", re.DOTALL)

#: Beyond so many problems of one body they are only counted: describing them all takes memory and time without bound.
_DESCRIBED = 5_000


def error_answer(message: str, *, param: str | None, status: int, kind: str) -> JSONResponse:
    """The answer to a request that isn't honoured; ``param`` is the field at fault, in dots."""
    # A message may quote half of a character, which no answer can hold.
    message = message.encode(errors="backslashreplace").decode()
    return JSONResponse(
        {"error": {"message": message, "type": kind, "param": param, "code": status}}, status_code=status
    )


class TooLargeError(RequestError):
    """A body beyond the server's limit."""

    status, kind = 413, "RequestTooLargeError"


def refusal(error: RequestError) -> JSONResponse:
    """The answer for what can't be honoured: a 400, unless the error says another ``status`` and ``kind``."""
    status: int = getattr(error, "status", 400)
    kind: str = getattr(error, "kind", "BadRequestError")
    answer = error_answer(str(error), param=error.field, status=status, kind=kind)
    if retry_after := getattr(error, "retry_after", None):
        answer.headers["Retry-After"] = str(retry_after)
    return answer


async def http_problem(_request: Request, problem: Exception) -> JSONResponse:
    """What Starlette says of a path, a method or a body, in the one shape of errors; vLLM leaves it as it is."""
    assert isinstance(problem, HTTPException)
    kind = HTTPStatus(problem.status_code).phrase
    answer = error_answer(problem.detail, param=None, status=problem.status_code, kind=kind)
    answer.headers.update(problem.headers or {})
    return answer


def named_field(error: Mapping[str, Any], body: Mapping[str, Any], *, prompt: str) -> dict[str, Any]:
    """vLLM's own error with the field's name put right.

    Args:
        error: what stands under ``error`` in vLLM's answer.
        body: the request's.
        prompt: the route's name for the prompt, ``messages`` or ``prompt``.
    """
    message, param = _APPENDIX.sub("", str(error.get("message", ""))), error.get("param")
    if param in _PROMPT_NAMES:
        param = prompt
    elif param == "max_tokens" and param not in body and "max_completion_tokens" in body:
        param = "max_completion_tokens"
    elif param == "logprobs" and "top_logprobs" in body:
        param = "top_logprobs"
    elif param is None:
        fields = next(
            (fields for pattern, fields in _UNNAMED if pattern.match(message)), (message.split(" ", 1)[0],)
        )
        param = next((field for field in fields if field in body), None)
    return {**error, "message": message, "param": param}


def first_problem(error: ValidationError, body: Mapping[str, Any]) -> RequestError:
    """What pydantic found wrong with ``body``, as one field and one sentence.

    A value of a union fails once for every member of it: such complaints are told together, under the deepest
    part of the body they share.
    """
    if error.error_count() > _DESCRIBED:
        return RequestError("body", f"{error.error_count()} values aren't what they must be")
    problems = error.errors(include_url=False, include_context=True)
    first = problems[0]
    reason = (first.get("ctx") or {}).get("error")
    if parameter := getattr(reason, "parameter", None):  # one of vLLM's own checks, which names its field
        return RequestError(parameter, _APPENDIX.sub("", str(reason)))
    field = first["loc"][0] if first["loc"] else None
    related = [problem for problem in problems if problem["loc"][:1] == first["loc"][:1]]
    paths = [path_in(problem["loc"], body, missing=problem["type"] == "missing") for problem in related]
    shared = paths[0]
    for path in paths[1:]:
        shared = shared[
            : next((i for i, (a, b) in enumerate(zip(shared, path, strict=False)) if a != b), len(path))
        ]
    messages = list(dict.fromkeys(problem["msg"] for problem in related))
    sentence = "; or ".join(message[:1].lower() + message[1:] for message in messages[:3])
    return RequestError(".".join(map(str, shared)) or str(field or "body"), f"{sentence:.500}")
