from __future__ import annotations

import math

import pytest
import torch

from motet_benchmarks.toys import Corpus, Recipe, Size, Training
from motet_benchmarks.toys.build import make, make_tokenizer, save
from motet_benchmarks.toys.corpus import conversations
from motet_benchmarks.toys.pretrain import _loss, _optimizers, _rate, new_model, pretrain
from motet_benchmarks.toys.rows import Encoder, batches

TINY = Size(layers=1, hidden=32, intermediate=64, heads=1, head_size=32, context=256)
TOKENIZER = make_tokenizer(Recipe())


def made(seed: int = 0, steps: int = 30):
    training = Training(steps=steps, rows=8, rate=1e-2, warmup=5, seed=seed)
    return make(TINY, training, Corpus(row=128), TOKENIZER, "tiny")


def test_a_short_run_learns_and_can_be_repeated(capsys):
    model, facts = made()
    again, same = made()
    other, _ = made(seed=1)
    assert facts.loss == same.loss
    for name, weight in model.state_dict().items():
        assert weight.equal(again.state_dict()[name]), name
    assert not model.lm_head.weight.equal(other.lm_head.weight)
    # Knowing nothing costs ln 768 = 6.6 nats a token; the frame of a chat alone is worth much of it.
    assert facts.loss < 0.8 * math.log(768)
    assert facts.tokens > 0.9 * 30 * 8 * 128
    assert "tiny" in capsys.readouterr().out


def test_saved_weights_are_float32_that_bfloat16_can_hold(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, _ = made(steps=2)
    save(model, TOKENIZER, tmp_path / "tiny")
    save(model, TOKENIZER, tmp_path / "tiny")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "tiny")
    assert loaded.dtype == torch.float32
    for weight in loaded.parameters():
        assert weight.equal(weight.bfloat16().float())
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "tiny").iterdir()} == {0o644}
    assert loaded.generation_config.eos_token_id == TOKENIZER.convert_tokens_to_ids("<|im_end|>")
    assert AutoTokenizer.from_pretrained(tmp_path / "tiny").get_vocab() == TOKENIZER.get_vocab()


def test_the_loss_is_the_weighted_mean_of_what_each_token_costs():
    logits = torch.zeros(1, 3, 4)
    logits[0, 1, 2] = math.log(3)  # p(2) = 1/2 after the second token
    ids = torch.tensor([[0, 1, 2]])
    weights = torch.tensor([[9.0, 1.0, 3.0]])  # the first weight belongs to nothing that is predicted
    assert _loss(logits, ids, weights).item() == pytest.approx((math.log(4) + 3 * math.log(2)) / 4)


def test_the_rate_warms_up_stays_and_comes_down():
    training = Training(steps=100, warmup=10, cooldown=20)
    rates = [_rate(step, training) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert rates[10:81] == [1.0] * 71
    assert rates[90] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.05)


def test_every_weight_has_exactly_one_optimizer():
    model = new_model(TINY, TOKENIZER, seed=0)
    muon, adamw = _optimizers(model, Training(steps=1))
    cared = [weight for part in (muon, adamw) for group in part.param_groups for weight in group["params"]]
    assert sorted(map(id, cared)) == sorted(map(id, model.parameters()))


def test_a_loss_that_is_no_number_stops_the_run():
    model = new_model(TINY, TOKENIZER, seed=0)
    with torch.no_grad():
        model.model.norm.weight.fill_(math.nan)
    told = batches(conversations(Corpus(), 0), Encoder(TOKENIZER), rows=1, row=128, prompt_weight=1.0)
    with pytest.raises(ArithmeticError, match="the loss of step 1 is nan"):
        pretrain(model, told, Training(steps=3), title="broken")
