"""The grouped products against a plain loop over rows, and vLLM's own class where that is right."""

from __future__ import annotations

import pytest
import torch
from vllm.lora.layers import LoRAMapping
from vllm.lora.punica_wrapper import get_punica_wrapper
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

from motet_decoding.engine.cpu_lora import GroupedLora, groups_of
from motet_decoding.plugin import register

SLOTS, IN, RANK, WIDTHS, VOCAB = 3, 10, 4, (6, 2, 2), 20
IDS = [11, None, 33]  # by slot


def stacked(rows: int, columns: int) -> torch.Tensor:
    return torch.randn(SLOTS, 1, rows, columns)


def wrapper(kind, tokens: list[int], prompts: list[int]):
    made = kind(64, max_batches=16, device=torch.device("cpu"))
    made.update_metadata(LoRAMapping(tuple(tokens), tuple(prompts), is_prefill=True), IDS, SLOTS + 1, VOCAB)
    return made


@pytest.fixture(params=[[11] * 5, [0, 11, 11, 0, 33, 33, 0], [33, 11, 33, 0, 11], [0, 0, 0]], ids=str)
def tokens(request):
    torch.manual_seed(0)
    return request.param


def test_linear_layers(tokens):
    x, y = torch.randn(len(tokens), IN), torch.randn(len(tokens), sum(WIDTHS))
    a = tuple(stacked(RANK, IN) for _ in WIDTHS)
    b = tuple(stacked(width, RANK) for width in WIDTHS)
    expected = y.clone()
    for row, adapter in enumerate(tokens):
        if adapter:
            slot = IDS.index(adapter)
            products = [b_[slot, 0] @ (a_[slot, 0] @ x[row]) for a_, b_ in zip(a, b, strict=True)]
            expected[row] += 0.5 * torch.cat(products)
    wrapper(GroupedLora, tokens, tokens).add_lora_linear(y, x, a, b, 0.5, WIDTHS)
    torch.testing.assert_close(y, expected)
    assert all(torch.equal(y[row], expected[row]) for row, adapter in enumerate(tokens) if not adapter)


@pytest.mark.parametrize(
    ("of_model", "of_lora"), [(torch.bfloat16, torch.float32), (torch.float32, torch.bfloat16)]
)
def test_matrices_may_be_of_another_type_than_the_model(of_model, of_lora):
    tokens = [11, 0, 33]
    x, y = torch.randn(3, IN).to(of_model), torch.randn(3, VOCAB).to(of_model)
    a, b = stacked(RANK, IN).to(of_lora), stacked(VOCAB, RANK).to(of_lora)
    expected = y.float().clone()
    for row in (0, 2):
        slot = IDS.index(tokens[row])
        expected[row] += b[slot, 0].float() @ (a[slot, 0].float() @ x[row].float())
    made = wrapper(GroupedLora, tokens, tokens)
    linear, logits, embedded = y.clone(), y.clone(), y.clone()
    made.add_lora_linear(linear, x, (a,), (b,), 1.0, (VOCAB,))
    made.add_lora_logits(logits, x, a, b, 1.0)
    for found in (linear, logits):
        assert found.dtype == of_model
        torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.1)
    made.add_lora_embedding(embedded, x[:, :RANK].to(of_lora), b)
    assert embedded.dtype == of_model
    assert not torch.equal(embedded[0], y[0])


def test_vllms_own_class_agrees_where_every_row_has_an_adapter():
    tokens = [33, 11, 33, 11, 11]
    x, y = torch.randn(len(tokens), IN), torch.randn(len(tokens), sum(WIDTHS))
    a = tuple(stacked(RANK, IN) for _ in WIDTHS)
    b = tuple(stacked(width, RANK) for width in WIDTHS)
    theirs = y.clone()
    wrapper(PunicaWrapperCPU, tokens, tokens).add_lora_linear(theirs, x, a, b, 1.0, WIDTHS)
    wrapper(GroupedLora, tokens, tokens).add_lora_linear(y, x, a, b, 1.0, WIDTHS)
    torch.testing.assert_close(y, theirs)


def test_the_head_goes_by_the_sampled_rows_and_takes_the_narrower_vocabulary(tokens):
    sampled = tokens[::2]
    x, y = torch.randn(len(sampled), IN), torch.randn(len(sampled), VOCAB - 2)
    a, b = stacked(RANK, IN), stacked(VOCAB, RANK)
    expected = y.clone()
    for row, adapter in enumerate(sampled):
        if adapter:
            slot = IDS.index(adapter)
            expected[row] += (b[slot, 0] @ (a[slot, 0] @ x[row]))[: VOCAB - 2]
    wrapper(GroupedLora, tokens, sampled).add_lora_logits(y, x, a, b, 1.0)
    torch.testing.assert_close(y, expected)


def test_the_embedding(tokens):
    x, y, b = torch.randn(len(tokens), RANK), torch.randn(len(tokens), IN), stacked(IN, RANK)
    expected = y.clone()
    for row, adapter in enumerate(tokens):
        if adapter:
            expected[row] += b[IDS.index(adapter), 0] @ x[row]
    wrapper(GroupedLora, tokens, tokens).add_lora_embedding(y, x, b)
    torch.testing.assert_close(y, expected)


def test_rows_that_stand_together_are_a_slice():
    groups = dict(groups_of(torch.tensor([-1, 2, 2, -1, 0, 1, 0])))
    assert groups[2] == slice(1, 3)
    assert groups[1] == slice(5, 6)
    assert groups[0].tolist() == [4, 6]
    assert -1 not in groups


def test_a_result_of_its_own_is_refused_rather_than_added_twice():
    x, y = torch.randn(2, IN), torch.zeros(2, 6)
    with pytest.raises(NotImplementedError):
        wrapper(GroupedLora, [11, 0], [11, 0]).add_lora_linear(
            y, x, (stacked(RANK, IN),), (stacked(6, RANK),), 1.0, (6,), add_inputs=False
        )


def test_the_plugin_puts_it_where_vllm_looks():
    register()
    assert isinstance(get_punica_wrapper(8, max_batches=2, device=torch.device("cpu")), GroupedLora)


def test_a_prompts_rows_are_all_its_own_adapters():
    torch.manual_seed(0)
    made = wrapper(GroupedLora, [33, 11, 33, 0, 11], [33, 11, 33, 0, 11])
    a, b = stacked(RANK, IN), stacked(VOCAB, RANK)
    for adapter in (0, 11, 33):
        x, y = torch.randn(2, IN), torch.zeros(2, VOCAB)
        with made.prompt_of(adapter):
            made.add_lora_logits(y, x, a, b, 1.0)
        slot = IDS.index(adapter) if adapter else None
        expected = y * 0 if slot is None else x @ a[slot, 0].T @ b[slot, 0].T
        torch.testing.assert_close(y, expected)
    x, y = torch.randn(5, IN), torch.zeros(5, VOCAB)
    made.add_lora_logits(y, x, a, b, 1.0)
    torch.testing.assert_close(y[1], b[0, 0] @ (a[0, 0] @ x[1]))
    assert not y[3].any()
