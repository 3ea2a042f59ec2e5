"""The text of an answer drawn in parts, as vLLM's own detokenizer tells it of one drawn in one."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from vllm import SamplingParams
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.v1.engine.detokenizer import FastIncrementalDetokenizer

from motet_decoding.engine.candidates import EngineSource

WORDS = ["one", "\u2581two", "\u2581", "a", "b", ".", "\n", "\u2581three"]


def pieces_of_sentences() -> PreTrainedTokenizerFast:
    """Like Llama 2's: a space begins each word and is dropped at the beginning of a text; other bytes by themselves."""
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *WORDS]
    model = models.BPE(
        {name: place for place, name in enumerate(names)}, [], unk_token="<unk>", byte_fallback=True
    )
    tokenizer = Tokenizer(model)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def bytes_of_pairs() -> PreTrainedTokenizerFast:
    """Like GPT-2's: every token is some bytes."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["<s>", "</s>", *letters, *(word.replace("\u2581", "\u0120") for word in WORDS if len(word) > 1)]
    tokenizer = Tokenizer(models.BPE({name: place for place, name in enumerate(names)}, []))
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


class Engine:
    """Says the same tokens whatever it is asked, from where the prompt leaves off, in vLLM's words."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, prompt: list[int], ids: list[int]) -> None:
        self.tokenizer, self.prompt, self.ids = tokenizer, prompt, ids

    async def generate(
        self, prompt: Any, sampling: SamplingParams, name: str
    ) -> AsyncIterator[RequestOutput]:
        begun = prompt["prompt_token_ids"]
        assert begun[: len(self.prompt)] == self.prompt
        ids = self.ids[len(begun) - len(self.prompt) :][: sampling.max_tokens]
        request = SimpleNamespace(request_id=name, prompt_token_ids=begun, sampling_params=sampling)
        detokenizer = FastIncrementalDetokenizer(self.tokenizer, request)
        ended = ids[-1] == self.tokenizer.eos_token_id
        stopped = None
        for place, token in enumerate(ids, 1):
            stopped = detokenizer.update([token], ended and place == len(ids))
            if stopped is not None:
                ids, ended = ids[:place], True
                break
        text = detokenizer.get_next_output_text(finished=True, delta=False)
        output = CompletionOutput(0, text, ids, None, None, finish_reason="stop" if ended else "length")
        output.stop_reason = stopped
        yield RequestOutput(name, None, begun, None, [output], True)


def texts(tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> list[int]:
    """Random words, some with characters of several tokens."""
    every = tokenizer.get_vocab()
    ids: list[int] = []
    for _ in range(rng.randrange(1, 12)):
        if rng.random() < 0.3:
            raw = rng.choice(["\u00e9", "\u20ac", "\U0001f600"]).encode()
            if "<0x00>" in every:
                ids += [every[f"<0x{byte:02X}>"] for byte in raw]
            else:
                table = tokenizer.backend_tokenizer.decoder
                spelled = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(raw.decode())[0][
                    0
                ]
                assert table is not None
                ids += [every[letter] for letter in spelled]
        else:
            word = rng.choice(WORDS)
            name = word if word in every else word.replace("\u2581", "\u0120").replace("\n", "\u010a")
            ids.append(every[name])
    return ids


@pytest.mark.anyio
@pytest.mark.parametrize("make", [pieces_of_sentences, bytes_of_pairs])
async def test_an_answer_in_parts_reads_as_one_in_one(make):
    tokenizer, rng = make(), random.Random(7)
    for _ in range(60):
        prompt = [tokenizer.bos_token_id, *texts(tokenizer, rng)]
        ids = [*texts(tokenizer, rng), tokenizer.eos_token_id][: rng.choice([4, 99])]
        stop = rng.choice([[], ["o"], ["b.", "\n"], [" thre"]])
        include, skip = rng.random() < 0.3, rng.random() < 0.7
        made = EngineSource(
            Engine(tokenizer, prompt, ids),
            {"type": "token", "prompt_token_ids": prompt},
            SamplingParams(
                max_tokens=len(ids), stop=stop, include_stop_str_in_output=include, skip_special_tokens=skip
            ),
            "id",
            needs=[],
            decode=lambda some, skip=skip: tokenizer.decode(some, skip_special_tokens=skip),
            options={},
        )
        whole = await made.draw(0)
        for until in ("", "a", "."):
            answer, part = await made.draw(0, tokens=rng.randrange(1, 4), until=until), 1
            while answer.finish_reason is None and len(answer.token_ids) < made.most:
                tokens = rng.randrange(1, 4)
                answer = await made.draw(0, after=answer, part=part, tokens=tokens, until=until)
                part += 1
            assert (answer.text, answer.token_ids, answer.stop_reason) == (
                whole.text,
                whole.token_ids,
                whole.stop_reason,
            )
