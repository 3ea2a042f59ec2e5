"""Fails when vLLM moves what shows a model's inner layers; then ``engine/layers_private.py`` wants a new look."""

from __future__ import annotations

import inspect
import sys

import pytest
import torch
from torch import nn
from vllm.model_executor.models.interfaces import EagleModelMixin, SupportsEagle3, supports_eagle3

from motet_decoding.engine import layers_private as private
from motet_decoding.engine import vllm_private
from motet_decoding.engine.model import own_class


def inner_classes(theirs):
    """Those that run layers in the file of vLLM's class, or that it takes from another."""
    module = sys.modules[theirs.__module__]
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, EagleModelMixin) and value is not EagleModelMixin
    ]
    own = [each for each in found if each.__module__ == module.__name__]
    return own or found or inner_classes(theirs.__mro__[1])


def forward_of(inner):
    """The source of the ``forward`` that does the work."""
    for each in inner.__mro__:
        if "forward" in vars(each):
            source = inspect.getsource(each.forward)
            if "super().forward(" not in source:
                return source
    raise AssertionError(inner)


@pytest.mark.parametrize("architecture", sorted(private.SHOWING))
def test_the_embedding_and_every_layer_are_shown_and_one_norm_follows(architecture):
    theirs = vllm_private.architecture_class(architecture)
    assert supports_eagle3(theirs)
    assert theirs.set_aux_hidden_state_layers is SupportsEagle3.set_aux_hidden_state_layers
    found = inner_classes(theirs)
    assert found
    for inner in found:
        source = forward_of(inner)
        shown = source.count("_maybe_add_hidden_state(") or source.count("in self.aux_hidden_state_layers:")
        assert shown == 2, inner  # before the loop, and in it
        normed = [line.strip() for line in source.splitlines() if "self.norm(" in line]
        assert normed, inner
        assert all("hidden_states" in line or "x, _" in line for line in normed)
    # Nothing else is done to the states on their way to the head.
    outer = "".join(inspect.getsource(getattr(theirs, name)) for name in ("forward", "compute_logits"))
    assert "norm(" not in outer
    assert "hidden_states /" not in outer
    assert "hidden_states *" not in outer


def test_our_class_gives_the_runner_what_vllms_gives_it():
    """vLLM asks a class whether it shows its layers only where another model drafts for it."""
    from vllm.v1.worker import gpu_model_runner
    from vllm.v1.worker.gpu import model_runner

    scored = own_class("ScoredLlamaForCausalLM")
    assert issubclass(scored, vllm_private.architecture_class("LlamaForCausalLM"))
    assert scored.set_aux_hidden_state_layers is SupportsEagle3.set_aux_hidden_state_layers
    setup = inspect.getsource(gpu_model_runner.GPUModelRunner._setup_eagle3_aux_hidden_state_outputs)
    assert "if not self.use_aux_hidden_state_outputs:" in setup
    assert "if self.use_aux_hidden_state_outputs:" in inspect.getsource(model_runner)


class Inner(nn.Module, EagleModelMixin):
    """Three layers, each adding its residual in place, as vLLM's kernels do."""

    def forward(self, hidden):
        shown = self._maybe_add_hidden_state([], 0, hidden, None)
        residual = hidden
        for layer in range(3):
            residual += 1
            self._maybe_add_hidden_state(shown, layer + 1, torch.zeros_like(residual), residual)
        return residual, shown


def test_the_states_come_rising_and_the_embedding_as_it_was():
    inner = Inner()
    private.tell_layers(inner, (2, 0))
    assert [state.item() for state in inner(torch.zeros(1))[1]] == [3.0, 2.0]  # as vLLM leaves it
    private.keep_embedding(inner)
    private.tell_layers(inner, (2, 0))
    assert [state.item() for state in inner(torch.zeros(1))[1]] == [0.0, 2.0]
    private.tell_layers(inner, ())
    assert inner(torch.zeros(1))[1] == []


@pytest.mark.parametrize("residual", [False, True])
def test_a_norm_may_give_back_a_residual(residual):
    inner = nn.Module()
    inner.norm = lambda states, beside=None: (states * 2, beside) if residual else states * 2
    assert private.final_norm(inner, torch.ones(3)).tolist() == [2.0, 2.0, 2.0]


def test_what_is_compiled_says_so():
    inner = nn.Module()
    assert not private.is_compiled(inner)
    inner.do_not_compile = False
    assert private.is_compiled(inner)


def test_vllms_compiled_code_is_kept_by_the_layers_that_it_tells(tmp_path):
    """The same model with other layers is another graph."""
    from motet_decoding.engine.vllm_private import model_config
    from motet_decoding.plugin import register
    from motet_decoding.testing import byte_tokenizer, llama_config

    register()
    llama_config(32, 3, architectures=["LlamaForCausalLM"]).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    hashes = [
        model_config({"model": str(tmp_path), "hf_overrides": {"motet": {"layers": layers}}}).compute_hash()
        for layers in ([0], [0, 2], [0])
    ]
    assert hashes[0] == hashes[2] != hashes[1]
