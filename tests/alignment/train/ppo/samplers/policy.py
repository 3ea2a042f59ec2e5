"""A policy in plain transformers, and the checks that every sampler of it must pass."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import torch
from peft import PeftModel
from scipy.stats import chisquare
from transformers import AutoModelForCausalLM

TEMPERATURE = 0.7
END = 2


# More threads than free cores wait for each other.
torch.set_num_threads(1)


class Policy:
    """Stands in for the model in training."""

    def __init__(self, base, folder: Path) -> None:
        self.base = base
        self.model = PeftModel.from_pretrained(
            AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32), str(folder)
        ).eval()

    @contextmanager
    def as_policy(self):
        yield self.model

    def logits(self, ids) -> torch.Tensor:
        """[tokens, vocabulary], of what comes after each."""
        with torch.no_grad():
            return self.model(torch.tensor([list(ids)])).logits[0]

    def chosen(self, rollout) -> tuple[int, ...]:
        """The likeliest token at each place of an answer: the answer itself where it is the greedy one."""
        start = len(rollout.prompt.ids)
        logits = self.logits([*rollout.prompt.ids, *rollout.ids])[start - 1 : -1]
        return tuple(logits.argmax(-1).tolist())

    def logprobs(self, rollout, temperature: float = TEMPERATURE) -> torch.Tensor:
        """Of the answer's tokens, at the temperature."""
        start = len(rollout.prompt.ids)
        logits = self.logits([*rollout.prompt.ids, *rollout.ids])[start - 1 : -1]
        return (logits / temperature).log_softmax(-1).gather(1, torch.tensor(rollout.ids)[:, None])[:, 0]

    def first(self, prompt, temperature: float = TEMPERATURE) -> torch.Tensor:
        """The probabilities of an answer's first token."""
        return (self.logits(prompt.ids)[-1].double() / temperature).softmax(-1)


def check_greedy(sampler, policy: Policy, prompts, most: int) -> None:
    """Token for token the likeliest, computed without a cache, a batch or padding, up to the end or the bound."""
    found = sampler.sample(prompts, [0] * len(prompts), greedy=True)
    assert [one.prompt for one in found] == list(prompts)
    assert [one.ids for one in found] == [policy.chosen(one) for one in found]
    assert all(END not in one.ids[:-1] for one in found)
    assert [one.ended for one in found] == [one.ids[-1] == END for one in found]
    assert {len(one.ids) for one in found if not one.ended} == {most}
    assert any(one.ended for one in found)
    decode = policy.base.tokenizer.decode
    assert [one.text for one in found] == [decode(one.ids, skip_special_tokens=True) for one in found]
    assert not any("<|" in one.text for one in found)


def check_seeds(sampler, prompts, *, exact: bool = True) -> None:
    """A seed is an answer's, whoever is asked beside it; `exact`: to the last bit of its log-probabilities."""
    seeds = list(range(100, 100 + len(prompts)))
    first = sampler.sample(prompts, seeds)
    again = sampler.sample(prompts, seeds)
    assert not exact or again == first
    backwards = sampler.sample(prompts[::-1], seeds[::-1])[::-1]
    for same in (again, backwards):
        assert [one.ids for one in same] == [one.ids for one in first]
    others = sampler.sample(prompts, [seed + 1000 for seed in seeds])
    assert [one.ids for one in others] != [one.ids for one in first]


def check_logprobs(policy: Policy, rollouts) -> None:
    """What is told of the drawn tokens is what the training model says of them at the temperature."""
    for one in rollouts:
        assert (torch.tensor(one.logprobs) - policy.logprobs(one)).abs().max() < 1e-3


def check_distribution(sampler, policy: Policy, prompts, draws: int = 500) -> None:
    """First tokens are as frequent as they are probable."""
    prompt = max(prompts, key=lambda one: float(torch.special.entr(policy.first(one)).sum()))
    expected = policy.first(prompt) * draws
    found = torch.zeros_like(expected)
    for one in sampler.sample([prompt] * draws, range(7000, 7000 + draws)):
        found[one.ids[0]] += 1
    often = expected >= 5
    assert often.sum() >= 3
    cells = [torch.cat([counts[often], counts[~often].sum()[None]]) for counts in (found, expected)]
    assert chisquare(*cells).pvalue > 0.001
