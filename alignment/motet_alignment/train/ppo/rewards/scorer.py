"""Rewards by somebody's own server: POST items, get a number for each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from motet_alignment.errors import TrainError
from motet_alignment.train.ppo.rewards.posting import Poster, batches
from motet_alignment.train.ppo.rewards.reward import Answered, described

#: Answers in one request.
BATCH = 64
#: Where the scorer's key stands, if it wants one.
KEY = "MOTET_SCORER_KEY"


class ScorerReward:
    """Posts `{"items": [{"messages", "answer", "ended", "row"}, ...]}` and is answered `{"rewards": [...]}`."""

    def __init__(self, url: str, said: str) -> None:
        """`said` is how it was asked for. Raises TrainError for a URL that is none."""
        self._said = said
        self._post = Poster(url, said, os.environ.get(KEY))

    def __call__(self, answered: Sequence[Answered]) -> list[float]:
        """The scorer's rewards. Raises TrainError naming the URL and the first answer that was sent."""
        found: list[float] = []
        for batch in batches(answered, [_size(one) for one in answered], BATCH):
            about = f"asked for {len(batch)} answers, the first: {described(batch[0])}"
            said = self._post({"items": [_item(one) for one in batch]}, about)
            rewards = said.get("rewards") if isinstance(said, dict) else None
            if not isinstance(rewards, list) or len(rewards) != len(batch):
                raise TrainError(
                    f'{self._said}: must answer {{"rewards": [...]}} with {len(batch)} numbers; {about}'
                )
            found += rewards
        return found

    def close(self) -> None:
        """Ends its connections."""
        self._post.close()


def _item(one: Answered) -> dict[str, Any]:
    messages = [{"role": message.role, "content": message.content} for message in one.messages]
    return {"messages": messages, "answer": one.answer, "ended": one.ended, "row": dict(one.row)}


def _size(one: Answered) -> int:
    return len(repr(one.row)) + len(one.answer) + sum(len(message.content) for message in one.messages)
