"""What the bundled models promise to everybody who loads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import motet_models
from motet_benchmarks import gym
from motet_benchmarks.toys.answers import answers
from motet_decoding.contrast import Contrast
from motet_models import AMATEUR, EXPERT

BOTH = pytest.mark.parametrize("folder", [EXPERT, AMATEUR], ids=lambda folder: folder.name)


@pytest.fixture(scope="module")
def models():
    from transformers import AutoModelForCausalLM

    return {folder: AutoModelForCausalLM.from_pretrained(folder).eval() for folder in (EXPERT, AMATEUR)}


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(EXPERT)


def test_the_package_names_its_folders():
    assert motet_models.__all__ == ["ADAPTERS", "AMATEUR", "EXPERT"]
    assert EXPERT.is_dir()
    assert AMATEUR.is_dir()
    assert (EXPERT.parent / "README.md").is_file()


def test_together_they_stay_small():
    size = sum(path.stat().st_size for folder in (EXPERT, AMATEUR) for path in folder.iterdir())
    assert size < 25e6


@BOTH
def test_nothing_in_a_folder_could_be_unpickled(folder: Path):
    assert {path.suffix for path in folder.iterdir()} <= {".json", ".jinja", ".safetensors"}


@BOTH
def test_config_is_a_plain_llama_that_every_engine_takes(folder: Path):
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["head_dim"] in (32, 64)
    assert config["tie_word_embeddings"] is True
    assert config["max_position_embeddings"] == 1024
    assert config["vocab_size"] == 768
    assert config["dtype"] == "float32"
    generation = json.loads((folder / "generation_config.json").read_text())
    assert generation["eos_token_id"] == config["eos_token_id"]


def test_the_two_share_tokenizer_and_template():
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (EXPERT / name).read_bytes() == (AMATEUR / name).read_bytes()


def test_tokenizer_ends_where_generation_ends(tokenizer, models):
    assert tokenizer.eos_token == "<|im_end|>"
    for model in models.values():
        assert model.generation_config.eos_token_id == tokenizer.eos_token_id
        assert model.get_input_embeddings().num_embeddings == len(tokenizer)


def test_sizes_are_an_experts_and_an_amateurs(models):
    expert, amateur = models[EXPERT].num_parameters(), models[AMATEUR].num_parameters()
    assert 3e6 <= expert <= 10e6
    assert amateur <= expert / 10


def test_expert_beats_amateur_and_contrast_beats_the_expert(models, tokenizer):
    """The reason the pair exists. Test problems again, fewer than the card's, so the bounds are wide."""
    problems = gym.instances("test", count=4, seed=1)
    expert, amateur = models[EXPERT], models[AMATEUR]
    said = {
        "expert": answers(problems, tokenizer, expert),
        "amateur": answers(problems, tokenizer, amateur),
        "contrast": answers(problems, tokenizer, expert, amateur=amateur, contrast=Contrast()),
    }
    right = {
        voice: sum(problem.grade(text) for problem, text in zip(problems, texts, strict=True)) / len(problems)
        for voice, texts in said.items()
    }
    assert 0.5 <= right["expert"] <= 0.85
    assert right["amateur"] < right["expert"] / 2
    assert right["contrast"] > right["expert"] + 0.05
