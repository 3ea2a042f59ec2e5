"""Fails when vLLM moves what the rivals lean on; then ``kernels/vllm_private.py`` wants a new look."""

from __future__ import annotations

import inspect

import pytest
import torch
import vllm

from motet_benchmarks.kernels import inputs, vllm_private
from motet_benchmarks.kernels.cases import CONTROLS, Case
from motet_kernels import Edits


def test_the_version_that_was_looked_at():
    assert vllm.__version__.split("+")[0] == "0.32.0"


def test_another_device_than_its_build_is_for_is_refused():
    from vllm.platforms import current_platform

    here = current_platform.device_type
    assert vllm_private.missing(here) is None
    other = "cuda" if here == "cpu" else "cpu"
    assert vllm_private.missing(other) == f"this build of it runs on {here}"


def given(how):
    return inputs.voices(Case("contrast_sample", "plain", how, "peaky", "float32", 6, 500), "cpu", 0)


needs_cpu = pytest.mark.skipif(
    vllm_private.missing("cpu") is not None, reason="vLLM's build here is for a GPU"
)


@needs_cpu
@pytest.mark.parametrize("how", CONTROLS)
def test_v1_draws_what_the_controls_keep(how):
    case = given(how)
    draw = vllm_private.v1_sampler(case.controls, case.sampling)
    best = case.expert.amax(dim=1)
    seen = torch.stack([draw(case.expert.clone()) for _ in range(40)], dim=1)
    below = (
        (best[:, None] - case.expert.gather(1, seen)) / case.controls.temperature if how != "greedy" else None
    )
    if below is None:
        assert (seen == case.expert.argmax(dim=1)[:, None]).all()
        return
    assert (seen != seen[:, :1]).any()
    if case.controls.min_p:
        assert (below <= -torch.tensor(case.controls.min_p).log() + 1e-5).all()
    if case.controls.top_k:
        kth = case.expert.topk(case.controls.top_k, dim=1).values[:, -1:]
        assert (case.expert.gather(1, seen) >= kth).all()


@needs_cpu
def test_v1_penalties_are_ours():
    case = given("penalties")
    said, edits = case.history, case.edits
    changed = vllm_private.v1_penalties(case, said)(case.expert.clone())
    wanted = inputs.edit(case.expert, edits)
    torch.testing.assert_close(changed, wanted)
    assert not torch.equal(changed, case.expert)


def test_v2_kernels_take_what_they_are_handed():
    """They need a GPU to run; that they can be called so is seen here."""
    from vllm.v1.sample.ops.topk_topp_sampler import apply_top_k_top_p
    from vllm.v1.worker.gpu.sample import gumbel, logprob, min_p, penalties

    def names(function):
        return list(inspect.signature(function).parameters)

    assert names(apply_top_k_top_p) == ["logits", "k", "p"]
    assert names(gumbel.apply_temperature) == ["logits", "expanded_idx_mapping", "temperature"]
    assert names(min_p.apply_min_p) == ["logits", "expanded_idx_mapping", "min_p"]
    assert names(logprob.compute_token_logprobs) == ["logits", "token_ids"]
    assert names(gumbel.gumbel_sample)[:7] == [
        "logits", "expanded_idx_mapping", "temperature", "seed", "pos", "apply_temperature", "is_drafting",
    ]  # fmt: skip
    assert names(penalties.apply_penalties) == [
        "logits", "expanded_idx_mapping", "token_ids", "expanded_local_pos", "repetition_penalty",
        "frequency_penalty", "presence_penalty", "prompt_bin_mask", "output_bin_counts",
    ]  # fmt: skip


def test_v2_prompts_are_packed_a_bit_a_token(monkeypatch):
    from vllm.v1.worker.gpu.sample import penalties

    handed = {}
    monkeypatch.setattr(penalties, "apply_penalties", lambda *arguments: handed.update(enumerate(arguments)))
    case = given("penalties")
    vllm_private.v2_penalties(case, case.history)(case.expert.clone())
    packed, counts = handed[7], handed[8]
    edits: Edits = case.edits
    assert packed.shape == (6, 16)
    prompted = torch.zeros(6, 512, dtype=torch.bool)
    for token in range(512):
        prompted[:, token] = ((packed[:, token // 32] >> (token % 32)) & 1).bool()
    wanted = torch.zeros(6, 512, dtype=torch.bool)
    wanted[edits.row, edits.token] = edits.prompted
    assert torch.equal(prompted, wanted)
    assert int(counts.sum()) == case.history.answer.numel()
