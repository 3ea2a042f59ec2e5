"""Rewards by what a running motet server has loaded: POST /v1/rewards."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from motet_alignment.data.template import token_ids
from motet_alignment.errors import TrainError
from motet_alignment.train.models import Base
from motet_alignment.train.ppo.rewards.adapter import conversation_ids, own_tokenizer
from motet_alignment.train.ppo.rewards.posting import Poster, batches
from motet_alignment.train.ppo.rewards.reward import Answered, described
from motet_alignment.train.ppo.settings import PpoSettings

#: Conversations in one request; the server scores them together.
BATCH = 256


class ServerReward:
    """The raw score of the whole conversation by one reward adapter, or one reward model, of a motet server.

    NAME is the version that is current when it is first asked: one published meanwhile changes no training.
    """

    def __init__(self, name: str, said: str, settings: PpoSettings, base: Base) -> None:
        """`said` is how it was asked for. Raises TrainError without the server's URL."""
        if not name:
            raise TrainError(f"{said}: must be server:NAME")
        if settings.url is None:
            raise TrainError(f"{said}: needs the server's --url")
        self._name, self._said = name, said
        self._tokenizer, self._context = own_tokenizer(base, None), base.context
        root = settings.url.rstrip("/").removesuffix("/v1")
        self._post = Poster(f"{root}/v1/rewards", said, settings.api_key or os.environ.get("MOTET_API_KEY"))

    def __call__(self, answered: Sequence[Answered]) -> list[float]:
        """Raw scores. Raises TrainError naming the URL and the first answer that was sent."""
        found: list[float] = []
        conversations = [self._conversation(one) for one in answered]
        sizes = [sum(len(turn["content"]) for turn in turns) for turns in conversations]
        places = range(len(answered))
        for batch in batches(places, sizes, BATCH):
            about = f"asked for {len(batch)} answers, the first: {described(answered[batch[0]])}"
            content = {"model": self._name, "conversations": [conversations[place] for place in batch]}
            found += self._rewards(self._post(content, about), len(batch), about)
        return found

    def _rewards(self, said: Any, count: int, about: str) -> list[float]:
        try:
            rewards = [one["reward"] for one in sorted(said["data"], key=lambda one: one["index"])]
            if len(rewards) != count:
                raise ValueError(f"{len(rewards)} rewards came for {count} answers")
            self._name = str(said.get("motet", {}).get("adapter") or self._name)
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise TrainError(
                f"{self._said}: the server's answer is no /v1/rewards: {problem}; {about}"
            ) from None
        return rewards

    def _conversation(self, one: Answered) -> list[dict[str, str]]:
        """As the server takes it: an answer that was cut off by the context makes room for what ends its turn."""
        answer = one.answer
        # The server counts a token that it would write.
        if len(conversation_ids(self._tokenizer, one)) >= self._context:
            tokens = token_ids(self._tokenizer, answer)
            while tokens and len(conversation_ids(self._tokenizer, one, answer)) >= self._context:
                tokens = tokens[:-1]
                answer = self._tokenizer.decode(tokens)
        turns = [{"role": message.role, "content": message.content} for message in one.messages]
        return [*turns, {"role": "assistant", "content": answer}]

    def close(self) -> None:
        """Ends its connections."""
        self._post.close()
