"""The smallest language model: a table of logits for each prompt and each beginning of an answer."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import cache

import torch
from torch import Tensor, nn

from motet_alignment.data import Message
from motet_alignment.train import PpoSettings
from motet_alignment.train.devices import Place
from motet_alignment.train.ppo.microbatch import Microbatch
from motet_alignment.train.ppo.rollout import Prompt, Rollout
from motet_alignment.train.ppo.together import Together

#: Ends an answer before its longest length.
END = 0
Answer = tuple[int, ...]


class TableActor:
    """A policy, a reference and values of answers of one or two tokens to prompts of one."""

    def __init__(self, vocabulary: int, longest: int, reference: Tensor) -> None:
        """`reference` [states, vocabulary]: log-probabilities, which the policy starts at. States: `state`."""
        self.vocabulary, self.longest, self.reference = vocabulary, longest, reference
        self.logits = nn.Parameter(reference.clone())
        self.worth = nn.Parameter(reference.new_zeros(len(reference)))
        self.policy_parameters: Mapping[str, nn.Parameter] = {"logits": self.logits}
        self.value_parameters: Mapping[str, nn.Parameter] = {"worth": self.worth}

    def state(self, prompt: int, begun: Sequence[int] = ()) -> int:
        """The table's row for a prompt and the answer's first token, if there is one."""
        return prompt * (1 + self.vocabulary) + (1 + begun[0] if begun else 0)

    def _states(self, batch: Microbatch) -> Tensor:
        first = batch.ids[:, :1] * (1 + self.vocabulary)
        return torch.cat([first, first + 1 + batch.answers[:, :1]], dim=1)[:, : batch.answers.shape[1]]

    def logprobs(self, batch: Microbatch, *, with_entropy: bool) -> tuple[Tensor, Tensor | None]:
        """As the learner's Actor."""
        every = self.logits.log_softmax(-1)[self._states(batch)]
        entropy = -(every.exp() * every).sum(-1) if with_entropy else None
        return every.gather(-1, batch.answers.unsqueeze(-1)).squeeze(-1), entropy

    def reference_logprobs(self, batch: Microbatch) -> Tensor:
        """As the learner's Actor."""
        every = self.reference[self._states(batch)]
        return every.gather(-1, batch.answers.unsqueeze(-1)).squeeze(-1)

    def values(self, batch: Microbatch) -> Tensor:
        """As the learner's Actor."""
        return self.worth[self._states(batch)]

    def every_answer(self) -> list[Answer]:
        """All answers that there are."""
        if self.longest == 1:
            return [(token,) for token in range(self.vocabulary)]
        begun = [token for token in range(self.vocabulary) if token != END]
        return [(END,), *itertools.product(begun, range(self.vocabulary))]

    def log_probability(self, prompt: int, answer: Answer, logprobs: Tensor) -> Tensor:
        """Of a whole answer, under a table of log-probabilities."""
        return torch.stack(
            [logprobs[self.state(prompt, answer[:t]), answer[t]] for t in range(len(answer))]
        ).sum()

    def distribution(self, prompt: int, *, reference: bool = False) -> Tensor:
        """Probabilities of `every_answer`, with gradient."""
        logprobs = self.reference if reference else self.logits.log_softmax(-1)
        return torch.stack([self.log_probability(prompt, one, logprobs) for one in self.every_answer()]).exp()

    def rollout(self, prompt: int, answer: Answer) -> Rollout:
        """An answer as the learner takes it."""
        return Rollout(asked(prompt), answer, "", True, None)

    def sample(self, prompts: Sequence[int], dice: torch.Generator) -> list[Rollout]:
        """An answer to each prompt."""
        with torch.no_grad():
            shares = torch.stack([self.distribution(prompt) for prompt in range(max(prompts) + 1)])
        places = torch.multinomial(shares[list(prompts)], 1, generator=dice).squeeze(-1).tolist()
        every = self.every_answer()
        return [self.rollout(prompt, every[place]) for prompt, place in zip(prompts, places, strict=True)]


@cache
def asked(prompt: int) -> Prompt:
    """A prompt of one token."""
    return Prompt((Message(role="user", content="?"),), (prompt,), {}, f"table:{prompt}")


def settings_of(**more: object) -> PpoSettings:
    """Settings of a training that needs no files."""
    return PpoSettings.model_validate(
        {"data": ("unread.jsonl",), "model": "table", "reward": ("gym",), "precision": "fp32", "warm_up": 0.0}
        | more
    )


def together() -> Together:
    """One process."""
    return Together(Place("cpu", "fp32"))
