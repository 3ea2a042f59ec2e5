"""What the samplers are measured against: transformers' own `generate`, drawing, one static batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from motet_alignment.train.models import Base
from motet_alignment.train.ppo.rollout import PolicyFiles, Prompt, Rollout
from motet_alignment.train.ppo.samplers import PolicyModel
from motet_alignment.train.ppo.samplers.answers import end_tokens, rollout, until_end


class Generate:
    """A `Sampler` of one call of `generate`; all rows draw from one stream, that of the first seed."""

    def __init__(self, policy: PolicyModel, base: Base, most: int) -> None:
        """`most`: an answer's most tokens."""
        self._policy, self._base, self._most = policy, base, most
        self._ends = end_tokens(base)

    def follow(self, policy: PolicyFiles) -> None:
        """Nothing to do: it is the policy's model."""

    def sample(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], *, greedy: bool = False
    ) -> list[Rollout]:
        """One answer to each prompt, all of them in one batch, padded on the left."""
        width, padding = max(len(prompt.ids) for prompt in prompts), self._base.tokenizer.pad_token_id
        filled = [width - len(prompt.ids) for prompt in prompts]
        ids = [[padding] * fill + list(prompt.ids) for fill, prompt in zip(filled, prompts, strict=True)]
        mask = [[0] * fill + [1] * (width - fill) for fill in filled]
        torch.manual_seed(seeds[0])
        with self._policy.as_policy() as model, torch.inference_mode():
            said = model.generate(
                input_ids=torch.tensor(ids, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                do_sample=not greedy,
                temperature=None if greedy else 1.0,
                top_k=None if greedy else 0,
                top_p=None if greedy else 1.0,
                max_new_tokens=self._most,
                eos_token_id=list(self._ends),
                pad_token_id=padding,
            )
        rows = said[:, width:].tolist()
        return [
            rollout(prompt, until_end(row, self._ends), self._base, self._ends)
            for prompt, row in zip(prompts, rows, strict=True)
        ]

    def rest(self) -> None:
        """Nothing: it is the policy's model."""

    def close(self) -> None:
        """Nothing to end."""
