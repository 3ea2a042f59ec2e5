"""The bundled weights, their record and their card belong together."""

from __future__ import annotations

from pathlib import Path

import pytest

from motet_benchmarks.toys.card import card
from motet_benchmarks.toys.cli import RESULTS
from motet_benchmarks.toys.record import check, read
from motet_benchmarks.toys.settings import AdapterRecipe, PpoRecipe
from motet_models import ADAPTERS, EXPERT

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def record():
    return read(ROOT / RESULTS)


def test_the_record_is_that_of_the_weights(record):
    check(record, EXPERT.parent)


def test_the_card_says_what_is_on_record(record):
    assert record.measured is not None
    assert (EXPERT.parent / "README.md").read_text(encoding="utf-8") == card(record, record.measured)


def test_the_record_is_of_the_models_as_they_stand(record):
    from transformers import AutoConfig

    for name, size in (("expert", record.recipe.expert_size), ("amateur", record.recipe.amateur_size)):
        config = AutoConfig.from_pretrained(EXPERT.parent / name)
        assert (config.num_hidden_layers, config.hidden_size, config.intermediate_size) == (
            *(size.layers, size.hidden, size.intermediate),
        )
        assert (config.num_attention_heads, config.head_dim) == (size.heads, size.head_size)
        assert (config.max_position_embeddings, config.vocab_size) == (size.context, record.recipe.vocabulary)


def test_the_adapters_are_on_record_as_the_recipe_stands(record):
    assert record.adapters is not None
    assert record.adapters.recipe == AdapterRecipe()
    assert [one.seed for one in record.adapters.measured.seeds] == list(record.adapters.recipe.seeds)


def test_the_adapters_measured_are_worth_bundling(record):
    """What the README says of them: better than what they started from, or no worse, and the judge mostly right."""
    measured = record.adapters.measured
    assert measured.sft_gain.low > 0
    assert measured.dpo_gain.value > 0
    judges = {one.seed: one.reward for one in measured.seeds if one.reward is not None}
    assert tuple(judges) == record.adapters.recipe.judged
    assert all(one.pairs.low >= 0.8 for one in judges.values())


def test_what_is_on_record_is_what_is_bundled(record):
    assert {path.name for path in ADAPTERS.iterdir()} == set(record.versions)


@pytest.fixture
def ppo(record):
    assert record.ppo is not None
    return record.ppo


def test_ppo_is_on_record_as_the_recipe_stands(record, ppo):
    assert ppo.recipe == PpoRecipe()
    assert [one.seed for one in ppo.measured.seeds] == list(record.adapters.recipe.seeds)
    assert ppo.measured.count == record.adapters.measured.count


def test_ppo_is_worth_bundling(ppo):
    """What the README says: more right answers than SFT's, near SFT; and nothing gained by the reward adapter."""
    measured = ppo.measured
    assert measured.grader_gain.plain.low > 0
    assert measured.grader_gain.drawn.low > 0
    assert all(one.by_grader.kl < ppo.recipe.kl_target for one in measured.seeds)
    assert all(one.by_grader.published > 0 for one in measured.seeds)
    assert all(one.by_reward.published == 0 for one in measured.seeds)


def test_the_first_seed_of_ppo_starts_at_the_sft_adapter_that_was_measured(record, ppo):
    start, known = ppo.measured.seeds[0].sft, record.adapters.measured.seeds[0].sft.plain
    assert start.of == known.of
    # Measured twice, and rounding may decide a few answers.
    assert abs(start.right - known.right) <= 3
