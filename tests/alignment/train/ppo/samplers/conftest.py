"""The bundled policy in transformers, prompts of the gym, and what any sampler of it must give."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from motet_alignment.data import Message, render
from motet_alignment.store import AdapterStore
from motet_alignment.train.models import open_base
from motet_alignment.train.ppo.rollout import PolicyFiles, Prompt
from motet_alignment.train.ppo.settings import PpoSettings
from motet_benchmarks.gym.splits import instances
from motet_models import ADAPTERS

from .policy import TEMPERATURE, Policy

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")


@pytest.fixture(scope="session")
def settings() -> PpoSettings:
    """Not at temperature 1, which would hide whose log-probabilities are told."""
    return PpoSettings(
        data=(Path("unread"),), reward=("gym",), temperature=TEMPERATURE, max_answer=40, rank=16, device="cpu"
    )


@pytest.fixture(scope="session")
def base(settings):
    return open_base(settings)


@pytest.fixture(scope="session")
def versions() -> list[PolicyFiles]:
    """Two versions of a policy that answer differently."""
    store = AdapterStore(ADAPTERS)
    return [
        PolicyFiles(store.get(name).path, number) for number, name in enumerate(("motet-sft", "motet-dpo"))
    ]


@pytest.fixture(scope="session")
def policies(base, versions) -> list[Policy]:
    """The same in transformers."""
    return [Policy(base, version.folder) for version in versions]


@pytest.fixture(scope="session")
def prompts(base) -> list[Prompt]:
    """24 problems, some asking for steps, from 10 to 100 tokens and more."""
    problems = instances("validation", count=1, seed=5)[:24]
    asked = [one.stepwise() if one.steps and place % 2 else one for place, one in enumerate(problems)]
    chats = [tuple(Message.model_validate(message) for message in one.messages()) for one in asked]
    return [
        Prompt(
            messages=chat,
            ids=tuple(render(base.tokenizer, chat, context=base.context, generation_prompt=True).input_ids),
            row={},
            source=f"gym:{place}",
        )
        for place, chat in enumerate(chats)
    ]
