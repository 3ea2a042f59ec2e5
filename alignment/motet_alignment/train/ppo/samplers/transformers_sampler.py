"""Answers by the model in training itself, with transformers' `generate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from motet_alignment.train.models import Base
from motet_alignment.train.ppo.rollout import PolicyFiles, Prompt, Rollout
from motet_alignment.train.ppo.samplers.answers import end_tokens, rollout, room, until_end
from motet_alignment.train.ppo.settings import PpoSettings

if TYPE_CHECKING:
    from motet_alignment.train.ppo.samplers import PolicyModel

#: Tokens of prompts and answers at once, for one that learning takes: without gradients they need far less memory.
_TIMES = 4


class TransformersSampler:
    """A `Sampler` that always follows: it answers with the live policy, so that its log-probabilities are training's.

    Prompts of like length are answered together, `settings.batch_tokens` times four at once. The model computes in its
    own precision, without autocast.
    """

    def __init__(self, settings: PpoSettings, base: Base, policy: PolicyModel) -> None:
        """Looks at nothing but the base's end tokens."""
        self._settings = settings
        self._base = base
        self._policy = policy
        self._ends = end_tokens(base)
        self._batch_tokens = _TIMES * (settings.batch_tokens or 4096)

    def follow(self, policy: PolicyFiles) -> None:
        """Nothing to do: the policy is the live one."""

    def sample(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], *, greedy: bool = False
    ) -> list[Rollout]:
        """One answer to each prompt by the policy as it is now."""
        if len(seeds) != len(prompts):
            raise ValueError(f"{len(prompts)} prompts and {len(seeds)} seeds")
        found: dict[int, Rollout] = {}
        order = sorted(range(len(prompts)), key=lambda place: -len(prompts[place].ids))
        rooms = [room(prompt, self._base, self._settings.max_answer) for prompt in prompts]
        with self._policy.as_policy() as model, _plain(model) as generating:
            while order:
                width, most = len(prompts[order[0]].ids), rooms[order[0]]
                count = max(1, self._batch_tokens // (width + most))
                # None goes on beyond the context, where a model may have no positions, while others still answer.
                batch = [place for place in order[:count] if rooms[place] == most]
                order = order[len(batch) :]
                answers = self._answer(
                    generating,
                    [prompts[place] for place in batch],
                    None if greedy else [seeds[place] for place in batch],
                    most,
                )
                found |= dict(zip(batch, answers, strict=True))
        return [found[place] for place in range(len(prompts))]

    def _answer(self, model: Any, prompts: list[Prompt], seeds: list[int] | None, most: int) -> list[Rollout]:
        width = max(len(prompt.ids) for prompt in prompts)
        padding = self._base.tokenizer.pad_token_id
        ids = [[padding] * (width - len(prompt.ids)) + list(prompt.ids) for prompt in prompts]
        mask = [[0] * (width - len(prompt.ids)) + [1] * len(prompt.ids) for prompt in prompts]
        draws = LogitsProcessorList(
            [] if seeds is None else [_Drawn(seeds, most, self._settings.temperature)]
        )
        with torch.no_grad():
            said = model.generate(
                input_ids=torch.tensor(ids, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                logits_processor=draws,
                max_new_tokens=most,
                do_sample=False,
                eos_token_id=list(self._ends) or None,
                pad_token_id=padding,
            )
        return [
            rollout(prompt, until_end(row, self._ends), self._base, self._ends)
            for prompt, row in zip(prompts, said[:, width:].tolist(), strict=True)
        ]

    def rest(self) -> None:
        """Nothing: there is no other model."""

    def close(self) -> None:
        """Nothing to end."""


@contextmanager
def _plain(model: Any) -> Iterator[Any]:
    """The model as `generate` needs it, and as it was again.

    Its own generation settings (a repetition penalty, say) would make it draw from another distribution than the one
    that learns; and a model that computes gradients anew, as training may want, does without a cache.
    """
    generating = model.get_base_model()
    settings, training = generating.generation_config, model.training
    generating.generation_config = GenerationConfig()
    model.eval()
    try:
        yield generating
    finally:
        generating.generation_config = settings
        model.train(training)


class _Drawn(LogitsProcessor):  # type: ignore[misc,unused-ignore]
    """Leaves `generate` one token to choose: the one drawn at the temperature with the row's own seed.

    `generate` itself draws all rows from one stream of random numbers, in which an answer would depend on its
    neighbours. Here a row has its own: its k-th number picks its k-th token from the cumulated probabilities.
    """

    def __init__(self, seeds: Sequence[int], most: int, temperature: float) -> None:
        streams = [
            torch.rand(most, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
            for seed in seeds
        ]
        self._numbers = torch.stack(streams)
        self._temperature = temperature
        self._step = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """0 for the drawn token, minus infinity for the others; [rows, vocabulary]."""
        # In float64, or unlikely tokens behind likely ones would be lost in rounding.
        sums = (scores.double() / self._temperature).softmax(-1).cumsum(-1)
        numbers = self._numbers[:, self._step, None].to(sums)
        self._step += 1
        chosen = torch.searchsorted(sums, numbers * sums[:, -1:], right=True)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen.clamp_(max=scores.shape[1] - 1), 0.0)
