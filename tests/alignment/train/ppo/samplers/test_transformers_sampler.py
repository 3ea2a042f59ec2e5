"""Plain transformers draw from the live policy, each answer with its own seed."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from transformers import GenerationConfig

from motet_alignment.train.devices import Place
from motet_alignment.train.ppo.samplers import make_sampler
from motet_alignment.train.ppo.samplers.transformers_sampler import TransformersSampler

from .policy import END, check_distribution, check_greedy, check_seeds


@pytest.fixture(scope="module")
def sampler(settings, base, policies, versions):
    plain = settings.model_copy(update={"rollouts": "transformers", "batch_tokens": 256})
    sampler = make_sampler(plain, base, Place("cpu", "fp32"), policies[0])
    sampler.follow(versions[0])
    return sampler


def test_greedy_answers_are_those_of_one_at_a_time(sampler, policies, prompts, settings):
    check_greedy(sampler, policies[0], prompts, settings.max_answer)


def test_a_seed_is_an_answer(sampler, prompts):
    check_seeds(sampler, prompts)
    assert all(one.logprobs is None for one in sampler.sample(prompts[:2], [1, 2]))


def test_drawn_from_the_policy(sampler, policies, prompts):
    check_distribution(sampler, policies[0], prompts)


def test_second_tokens_are_drawn_from_the_policy(settings, base, policies, prompts):
    """Given the first, which a stream that repeats itself would betray."""
    sampler = TransformersSampler(settings.model_copy(update={"max_answer": 2}), base, policies[0])
    prompt = prompts[0]
    drawn = sampler.sample([prompt] * 400, range(400))
    firsts = [one.ids[0] for one in drawn]
    first = max(set(firsts), key=firsts.count)
    expected = policies[0].logits([*prompt.ids, first])[-1].double().div(0.7).softmax(-1)
    seconds = torch.tensor([one.ids[1] for one in drawn if one.ids[0] == first])
    for token in expected.topk(3).indices.tolist():
        share, count = float(expected[token]), len(seconds)
        spread = (share * (1 - share) * count) ** 0.5
        assert abs(int((seconds == token).sum()) - share * count) < 4 * spread + 1


def test_the_live_policy_answers(settings, base, policies, prompts):
    sampler = TransformersSampler(settings, base, policies[1])
    check_greedy(sampler, policies[1], prompts, settings.max_answer)


def test_the_context_bounds_answers_one_by_one(settings, base, policies, prompts, monkeypatch):
    short = dataclasses.replace(base, context=max(len(prompt.ids) for prompt in prompts) + 3)
    model = policies[0].model.get_base_model()
    generate, reached = model.generate, []

    def noting(**asked):
        reached.append(asked["input_ids"].shape[1] + asked["max_new_tokens"])
        return generate(**asked)

    monkeypatch.setattr(model, "generate", noting)
    for one in TransformersSampler(settings, short, policies[0]).sample(prompts, range(len(prompts))):
        room = min(settings.max_answer, short.context - len(one.prompt.ids))
        assert one.ended == (one.ids[-1] == END)
        assert len(one.ids) <= room
        assert one.ended or len(one.ids) == room
    # A model may have no positions beyond, also for rows whose answers have ended.
    assert max(reached) == short.context


def test_the_models_own_generation_settings_change_nothing(sampler, policies, prompts):
    model = policies[0].model
    expected = sampler.sample(prompts[:6], range(6))
    own = GenerationConfig(
        eos_token_id=END, repetition_penalty=3.0, no_repeat_ngram_size=1, min_new_tokens=20
    )
    before, model.get_base_model().generation_config = model.get_base_model().generation_config, own
    model.train()
    try:
        assert sampler.sample(prompts[:6], range(6)) == expected
        assert model.get_base_model().generation_config is own
        assert model.training
    finally:
        model.get_base_model().generation_config = before
        model.eval()


def test_as_many_seeds_as_prompts(sampler, prompts):
    with pytest.raises(ValueError, match="3 prompts and 2 seeds"):
        sampler.sample(prompts[:3], [0, 1])
