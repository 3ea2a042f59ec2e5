from __future__ import annotations

import math

import pytest
import torch

from motet_benchmarks.toys import Corpus, Recipe, Size, Training
from motet_benchmarks.toys.build import make_tokenizer
from motet_benchmarks.toys.corpus import conversations
from motet_benchmarks.toys.pretrain import (
    LINES,
    _loss,
    _optimizers,
    _rate,
    new_model,
    pretrain,
    why_uncompiled,
)
from motet_benchmarks.toys.rows import Encoder, batches

TINY = Size(layers=1, hidden=32, intermediate=64, heads=1, head_size=32, context=256)
TOKENIZER = make_tokenizer(Recipe())


def told(rows: int = 1):
    return batches(conversations(Corpus(), 0), Encoder(TOKENIZER), rows=rows, row=128, prompt_weight=1.0)


def test_where_nobody_watches_lines_tell_how_far_it_is(capsys):
    model = new_model(Size(1, 32, 32, 1, 32), TOKENIZER, seed=0)
    pretrain(model, told(), Training(steps=LINES), title="tiny")
    assert f"tiny: {LINES} of {LINES} steps, loss " in capsys.readouterr().out


def test_without_a_compiler_it_is_said_why():
    from torch._inductor import config, cpp_builder

    cpp_builder.cpp_compiler_search.cache_clear()
    try:
        with config.patch({"cpp.cxx": ("no-such-compiler",)}):
            assert "InvalidCxxCompiler" in why_uncompiled()
    finally:
        cpp_builder.cpp_compiler_search.cache_clear()
        torch.compiler.reset()


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
    with pytest.raises(ArithmeticError, match="the loss of step 1 is nan"):
        pretrain(model, told(), Training(steps=3), title="broken")
