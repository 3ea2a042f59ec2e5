"""Rewards by a reward adapter of the store, on the base that is being trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from motet_alignment.data import Message
from motet_alignment.data.template import chat_text, token_ids
from motet_alignment.errors import StoreError, TrainError
from motet_alignment.store import Adapter
from motet_alignment.train.models import Base, find_adapter
from motet_alignment.train.ppo.rewards.reward import Answered


class AdapterScorers(Protocol):
    """Who holds the base and takes reward adapters on."""

    def add_reward(self, adapter: Adapter) -> Callable[[Sequence[Sequence[int]]], list[float]]:
        """Loads it; the raw scores of token ids, each sequence's read at its last token."""
        ...


class AdapterReward:
    """A reward adapter's raw score of the whole conversation, as /v1/rewards gives it."""

    def __init__(
        self, reference: str, said: str, store: Path | None, base: Base, scorers: AdapterScorers
    ) -> None:
        """Finds it and loads it; `said` is how it was asked for. Raises TrainError as `reward_adapter`."""
        self.adapter = reward_adapter(reference, said, store, base)
        self._tokenizer = own_tokenizer(base, self.adapter.chat_template)
        self._context = base.context
        self._score = scorers.add_reward(self.adapter)

    def __call__(self, answered: Sequence[Answered]) -> list[float]:
        """Raw scores. Of a conversation longer than the context the end is cut off, as the policy's own was."""
        return self._score([conversation_ids(self._tokenizer, one)[: self._context] for one in answered])


def reward_adapter(reference: str, said: str, store: Path | None, base: Base) -> Adapter:
    """The reward adapter, which must be one of this base. Raises TrainError where there is none, or no such."""
    try:
        adapter = find_adapter(reference, store)
    except StoreError as problem:
        raise TrainError(f"{said}: {problem}") from None
    if adapter.kind != "reward":
        raise TrainError(f"{said}: {adapter.reference} is a {adapter.kind} adapter, which gives no rewards")
    own = adapter.manifest.chat_template is None
    if differ := adapter.manifest.base.differences(base.fingerprint, template=own):
        raise TrainError(
            f"{said}: {adapter.reference} was trained on {adapter.manifest.base.name}, whose "
            f"{' and '.join(differ)} are not those of {base.fingerprint.name}, which is being trained"
        )
    return adapter


def own_tokenizer(base: Base, template: str | None) -> Any:
    """The base's tokenizer with this chat template or the base's own, either of which the policy's may not be."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base.folder)
    if template is not None:
        tokenizer.chat_template = template
    return tokenizer


def conversation_ids(tokenizer: Any, answered: Answered, answer: str | None = None) -> list[int]:
    """The whole conversation's tokens; with another answer where one is given."""
    content = answered.answer if answer is None else answer
    said = (*answered.messages, Message(role="assistant", content=content))
    return token_ids(tokenizer, chat_text(tokenizer, said, answered.source))
