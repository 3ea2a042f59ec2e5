"""Candidates from vLLM's engine: one request each, all of one prompt, whose keys and values they share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from operator import itemgetter
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from motet_decoding.best_of.candidate import Candidate, Need, seed_of
from motet_decoding.best_of.scorer import ScorerError
from motet_decoding.engine.answer_text import answer_text
from motet_decoding.engine.arguments import continued_arguments
from motet_decoding.engine.certainty import measured, one_replica, read_certainty

if TYPE_CHECKING:
    from vllm import SamplingParams

#: What a measurement's reading shares with what was measured: it must reach the same replica, and in time.
_READING = ("priority", "data_parallel_rank")

#: How an engine request ends that gave no answer; what it did generate must not pass for one.
_FAILED = ("abort", "error")


class EngineSource:
    """A ``Source`` of candidates over vLLM's ``EngineClient``.

    Args:
        client: vLLM's.
        prompt: the engine's input, rendered.
        sampling: what the request asks for; its seed is what the candidates' are derived from. It has a ``max_tokens``.
        request_id: the candidates' begin with it.
        needs: what scorers must be told of a candidate beside its text.
        decode: tokens to text, as the request wants it.
        options: what else ``client.generate`` is told (the adapter, the priority, ...).
    """

    def __init__(
        self,
        client: Any,
        prompt: Any,
        sampling: SamplingParams,
        request_id: str,
        *,
        needs: Collection[Need],
        decode: Callable[[Sequence[int]], str],
        options: Mapping[str, Any],
    ) -> None:
        if sampling.max_tokens is None:
            raise ValueError("max_tokens: candidates need a number")
        self.most = sampling.max_tokens
        #: The engine's last word on the earliest candidate: what answers tell of the prompt.
        self.output: Any = None
        self._client = client
        self._prompt = prompt
        self._sampling = sampling
        self._request_id = request_id
        self._needs = frozenset(needs)
        self._decode = decode
        self._options = dict(options)
        if "certainty" in self._needs and self._options.get("data_parallel_rank") is None:
            self._options |= one_replica(client.vllm_config)
        self._output_index = -1

    async def draw(
        self,
        index: int,
        *,
        after: Candidate | None = None,
        part: int = 0,
        tokens: int | None = None,
        until: str = "",
    ) -> Candidate:
        """One engine request; see ``Source.draw``. Cancelling it aborts the request.

        Raises:
            ScorerError: its certainty, where a scorer needs it, isn't there.
            GenerationError: vLLM's, where the engine failed or gave up the request: half an answer is no candidate.
        """
        from vllm.exceptions import GenerationError

        before = 0 if after is None else len(after.token_ids)
        left = self.most - before
        allowed = left if tokens is None else min(tokens, left)
        sampling = self._asking(index, part, before, allowed, until)
        if after is not None:
            sampling.extra_args = continued_arguments(sampling.extra_args, after.token_ids)
        measure = token_hex(16)
        if "certainty" in self._needs:
            sampling.extra_args = measured(sampling.extra_args, measure)
        name = f"{self._request_id}-{index}" + (f".{part}" if part else "")
        pieces: list[Any] = []
        output: Any = None
        prompt: Any = None
        async for output in self._client.generate(self._going_on(after), sampling, name, **self._options):
            pieces += output.outputs
            prompt = prompt or output.prompt_logprobs  # which a stream tells once
        output.prompt_logprobs = prompt
        if pieces[-1].finish_reason in _FAILED:
            raise GenerationError(
                f"the engine gave up a candidate of this request ({pieces[-1].finish_reason})"
            )
        self._tell(index, part, output)
        certainty = None
        if "certainty" in self._needs:
            generated = sum(len(piece.token_ids) for piece in pieces)
            certainty = await self._certainty(measure, generated, name)
        drawn = _candidate(index, pieces, certainty)
        if after is None and not until:
            held = drawn.finish_reason == "length" and allowed < left
            return dataclasses.replace(drawn, finish_reason=None) if held else drawn
        return self._put_together(after, drawn, more=allowed < left)

    async def _certainty(self, measure: str, generated: int, name: str) -> float:
        options = {key: self._options[key] for key in _READING if key in self._options}
        try:
            return await read_certainty(self._client, measure, generated, f"{name}-certainty", **options)
        except ValueError as error:
            raise ScorerError(str(error)) from None

    def _asking(self, index: int, part: int, before: int, allowed: int, until: str) -> SamplingParams:
        sampling = copy(self._sampling)
        sampling.n = 1
        sampling.seed = seed_of(sampling.seed, index, part)
        sampling.max_tokens = allowed
        sampling.min_tokens = min(max(0, sampling.min_tokens - before), allowed)
        if "logprobs" in self._needs and sampling.logprobs is None:
            sampling.logprobs = 0  # the drawn token's alone
        if index or part:
            sampling.prompt_logprobs = None  # told once
        if until:
            sampling.stop = [*_listed(sampling.stop), until]
            sampling.include_stop_str_in_output = True
            sampling.output_text_buffer_length = 0
        return sampling

    def _going_on(self, after: Candidate | None) -> Any:
        if after is None:
            return self._prompt
        going_on = {**self._prompt, "prompt_token_ids": [*self._prompt["prompt_token_ids"], *after.token_ids]}
        going_on.pop("prompt", None)
        return going_on

    def _tell(self, index: int, part: int, output: Any) -> None:
        if part == 0 and (self._output_index < 0 or index < self._output_index):
            self.output, self._output_index = output, index

    def _put_together(self, after: Candidate | None, drawn: Candidate, *, more: bool) -> Candidate:
        """All of an answer, its text read anew: a character or a stop string may lie across the seam."""
        whole = drawn if after is None else _joined(after, drawn)
        ids = whole.token_ids
        if drawn.finish_reason == "stop" and not isinstance(drawn.stop_reason, str):
            # A token ended it, which belongs to its text only where the request says so.
            ids = ids if self._sampling.include_stop_str_in_output else ids[:-1]
        whole = dataclasses.replace(whole, text=self._text(ids), pieces=())
        seam = 0 if after is None else len(after.text)
        if self._sampling.min_tokens:
            seam = max(seam, len(self._text(ids[: self._sampling.min_tokens])))  # no answer stops before
        stopped = self._stopped(whole, seam)
        if stopped is not None:
            return stopped
        # A text ended it, and none of the request's: that of a step, or one that vLLM has found in the prompt, whose
        # text it takes for new where the answer goes on from half a character.
        held = isinstance(drawn.stop_reason, str) or (drawn.finish_reason == "length" and more)
        return dataclasses.replace(whole, finish_reason=None, stop_reason=None) if held else whole

    def _text(self, ids: Sequence[int]) -> str:
        return answer_text(self._decode, self._prompt["prompt_token_ids"], ids)

    def _stopped(self, candidate: Candidate, seam: int) -> Candidate | None:
        """A text up to that of the request's stop strings which, behind ``seam``, is complete first; None for none."""
        found = [
            (place + len(stop), stop)
            for stop in _listed(self._sampling.stop)
            if (place := candidate.text.find(stop, max(0, seam - len(stop) + 1))) >= 0
        ]
        if not found:
            return None
        end, stop = min(found, key=itemgetter(0))  # of equals the first that is listed, as vLLM has it
        end -= 0 if self._sampling.include_stop_str_in_output else len(stop)
        return dataclasses.replace(
            candidate, text=candidate.text[:end], finish_reason="stop", stop_reason=stop
        )


