from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.overhead.loop import TransformersLoop, closed_loop, static_batches
from motet_benchmarks.overhead.models import Models
from motet_benchmarks.overhead.workload import Order
from motet_decoding.contrast import Contrast
from motet_decoding.reference import greedy_tokens
from motet_decoding.testing import llama_config, write_model


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
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A random expert and a smaller random amateur."""
    folders = tmp_path_factory.mktemp("pair")
    expert = write_model(folders / "expert", llama_config(64, 2), seed=1)
    return expert, write_model(folders / "amateur", llama_config(32, 1), seed=2)


@pytest.fixture(scope="module")
def models(pair: tuple[Path, Path]) -> Models:
    return Models.load(*map(str, pair))


def test_the_loop_writes_what_the_reference_writes(models: Models, pair: tuple[Path, Path]):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    contrast = Contrast(strength=1.0, plausibility=0.01)
    prompts = ["abc", "a much longer prompt", "q"]
    texts = TransformersLoop(models, contrast)(prompts, 12)
    tokenizer = AutoTokenizer.from_pretrained(pair[0])
    expert, amateur = (AutoModelForCausalLM.from_pretrained(folder).eval() for folder in pair)
    for prompt, text in zip(prompts, texts, strict=True):
        tokens = greedy_tokens(expert, amateur, tokenizer(prompt)["input_ids"], contrast, 12)
        assert text == tokenizer.decode(tokens, skip_special_tokens=True)
    plain = greedy_tokens(expert, amateur, tokenizer(prompts[0])["input_ids"], None, 12)
    assert texts[0] != tokenizer.decode(plain, skip_special_tokens=True)


def test_forward_passes_are_decode_steps_with_a_cache(models: Models):
    class Watched:
        """A model that takes a minute a token, and notes what it is given."""

        def __init__(self, model: Any, minutes: float) -> None:
            self.model, self.minutes, self.device = model, minutes, model.device
            self.shapes: list[tuple[int, int]] = []

        def __call__(self, ids: Any, **words: Any) -> Any:
            known = words["past_key_values"].get_seq_length() if "past_key_values" in words else 0
            assert words["attention_mask"].shape == (len(ids), known + ids.shape[1])
            self.shapes.append((*ids.shape, known))
            clock.sleep(60 * self.minutes * ids.shape[1])
            return self.model(ids, **words)

    clock = Clock()
    expert, amateur = Watched(models.expert, 3.0), Watched(models.amateur, 1.0)
    watched = replace(models, expert=expert, amateur=amateur)
    assert watched.decode(["ab", "abcd"], 5, clock=clock) == (5 * 180.0, 5 * 60.0)
    # The prompts at once, before the clock runs; then token by token.
    assert expert.shapes == amateur.shapes == [(2, 4, 0), *((2, 1, 4 + step) for step in range(5))]


def test_models_that_are_not_there(tmp_path: Path):
    with pytest.raises(BenchmarkError, match="can't load"):
        Models.load(str(tmp_path), str(tmp_path))


def test_models_of_different_width(pair: tuple[Path, Path], tmp_path: Path):
    wide = write_model(tmp_path, llama_config(32, 1, vocab_size=384), seed=3)
    with pytest.raises(BenchmarkError, match="not 320 and 384"):
        Models.load(str(pair[0]), str(wide))
