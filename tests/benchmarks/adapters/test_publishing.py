"""What is made, what it must answer, and how it comes into a store."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest

from motet_alignment.store import AdapterStore, fingerprint
from motet_benchmarks.adapters import run
from motet_benchmarks.adapters.plan import Plan
from motet_benchmarks.adapters.publishing import StorePublisher
from motet_benchmarks.errors import BenchmarkError
from motet_models import EXPERT

PLAN = Plan(swaps=2, prompts=2, tokens=12, rank=4)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> run.Made:
    return run.prepare(PLAN, EXPERT, tmp_path_factory.mktemp("made") / "adapters")


def test_every_voice_has_answers_of_its_own(made: run.Made):
    assert set(made.answers) == {None, 0, 1, 2}
    for each in made.answers.values():
        assert [len(answer.tokens) for answer in each] == [PLAN.tokens] * PLAN.prompts
        assert all(0 < answer.sure <= PLAN.tokens for answer in each)
    assert len({answers[1].tokens for answers in made.answers.values()}) == 4


def test_the_base_answers_as_a_loop_without_adapters(made: run.Made):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(EXPERT, dtype="float32")
    for ids, answer in zip(made.loop.prompts, made.answers[None], strict=True):
        tokens = list(ids)
        with torch.inference_mode():
            for _ in range(PLAN.tokens):
                tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
        assert answer.agrees(tokens[len(ids) :])


def test_versions_come_and_go(made: run.Made, tmp_path: Path):
    store = AdapterStore(tmp_path / "store")
    publisher = StorePublisher(
        store, "bench", made.folders, fingerprint(str(EXPERT)), EXPERT, 2, time.monotonic
    )
    swaps = [publisher.publish(number) for number in range(3)]
    assert [swap.number for swap in swaps] == [0, 1, 2]
    assert all(one.begun <= one.published <= two.begun for one, two in pairwise(swaps))
    assert len({swap.reference for swap in swaps}) == 3
    assert store.get("bench").reference == swaps[2].reference
    assert store.get("bench").manifest.rank == PLAN.rank
    publisher.tidy()
    assert [adapter.reference for adapter in store.versions("bench")] == [
        swap.reference for swap in swaps[1:]
    ]
    publisher.leave()
    assert store.names() == []
    publisher.leave()


def test_what_the_store_refuses_is_told(made: run.Made, tmp_path: Path):
    publisher = StorePublisher(
        AdapterStore(tmp_path),
        "bench",
        [tmp_path / "none"],
        fingerprint(str(EXPERT)),
        EXPERT,
        2,
        time.monotonic,
    )
    with pytest.raises(BenchmarkError, match="publishing version 0: there is no adapter folder"):
        publisher.publish(0)


def test_versions_that_answer_alike_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("motet_benchmarks.adapters.making.STRENGTH", 1e-6)
    with pytest.raises(BenchmarkError, match="only 0% of the versions' answers can be told apart"):
        run.prepare(PLAN, EXPERT, tmp_path / "adapters")
    with pytest.raises(BenchmarkError, match="more than the 1024 tokens"):
        run.prepare(Plan(tokens=1020), EXPERT, tmp_path / "others")
