"""A scorer behind a URL: POST items, get a number for each. The contract is that of PPO's remote rewards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from motet_decoding.best_of.candidate import Candidate, Need, Question
from motet_decoding.best_of.scorer import ScorerError
from motet_decoding.together import together
from motet_server.best_of.conversations import Decode, item
from motet_server.best_of.given import numbers

if TYPE_CHECKING:
    import httpx

#: Where its key stands, if it wants one.
KEY = "MOTET_SCORER_KEY"

#: Candidates in one request, and bytes of an answer that are read: many times what their numbers need.
_BATCH, _MOST_BYTES = 64, 2**20
#: Seconds for connecting, and before each further attempt to.
_CONNECT, _WAITS = 10.0, (0.1, 0.5)


class RemoteScorer:
    """Posts ``{"items": [{"messages", "answer", "ended", "row"}, ...]}`` and is answered ``{"rewards": [...]}``.

    No error tells the URL: it may hold what clients aren't to know.

    Args:
        name: its own.
        url: where.
        key: goes into the Authorization header, if there is one.
        timeout: seconds for all of one prompt's candidates.
        decode: tokens to text, for prompts that came as tokens.
        transport: httpx's, for tests.
    """

    needs: frozenset[Need] = frozenset()
    alone = False  # its numbers may depend on what else it is shown

    def __init__(
        self,
        name: str,
        url: str,
        key: str | None,
        timeout: float,
        decode: Decode,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        import httpx

        self.name = name
        self._url = url
        self._timeout = timeout
        self._decode = decode
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._client = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(timeout, connect=min(_CONNECT, timeout)),
            limits=httpx.Limits(max_connections=100, max_keepalive_connections=20),
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )

    async def score(self, question: Question, candidates: Sequence[Candidate]) -> list[float]:
        """Its numbers.

        Raises:
            ScorerError: it can't be reached, takes too long, or answers anything but a finite number for each.
        """
        batches = [candidates[start : start + _BATCH] for start in range(0, len(candidates), _BATCH)]
        try:
            async with asyncio.timeout(self._timeout):
                scored = await together(self._post(question, batch) for batch in batches)
        except TimeoutError:
            raise ScorerError(f"{self.name} took more than {self._timeout:g} s (--scorer-timeout)") from None
        return [score for scores in scored for score in scores]

    async def _post(self, question: Question, candidates: Sequence[Candidate]) -> list[float]:
        import httpx

        items = [item(question, candidate, self._decode) for candidate in candidates]
        body = json.dumps({"items": items}).encode()
        for wait in (*_WAITS, None):
            try:
                answer = await self._answer(body)
                break
            except (httpx.NetworkError, httpx.ConnectTimeout, httpx.RemoteProtocolError) as error:
                # Asking twice changes nothing there; a connection that was kept open may have been closed meanwhile.
                if wait is None:
                    raise ScorerError(f"{self.name} can't be reached ({type(error).__name__})") from None
                await asyncio.sleep(wait)
            except httpx.TimeoutException:
                raise ScorerError(
                    f"{self.name} took more than {self._timeout:g} s (--scorer-timeout)"
                ) from None
            except httpx.HTTPError as error:
                raise ScorerError(f"{self.name} can't be asked ({type(error).__name__})") from None
        rewards = answer.get("rewards") if isinstance(answer, Mapping) else None
        if not isinstance(rewards, list) or any(isinstance(reward, bool) for reward in rewards):
            raise ScorerError(f'{self.name}: must answer {{"rewards": [...]}}, a number for each item')
        try:
            return numbers(rewards, len(candidates))
        except ScorerError as error:
            raise ScorerError(f"{self.name}: {error}") from None

    async def _answer(self, body: bytes) -> Any:
        headers = {"Content-Type": "application/json"}
        async with self._client.stream("POST", self._url, content=body, headers=headers) as response:
            if response.status_code != 200:
                raise ScorerError(f"{self.name} answers {response.status_code}")
            found = bytearray()
            async for piece in response.aiter_raw():
                found += piece
                if len(found) > _MOST_BYTES:
                    raise ScorerError(f"{self.name} answers more than {_MOST_BYTES:,} bytes")
        try:
            return json.loads(found)
        except (ValueError, RecursionError):
            raise ScorerError(f"{self.name} answers no JSON") from None
