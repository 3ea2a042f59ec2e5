"""An engine that shares a GPU with training: what it is told when, played without a GPU."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from motet_alignment.errors import TrainError
from motet_alignment.train.devices import Place
from motet_alignment.train.ppo.samplers import make_sampler
from motet_alignment.train.ppo.samplers.engine_sampler import EngineSampler


class Played:
    """As much of vLLM's `LLM` as the sampler uses; notes what it is asked."""

    def __init__(self, said: list[str]) -> None:
        self.said = said
        self.llm_engine = self.engine_core = self.resources = self
        self.engine_dead = False

    def sleep(self, level: int) -> None:
        self.said.append(f"sleep {level}")

    def wake_up(self, tags: list[str] | None = None) -> None:
        self.said.append(f"wake {tags}")

    def add_lora(self, request) -> None:
        self.said.append(f"load {request.lora_int_id}")

    def remove_lora(self, number: int) -> None:
        self.said.append(f"drop {number}")

    def reset_prefix_cache(self) -> None:
        self.said.append("forget")

    def enqueue(self, prompts, asked, *, lora_request, use_tqdm: bool) -> None:
        self.said.append(f"ask {lora_request.lora_int_id}")

    def wait_for_completion(self, *, use_tqdm: bool) -> list[SimpleNamespace]:
        self.said.append("answer")
        return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=[5, 2])])]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def sampler(settings, base, said, monkeypatch):
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: said.append("training frees"))
    monkeypatch.setattr(EngineSampler, "_start", lambda self, place: Played(said))
    return lambda device: make_sampler(settings, base, Place(device, "fp32"), None)


ANSWERING = ["forget", "sleep 0", "ask 1", "wake ['scheduling']", "answer"]


def test_training_frees_its_memory_before_the_engine_wakes(sampler, said, versions, prompts):
    engine = sampler("cuda")
    engine.follow(versions[0])
    assert engine.sample(prompts[:1], [0], greedy=True)[0].ids == (5, 2)
    engine.rest()
    engine.rest()
    assert said == ["load 1", *ANSWERING, "sleep 1"]
    said.clear()
    engine.sample(prompts[:1], [0], greedy=True)
    assert said == ["training frees", "wake None", *ANSWERING]
    said.clear()
    engine.rest()
    engine.follow(versions[1])
    assert said == ["sleep 1", "training frees", "wake None", "drop 1", "load 2"]


def test_no_room_to_wake_in(sampler, versions, monkeypatch):
    def fails(self, tags=None) -> None:
        raise RuntimeError("Call to wake_up method failed: CUDA out of memory\nand so on")

    engine = sampler("cuda")
    engine.follow(versions[0])
    engine.rest()
    monkeypatch.setattr(Played, "wake_up", fails)
    with pytest.raises(TrainError, match=r"doesn't wake .*CUDA out of memory; a lower --engine-memory"):
        engine.follow(versions[1])


def test_on_a_cpu_nothing_sleeps(sampler, said, versions, prompts):
    engine = sampler("cpu")
    engine.follow(versions[0])
    engine.rest()
    engine.sample(prompts[:1], [0], greedy=True)
    assert said == ["load 1", *ANSWERING]
