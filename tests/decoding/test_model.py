"""What our classes leave on the stage in each kind of step, over stand-ins for vLLM's own models."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from vllm.model_executor.models.interfaces import EagleModelMixin

from motet_decoding.engine import processor, vllm_private
from motet_decoding.engine.arguments import ensure_engine_key
from motet_decoding.engine.hearing import contrast_section
from motet_decoding.engine.layers import InnerLayers
from motet_decoding.engine.model import PairedModel, ScoringModel
from motet_decoding.engine.processor import ContrastProcessor
from motet_decoding.engine.stage import stage_of
from motet_decoding.errors import LaunchError

HIDDEN, AMATEUR_HIDDEN, VOCAB = 4, 2, 8


def engine_config(*layers, lora=None):
    """As much of vLLM's configuration as says which layers may be asked for."""
    hf_config = SimpleNamespace(motet={"layers": list(layers)})
    return SimpleNamespace(
        model_config=SimpleNamespace(hf_config=hf_config, architecture="Expert"), lora_config=lora
    )


class Inner(nn.Module, EagleModelMixin):
    """Four layers over an embedding of tens, each adding 1 to its residual in place, as vLLM's kernels do."""

    def forward(self, input_ids):
        hidden, residual = torch.full((len(input_ids), HIDDEN), 10.0), None
        hidden += input_ids[:, None]
        shown = self._maybe_add_hidden_state([], 0, hidden, residual)
        # What is compiled works on copies of what it also gives out.
        residual = hidden if getattr(self, "do_not_compile", True) else hidden.clone()
        for layer in range(4):
            residual += 1
            self._maybe_add_hidden_state(shown, layer + 1, torch.zeros_like(residual), residual)
        return (torch.ones_like(residual), shown) if shown else torch.ones_like(residual)

    def norm(self, states, residual=None):
        return states * 2


class Expert(nn.Module):
    """Hidden states of ones; its logits are bfloat16, as a real model's are."""

    def forward(self, input_ids, *_):
        return self.model(input_ids)

    def compute_logits(self, hidden_states):
        assert hidden_states.shape[1] == HIDDEN
        return hidden_states[:, :1].expand(-1, VOCAB).to(torch.bfloat16) - 1


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
        self.model, self._second, self.stage = Inner(), (Amateur(), None), stage
        self.inner_layers = InnerLayers(self, engine_config())
        stage.head = self.amateur.compute_logits


class Scored(ScoringModel, Expert):
    """Made without vLLM's configuration, over an expert that is compiled or not."""

    def __init__(self, stage, *layers, compiled=False, lora=None):
        nn.Module.__init__(self)
        self.model, self.stage = Inner(), stage
        self.model.do_not_compile = not compiled
        self.inner_layers = InnerLayers(self, engine_config(*layers, lora=lora))
        stage.layers, stage.layer_head = self.inner_layers.known, self._layer_logits


@pytest.fixture
def model(request):
    ensure_engine_key()
    config = SimpleNamespace(instance_id=request.node.nodeid)
    stage = stage_of(config)
    stage.processor = ContrastProcessor(config, torch.device("cpu"), False)
    return Paired(stage)


def step(model, monkeypatch, *, dummy=False, rows=5):
    monkeypatch.setattr(vllm_private, "in_dummy_run", lambda: dummy)
    hidden = model(torch.zeros(rows), torch.zeros(rows))
    return hidden, model.compute_logits(hidden)


def test_the_memory_profile_meets_the_heaviest_contrast(model, monkeypatch):
    seen = []

    def watched(section, logits, stage, position):
        seen.append((len(section), len(section.sources), logits.dtype, stage.unedited.shape))
        contrast_section(section, logits, stage, position)

    monkeypatch.setattr(processor, "contrast_section", watched)
    _, logits = step(model, monkeypatch, dummy=True)
    assert model.amateur.asked == [4]
    assert seen == [(4, 1, torch.float32, (5, VOCAB)), (2, 2, torch.float32, (5, VOCAB))]
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


@pytest.fixture
def stage(request):
    return stage_of(SimpleNamespace(instance_id=request.node.nodeid))


def told(stage, layer, rows=None):
    """A layer's logits less the 2 (10 + layer) - 1 that its state becomes, so that twice the token is left."""
    return (stage.layer_logits(layer, rows)[:, 0].float() - (2 * (10 + layer) - 1)).tolist()


def layer_step(model, monkeypatch, *wanted, dummy=False, pick=(0, 2, 3)):
    monkeypatch.setattr(vllm_private, "in_dummy_run", lambda: dummy)
    model.stage.wanted_layers = wanted
    hidden = model(torch.arange(5), torch.zeros(5))
    return hidden, model.compute_logits(hidden[list(pick)])


