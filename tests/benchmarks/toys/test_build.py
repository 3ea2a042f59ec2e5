from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from motet_benchmarks.toys import Corpus, Recipe, Size, Training, build
from motet_benchmarks.toys.build import make, make_tokenizer
from motet_benchmarks.toys.record import check
from motet_benchmarks.toys.shares import SHARES

TINY = Size(layers=1, hidden=32, intermediate=64, heads=1, head_size=32, context=256)
TOKENIZER = make_tokenizer(Recipe())
RECIPE = Recipe(
    expert_size=TINY,
    amateur_size=TINY,
    expert=Training(steps=2, rows=2, compiled=True),
    amateur=Training(steps=2, rows=2, seed=1),
)


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch):
    monkeypatch.setattr(build, "why_uncompiled", lambda: "no compiler")


def loaded(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder)


def made(folder, seed: int = 0, steps: int = 30):
    training = Training(steps=steps, rows=8, rate=1e-2, warmup=5, seed=seed)
    return make(TINY, training, Corpus(row=128), TOKENIZER, folder)


def test_a_short_run_learns_and_can_be_repeated(tmp_path):
    facts, same, other = (
        made(tmp_path / name, seed) for name, seed in (("one", 0), ("again", 0), ("other", 1))
    )
    assert facts.loss == same.loss
    assert facts.sha256 == same.sha256 != other.sha256
    # Knowing nothing costs ln 768 = 6.6 nats a token; the frame of a chat alone is worth much of it.
    assert facts.loss < 0.8 * math.log(768)
    assert facts.tokens > 0.9 * 30 * 8 * 128


def test_saved_weights_are_float32_that_bfloat16_can_hold(tmp_path):
    from transformers import AutoTokenizer

    made(tmp_path / "tiny", steps=2)
    model = loaded(tmp_path / "tiny")
    assert model.dtype == torch.float32
    for weight in model.parameters():
        assert weight.equal(weight.bfloat16().float())
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "tiny").iterdir()} == {0o644}
    assert model.generation_config.eos_token_id == TOKENIZER.convert_tokens_to_ids("<|im_end|>")
    assert AutoTokenizer.from_pretrained(tmp_path / "tiny").get_vocab() == TOKENIZER.get_vocab()


def test_a_pair_is_built_and_recorded_as_it_was_made(tmp_path):
    said: list[str] = []
    record = build.build(RECIPE, tmp_path / "pair", said.append)
    assert said == ["training without torch.compile, slower and with other rounding: no compiler"]
    assert record.recipe == replace(RECIPE, expert=replace(RECIPE.expert, compiled=False))
    assert record.shares == SHARES
    assert record.torch == torch.__version__
    assert [path.name for path in tmp_path.iterdir()] == ["pair"]
    assert {path.name for path in (tmp_path / "pair").iterdir()} == {"expert", "amateur"}
    assert record.made["expert"].parameters == loaded(tmp_path / "pair" / "expert").num_parameters()
    check(record, tmp_path / "pair")


def test_the_pair_before_stays_until_both_models_are_trained(tmp_path, monkeypatch):
    folder = tmp_path / "pair"
    before = build.build(RECIPE, folder, print)
    (folder / "README.md").write_text("not the build's")

    def fail_at_the_expert(*args, **kwargs):
        if args[-1].name == "expert":
            raise KeyboardInterrupt
        return make(*args, **kwargs)

    other = replace(RECIPE, amateur=replace(RECIPE.amateur, seed=7))
    monkeypatch.setattr(build, "make", fail_at_the_expert)
    with pytest.raises(KeyboardInterrupt):
        build.build(other, folder, print)
    check(before, folder)

    monkeypatch.undo()
    monkeypatch.setattr(build, "why_uncompiled", lambda: "no compiler")
    after = build.build(other, folder, print)
    check(after, folder)
    assert after.made["amateur"].sha256 != before.made["amateur"].sha256
    assert after.made["expert"].sha256 == before.made["expert"].sha256
    assert {path.name for path in folder.iterdir()} == {"expert", "amateur", "README.md"}