def _candidate(index: int, pieces: Sequence[Any], certainty: float | None) -> Candidate:
    """The engine's outputs of one request, one or a stream of them, as a candidate."""
    token_ids = tuple(token for piece in pieces for token in piece.token_ids)
    entries = logprobs = None
    if pieces and all(piece.logprobs is not None for piece in pieces if piece.token_ids):
        entries = tuple(entry for piece in pieces for entry in piece.logprobs or ())
        logprobs = tuple(entry[token].logprob for entry, token in zip(entries, token_ids, strict=True))
    last = pieces[-1]
    return Candidate(
        index=index,
        text="".join(piece.text for piece in pieces),
        token_ids=token_ids,
        finish_reason=last.finish_reason,
        logprobs=logprobs,
        certainty=certainty,
        stop_reason=last.stop_reason,
        entries=entries,
        pieces=tuple(pieces),
    )


def _joined(after: Candidate, drawn: Candidate) -> Candidate:
    """``drawn`` with what stands before it, but for its text."""
    logprobs = entries = certainty = None
    if after.logprobs is not None and drawn.logprobs is not None:
        logprobs = after.logprobs + drawn.logprobs
    if after.entries is not None and drawn.entries is not None:
        entries = after.entries + drawn.entries
    if after.certainty is not None and drawn.certainty is not None:
        counts = len(after.token_ids), len(drawn.token_ids)
        certainty = (after.certainty * counts[0] + drawn.certainty * counts[1]) / sum(counts)
    return dataclasses.replace(
        drawn,
        token_ids=after.token_ids + drawn.token_ids,
        logprobs=logprobs,
        entries=entries,
        certainty=certainty,
    )


def outputs_of(candidate: Candidate, choice: int, like: Any) -> list[Any]:
    """A candidate as vLLM's outputs of choice ``choice``: as the engine gave them, or in one where it was put together.

    Args:
        candidate: a complete one.
        choice: its place in the answer.
        like: one of the engine's outputs, for what a candidate doesn't know of itself.
    """
    if candidate.pieces and candidate.pieces[-1].finish_reason == candidate.finish_reason:
        return [dataclasses.replace(piece, index=choice) for piece in candidate.pieces]
    whole = dataclasses.replace(
        like,
        index=choice,
        text=candidate.text,
        token_ids=list(candidate.token_ids),
        cumulative_logprob=None if candidate.logprobs is None else sum(candidate.logprobs),
        logprobs=None if candidate.entries is None else list(candidate.entries),
        finish_reason=candidate.finish_reason,
        stop_reason=candidate.stop_reason,
    )
    return [whole]


def _listed(stop: str | Sequence[str] | None) -> list[str]:
    return [stop] if isinstance(stop, str) else list(stop or ())
