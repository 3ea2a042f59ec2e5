from __future__ import annotations

from pathlib import Path

import pytest

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.serving.loop import TransformersLoop, closed_loop, static_batches
from motet_benchmarks.serving.workload import Order
from motet_decoding.contrast import Contrast


class Clock:
    """Time that passes only when somebody sleeps or works."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class FakeLoop:
    """Takes a second a token, whatever the batch."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.calls: list[tuple[list[str], int]] = []

    def __call__(self, prompts, tokens):
        self.calls.append((list(prompts), tokens))
        self.clock.sleep(tokens)
        return [prompt.upper() for prompt in prompts]


def test_a_static_batch_waits_for_its_longest():
    clock = Clock()
    loop = FakeLoop(clock)
    orders = [Order("a", 2), Order("b", 9), Order("c", 1)]
    timing = static_batches(loop, orders, batch=2, clock=clock, sleep=clock.sleep)
    assert loop.calls == [(["a", "b"], 9), (["c"], 1)]
    assert (timing.requests, timing.tokens, timing.seconds) == (3, 12, 10.0)
    assert timing.wait == pytest.approx((9 + 9 + 10) / 3)


def test_a_static_batch_takes_who_is_there():
    clock = Clock()
    loop = FakeLoop(clock)
    orders = [
        Order("d", 1, arrival=20.0),
        Order("a", 4, arrival=1.0),
        Order("b", 2, arrival=2.0),
        Order("c", 3, arrival=4.5),
    ]
    timing = static_batches(loop, orders, batch=8, clock=clock, sleep=clock.sleep)
    # a alone from 1 to 5, then b and c until 8, then nobody until 20.
    assert loop.calls == [(["a"], 4), (["b", "c"], 3), (["d"], 1)]
    assert timing.seconds == 21.0
    assert timing.wait == pytest.approx((4 + 6 + 3.5 + 1) / 4)


def test_closed_batches_are_answered_in_order():
    clock = Clock()
    loop = FakeLoop(clock)
    timing, texts = closed_loop(loop, ["a", "b", "c"], batch=2, tokens=5)
    assert texts == ["A", "B", "C"]
    assert loop.calls == [(["a", "b"], 5), (["c"], 5)]
    assert (timing.requests, timing.tokens) == (3, 15)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A random pair over single letters."""
    import torch
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers import models as kinds
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folders = []
    for seed, layers in ((1, 2), (2, 1)):
        folder = tmp_path_factory.mktemp("model")
        letters = {letter: place for place, letter in enumerate("abcdefghijklmnopqrstuvwxyz ")}
        tokenizer = Tokenizer(kinds.WordLevel(letters, unk_token=" "))
        tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
        tokenizer.decoder = decoders.Fuse()
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="z").save_pretrained(folder)
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=len(letters),
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=layers,
            num_attention_heads=1,
            num_key_value_heads=1,
            bos_token_id=None,
            eos_token_id=letters["z"],
            initializer_range=0.5,
        )
        LlamaForCausalLM(config).save_pretrained(folder)
        folders.append(folder)
    return folders[0], folders[1]


def test_the_loop_writes_what_the_reference_writes(models: tuple[Path, Path]):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from motet_decoding.reference import greedy_tokens

    contrast = Contrast(strength=1.0, plausibility=0.01)
    prompts = ["abc", "a much longer prompt", "q"]
    texts = TransformersLoop(str(models[0]), str(models[1]), contrast)(prompts, 12)
    tokenizer = AutoTokenizer.from_pretrained(models[0])
    expert, amateur = (AutoModelForCausalLM.from_pretrained(folder).eval() for folder in models)
    for prompt, text in zip(prompts, texts, strict=True):
        tokens = greedy_tokens(expert, amateur, tokenizer(prompt)["input_ids"], contrast, 12)
        assert text == tokenizer.decode(tokens, skip_special_tokens=True)
    plain = greedy_tokens(expert, amateur, tokenizer(prompts[0])["input_ids"], None, 12)
    assert texts[0] != tokenizer.decode(plain, skip_special_tokens=True)


def test_models_that_are_not_there(tmp_path: Path):
    with pytest.raises(BenchmarkError, match="can't load"):
        TransformersLoop(str(tmp_path), str(tmp_path), Contrast())
