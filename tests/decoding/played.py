"""An engine that is played: its tokens are characters, its answers scripted by seed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from types import SimpleNamespace
from typing import Any

from vllm import SamplingParams
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind

from motet_decoding.engine.arguments import Reading, ensure_engine_key, read_asked
from motet_decoding.engine.candidates import EngineSource
from motet_decoding.engine.rewards import PARTS

END = 1
PARALLEL = {"local_engines_only": False, "data_parallel_size": 4, "data_parallel_size_local": 1}
PROMPT = {"type": "token", "prompt_token_ids": [5, 6], "prompt": "ab", "cache_salt": "mine"}


def text_of(ids: Sequence[int]) -> str:
    return "".join(chr(token) for token in ids if token != END)


class Engine:
    """Plays vLLM's ``EngineClient``: what follows a prompt is said by ``says(begun, seed)``."""

    def __init__(self, says: Callable[[str, int | None], str]) -> None:
        self.says = says
        self.ending: str | None = None
        self.asked: list[tuple[Any, SamplingParams, str, dict[str, Any]]] = []
        self.aborted: list[str] = []
        #: Certainties by measurement: 1 of the first that is measured, 2 of the second.
        self.measured: dict[str, float] = {}
        self.readings: list[Reading] = []
        self.vllm_config = SimpleNamespace(parallel_config=SimpleNamespace(**PARALLEL))

    async def generate(
        self, prompt: Any, sampling: SamplingParams, name: str, **options: Any
    ) -> AsyncIterator[RequestOutput]:
        self.asked.append((prompt, sampling, name, options))
        wish = read_asked(sampling.extra_args, ensure_engine_key())
        if wish.reading is not None:
            yield self.read(wish.reading, name)
            return
        if wish.measure is not None:
            self.measured[wish.measure] = len(self.measured) + 1.0
        begun = text_of(prompt["prompt_token_ids"][2:])
        said = self.says(begun, sampling.seed)
        if said == "forever":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.aborted.append(name)
                raise
        ids, text, reason, stopped = [*map(ord, said), END], said, "stop", None
        if len(ids) > sampling.max_tokens:
            ids, reason = ids[: sampling.max_tokens], "length"
            text = text_of(ids)
        found = [
            (place + len(stop), stop)
            for stop in sampling.stop or ()
            if (place := text.find(stop, max(0, sampling.min_tokens - len(stop) + 1))) >= 0
        ]
        if found:
            end, stopped = min(found)
            reason, place = "stop", end - len(stopped)
            ids = ids[:end]
            text = text[: place + len(stopped)] if sampling.include_stop_str_in_output else text[:place]
        delta = sampling.output_kind == RequestOutputKind.DELTA
        parts = [(text[:1], ids[:1]), (text[1:], ids[1:])] if delta and len(ids) > 1 else [(text, ids)]
        for number, (piece, tokens) in enumerate(parts, 1):
            logprobs = [{token: SimpleNamespace(logprob=-0.5)} for token in tokens]
            output = CompletionOutput(0, piece, tokens, None, None if sampling.logprobs is None else logprobs)
            if number == len(parts):
                output.finish_reason, output.stop_reason = self.ending or reason, stopped
            prompt = [None, {6: "told"}] if sampling.prompt_logprobs is not None else None
            if delta and number > 1:
                prompt = prompt and []  # a stream tells them once
            yield RequestOutput(name, "ab", [5, 6], prompt, [output], number == len(parts))

    def read(self, reading: Reading, name: str) -> RequestOutput:
        self.readings.append(reading)
        told = {token: SimpleNamespace(logprob=0.0) for token in range(1 + PARTS)}
        if reading.measure in self.measured:
            told[1] = SimpleNamespace(logprob=self.measured[reading.measure])
        else:
            del told[1]
        return RequestOutput(name, None, [0], None, [CompletionOutput(0, "", [0], None, [told])], True)


def source(says: Callable[[str, int | None], str], needs: Sequence[Any] = (), **sampling: Any):
    engine = Engine(says)
    params = SamplingParams(**{"temperature": 1.0, "max_tokens": 20, "seed": 3, **sampling})
    made = EngineSource(
        engine,
        PROMPT,
        params,
        "id",
        needs=needs,
        decode=text_of,
        options={"priority": 2, "lora_request": "l"},
    )
    return made, engine
