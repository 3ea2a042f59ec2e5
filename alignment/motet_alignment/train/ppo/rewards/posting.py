"""JSON to somebody else's server and back, with bounds on size and time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from motet_alignment.errors import TrainError

#: Bytes of an answer that are read, at most: many times what the rewards of one request need.
MOST_BYTES = 4 * 2**20
#: Bytes of one request's items, about: servers bound what they read.
REQUEST_BYTES = 4 * 2**20
#: Seconds for connecting, between two pieces of an answer, and for all of an answer.
CONNECT, READ, WHOLE = 10.0, 300.0, 600.0
#: Seconds before each further attempt. Rewards may be asked for twice: nothing changes by it.
WAITS: Sequence[float] = (1.0, 2.0, 4.0)
_LATER = frozenset({429, 502, 503, 504})
T = TypeVar("T")


class _Failed(Exception):
    """An attempt after which another may do better."""


class Poster:
    """Posts to one URL; redirects are errors, and the key is never told."""

    def __init__(self, url: str, said: str, key: str | None) -> None:
        """`said` is how it was asked for, `key` goes into the Authorization header. Raises TrainError for a bad URL."""
        import httpx

        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, TypeError) as problem:
            raise TrainError(f"{said}: {problem}") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise TrainError(f"{said}: must be a URL that begins with http:// or https://")
        if parsed.userinfo:
            raise TrainError(
                f"{said.partition('://')[0]}...: a password in a URL would be told in logs; leave it out"
            )
        key = (key or "").strip()
        if not (key.isascii() and key.isprintable()):
            raise TrainError(f"{said}: its key holds characters that no header may")
        self._said, self._key, self._url = said, key, url
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._client = httpx.Client(
            headers=headers, timeout=httpx.Timeout(READ, connect=CONNECT), follow_redirects=False
        )

    def __call__(self, content: Mapping[str, Any], about: str) -> Any:
        """The JSON that is answered. Raises TrainError naming the URL, what went wrong, and what it was `about`."""
        try:
            body = json.dumps(content, allow_nan=False, default=str).encode()
        except ValueError as problem:
            raise TrainError(f"{self._said}: can't be sent as JSON: {problem}; {about}") from None
        for wait in (*WAITS, None):
            try:
                return self._answer(body)
            except _Failed as failed:
                if wait is None:
                    raise TrainError(f"{self._told(failed)}, asked {len(WAITS) + 1} times; {about}") from None
                time.sleep(wait)
            except ValueError as problem:
                raise TrainError(f"{self._told(problem)}; {about}") from None
        raise AssertionError("the last attempt raises")

    def _answer(self, body: bytes) -> Any:
        """Raises _Failed, and ValueError for what no further attempt mends."""
        import httpx

        began = time.monotonic()
        try:
            with self._client.stream(
                "POST", self._url, content=body, headers={"Content-Type": "application/json"}
            ) as response:
                found = bytearray()
                for piece in response.iter_raw():
                    found += piece
                    if len(found) > MOST_BYTES:
                        raise ValueError(f"answers more than {MOST_BYTES:,} bytes")
                    if time.monotonic() - began > WHOLE:
                        raise ValueError(f"takes more than {WHOLE:.0f} s to answer")
        except httpx.ReadTimeout:
            raise ValueError(f"says nothing for {READ:.0f} s") from None
        except httpx.TransportError as problem:
            raise _Failed(f"can't be asked: {type(problem).__name__}: {problem}") from None
        if response.has_redirect_location:
            target = response.headers["location"]
            raise ValueError(f"redirects to {target} ({response.status_code}), which is not followed")
        if response.status_code != 200:
            message = f"answers {response.status_code}: {_error(bytes(found))}"
            raise _Failed(message) if response.status_code in _LATER else ValueError(message)
        try:
            return json.loads(found)
        except (ValueError, RecursionError):
            raise ValueError(f"answers no JSON: {_text(bytes(found))}") from None

    def _told(self, problem: Exception) -> str:
        text = f"{self._said}: {'' if self._url in self._said else f'{self._url} '}{problem}"
        return text.replace(self._key, "***") if self._key else text

    def close(self) -> None:
        """Ends its connections."""
        self._client.close()


def batches(items: Sequence[T], sizes: Sequence[int], most: int) -> Iterator[Sequence[T]]:
    """Runs of the items, each of at most `most` and of about REQUEST_BYTES by their `sizes`."""
    start = held = 0
    for place, size in enumerate(sizes):
        if place > start and (place - start == most or held + size > REQUEST_BYTES):
            yield items[start:place]
            start, held = place, 0
        held += size
    if items:
        yield items[start:]


def _error(found: bytes) -> str:
    """What an error's body says, be it OpenAI's or not."""
    try:
        said = str(json.loads(found)["error"]["message"])[:500]
        return "".join(letter if letter.isprintable() else " " for letter in said)
    except (ValueError, RecursionError, KeyError, TypeError):
        return _text(found)


def _text(found: bytes) -> str:
    text = " ".join(found[:1000].decode("utf-8", "replace").split())
    return repr(text[:200]) if text else "nothing"