@pytest.mark.parametrize("compiled", [False, True])
def test_the_layers_that_a_step_asks_for_travel_beside_its_states(stage, monkeypatch, compiled):
    model = Scored(stage, 3, 0, 1, compiled=compiled)
    assert stage.layers == (0, 1, 3)
    hidden, logits = layer_step(model, monkeypatch, 3, 0)
    assert hidden.shape == (5, 3 * HIDDEN)
    assert torch.equal(logits, torch.zeros(3, VOCAB))
    assert sorted(stage.layer_states) == [0, 3]
    # The embedding as it was before the layers were added to it.
    assert told(stage, 0) == told(stage, 3) == [0.0, 4.0, 6.0]
    assert told(stage, 3, torch.tensor([2, 0])) == [6.0, 0.0]
    with pytest.raises(RuntimeError, match="layer 1, whose states weren't kept"):
        stage.layer_logits(1)
    hidden, logits = layer_step(model, monkeypatch)
    assert hidden.shape == (5, HIDDEN)
    assert stage.layer_states == {}
    assert torch.equal(logits, torch.zeros(3, VOCAB))


def test_the_head_sees_all_rows_where_it_gives_them_their_adapters_by_position(stage, monkeypatch):
    model = Scored(stage, 1, lora=object())
    seen = []
    logits = Expert.compute_logits
    monkeypatch.setattr(
        Expert, "compute_logits", lambda self, states: seen.append(len(states)) or logits(self, states)
    )
    layer_step(model, monkeypatch, 1)
    assert told(stage, 1, torch.tensor([2, 0])) == [6.0, 0.0]
    assert seen == [3, 3]


def test_the_memory_profile_meets_all_layers_and_the_copy_for_biases(stage, monkeypatch):
    model, seen = Scored(stage, 0, 1, 2), []
    stage.processor = SimpleNamespace(
        rehearse=lambda logits: seen.append((sorted(stage.layer_states), stage.unedited.shape))
    )
    layer_step(model, monkeypatch, dummy=True)
    assert seen == [([0, 1, 2], (3, VOCAB))]
    stage.clear()
    assert (stage.layer_states, stage.unedited) == ({}, None)


def test_without_an_amateur_biased_logits_are_kept_as_they_were(stage, monkeypatch):
    model = Scored(stage)
    stage.processor, stage.editing = object(), True
    _, logits = layer_step(model, monkeypatch)
    logits += 5
    assert torch.equal(stage.unedited, torch.zeros(3, VOCAB))
    stage.clear()
    model.compute_logits(torch.ones(4, HIDDEN))  # a prompt's log-probabilities
    assert stage.unedited is None


def test_a_step_whose_forward_pass_is_replayed_begins_all_the_same(stage, monkeypatch):
    """A recorded graph doesn't call ``forward``; what its recording left behind is forgotten."""
    model = Scored(stage)
    monkeypatch.setattr(vllm_private, "in_dummy_run", lambda: True)
    recorded = model(torch.arange(5), torch.zeros(5))
    stage.processor, stage.editing = SimpleNamespace(), True
    for _ in range(2):
        stage.begin()
        model.compute_logits(recorded)
        assert stage.unedited.shape == (5, VOCAB)


def test_prompt_logprobs_leave_the_layers_alone(stage, monkeypatch):
    model = Scored(stage, 1)
    hidden, _ = layer_step(model, monkeypatch, 1)
    model.compute_logits(hidden[:1])
    assert told(stage, 1) == [0.0, 4.0, 6.0]
    stage.clear()
    assert torch.equal(model.compute_logits(hidden), torch.zeros(5, VOCAB))
    assert stage.layer_states == {}


def test_layers_come_behind_the_amateur(model, monkeypatch):
    stage = model.stage
    model.inner_layers = InnerLayers(model, engine_config(0, 2))
    stage.layer_head, stage.asking = model._layer_logits, True
    hidden, _ = layer_step(model, monkeypatch, 2)
    assert hidden.shape == (5, HIDDEN + AMATEUR_HIDDEN + HIDDEN)
    assert stage.hidden.shape == (3, AMATEUR_HIDDEN)
    assert told(stage, 2) == [0.0, 4.0, 6.0]
    stage.asking = False
    layer_step(model, monkeypatch, 2)
    assert stage.hidden is None
    assert told(stage, 2) == [0.0, 4.0, 6.0]


def test_a_class_without_inner_layers_is_said_to_have_none(stage):
    class Opaque(Scored):
        def __setattr__(self, name, value):
            super().__setattr__(name, nn.Identity() if name == "model" else value)

    with pytest.raises(LaunchError, match=r"^layers: vLLM's class for Expert can't show its inner layers"):
        Opaque(stage, 1)
