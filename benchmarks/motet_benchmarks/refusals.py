"""What an endpoint says when it answers with an error, as one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from motet_benchmarks.errors import BenchmarkError, Busy, Refused

#: What an endpoint answers that had no time, and a gateway that hasn't reached it. One that gave up waiting for it
#: (504) may have had it at work, which isn't to be paid for twice.
BUSY = frozenset({429, 502, 503})
#: It wants a key, or another one.
LOCKED = frozenset({401, 403})
#: Of an answer that is no JSON, so much is shown.
_SHOWN = 200


def read(place: str, response: httpx.Response, key: str) -> Any:
    """The JSON of a whole answer.

    Args:
        place: the address, for errors.
        response: read already.
        key: the variable that its key comes from, for errors.

    Raises:
        Refused: its status is an error.
        Busy: of the kind that may be asked again.
        BenchmarkError: it is no JSON.
    """
    status = response.status_code
    try:
        payload = json.loads(response.content)
    except (ValueError, RecursionError):
        payload, sentence = None, f"{place}: status {status}, not JSON: {response.text[:_SHOWN]!r}"
        said = response.text
        if status < 400:
            raise BenchmarkError(sentence) from None
    else:
        if status < 400:
            return payload
        said, status = _said(payload), _status(payload, status)
        sentence = _sentence(place, status, said)
    if response.status_code in BUSY:
        raise Busy(sentence, status, said=said, after=_after(response.headers))
    raise Refused(sentence + _hint(status, key), status, said=said)


def refused(place: str, payload: Any, key: str) -> Refused:
    """The error that came as an event of a stream, when the endpoint was at work already."""
    said, status = _said(payload), _status(payload, 500)
    return Refused(_sentence(place, status, said) + _hint(status, key), status, said=said)


def _sentence(place: str, status: int, said: str) -> str:
    return f"{place}: refused with {status}: {said}"


def _hint(status: int, key: str) -> str:
    return f" (its key is taken from {key})" if status in LOCKED else ""


def _error(payload: Any) -> Any:
    return payload.get("error", payload) if isinstance(payload, Mapping) else payload


def _said(payload: Any) -> str:
    """The words of OpenAI's `error.message`, of FastAPI's `detail`, or all there is."""
    error = _error(payload)
    if not isinstance(error, Mapping):
        return str(error)
    said = error.get("message", error.get("detail", error))
    if isinstance(said, list):
        return "; ".join(_fault(one) for one in said)
    return str(said)


def _fault(told: Any) -> str:
    """One of the faults that FastAPI lists, with the field's place."""
    if not isinstance(told, Mapping) or "msg" not in told:
        return str(told)
    place = ".".join(map(str, told.get("loc") or ()))
    return f"{place}: {told['msg']}" if place else str(told["msg"])


def _status(payload: Any, status: int) -> int:
    error = _error(payload)
    code = error.get("code") if isinstance(error, Mapping) else None
    return code if isinstance(code, int) and 400 <= code < 600 else status


def _after(headers: Mapping[str, str]) -> float | None:
    """The seconds of Retry-After, which may name a moment instead; None where it says nothing of the kind."""
    told = headers.get("retry-after", "")
    try:
        return max(0.0, float(int(told)))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(told)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
