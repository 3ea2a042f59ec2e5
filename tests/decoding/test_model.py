"""What a paired class leaves on the stage in each kind of step, over stand-ins for vLLM's own models."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from motet_decoding.engine import vllm_private
from motet_decoding.engine.arguments import ensure_engine_key
from motet_decoding.engine.model import PairedModel
from motet_decoding.engine.processor import ContrastProcessor
from motet_decoding.engine.stage import stage_of

HIDDEN, AMATEUR_HIDDEN, VOCAB = 4, 2, 8


class Expert(nn.Module):
    """Hidden states of ones; its logits are bfloat16, as a real model's are."""

    def forward(self, input_ids, *_):
        return torch.ones(len(input_ids), HIDDEN)

    def compute_logits(self, hidden_states):
        assert hidden_states.shape[1] == HIDDEN
        return hidden_states.new_zeros(len(hidden_states), VOCAB, dtype=torch.bfloat16)


class Amateur:
    """Notes of how many rows its logits are asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, input_ids, *_):
        return torch.zeros(len(input_ids), AMATEUR_HIDDEN)

    def compute_logits(self, hidden_states):
        assert hidden_states.shape[1] == AMATEUR_HIDDEN
        self.asked.append(len(hidden_states))
        return torch.zeros(len(hidden_states), VOCAB)


class Paired(PairedModel, Expert):
    """Made without vLLM's configuration."""

    def __init__(self, stage):
        nn.Module.__init__(self)
        # As wide as its layers; what it gives out is narrower, as OPT's can be.
        self._second, self.stage, self.expert_width = (Amateur(), None), stage, HIDDEN + AMATEUR_HIDDEN
        stage.head = self.amateur.compute_logits


@pytest.fixture
def model(request):
    ensure_engine_key()
    config = SimpleNamespace(instance_id=request.node.nodeid)
    stage = stage_of(config)
    processor = ContrastProcessor(config, torch.device("cpu"), False)
    model = Paired(stage)
    model.processor = processor
    return model


def step(model, monkeypatch, *, dummy=False, rows=5):
    monkeypatch.setattr(vllm_private, "in_dummy_run", lambda: dummy)
    hidden = model(torch.zeros(rows), torch.zeros(rows))
    return hidden, model.compute_logits(hidden)


def test_the_memory_profile_meets_the_heaviest_contrast(model, monkeypatch):
    seen = []
    made = model.processor._contrast
    monkeypatch.setattr(
        model.processor,
        "_contrast",
        lambda logits, rows: seen.append((logits.dtype, model.stage.unedited.shape)) or made(logits, rows),
    )
    _, logits = step(model, monkeypatch, dummy=True)
    assert model.amateur.asked == [4]
    assert seen == [(torch.float32, (5, VOCAB))]
    assert (model.stage.hidden, model.stage.unedited, model.stage.steps) == (None, None, 0)
    assert torch.equal(logits, torch.zeros_like(logits))


def test_prompt_logprobs_leave_the_stage_alone(model, monkeypatch):
    """They come after the contrast, for as many rows as a prompt has tokens."""
    model.stage.asking = model.stage.editing = True
    hidden, logits = step(model, monkeypatch)
    assert (model.stage.hidden.shape, model.stage.unedited.shape) == ((5, AMATEUR_HIDDEN), (5, VOCAB))
    model.stage.clear()
    assert torch.equal(model.compute_logits(hidden), logits)
    assert (model.stage.hidden, model.stage.unedited) == (None, None)


def test_a_step_without_a_contrast_is_the_experts_alone(model, monkeypatch):
    hidden, _ = step(model, monkeypatch)
    assert hidden.shape == (5, HIDDEN)
    assert model.amateur.asked == []
    assert (model.stage.hidden, model.stage.steps, model.stage.amateur_steps) == (None, 1, 0)


def test_each_model_gets_the_weights_of_its_own_checkpoints(model, monkeypatch):
    given = {}

    def load(_, weights):
        given["expert"] = [name for name, _ in weights]
        return set(given["expert"])

    monkeypatch.setattr(Expert, "load_weights", load, raising=False)
    monkeypatch.setattr(
        vllm_private,
        "load_model",
        lambda amateur, config, weights: given.update(amateur=[name for name, _ in weights]),
    )
    names = ["layer", "vision.layer", "amateur.layer", "amateur.head"]
    assert model.load_weights((name, torch.zeros(1)) for name in names) == {"layer", "vision.layer"}
    assert given == {"expert": ["layer", "vision.layer"], "amateur": ["layer", "head"]}
