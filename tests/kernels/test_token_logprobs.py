"""Scores of given tokens and their gradients against log_softmax in float64, and what they cost in memory."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from motet_kernels.token_logprobs import IGNORE_INDEX, hidden_token_logprobs, token_logprobs

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
#: Half a step between neighbours of a type, at 1.
ROUNDING = {torch.float32: 1e-6, torch.bfloat16: 2**-8, torch.float16: 2**-11}


def plain(logits, ids, temperature=1.0):
    """The formula in float64."""
    scores = (logits.double() / temperature).log_softmax(-1)
    chosen = scores.gather(-1, ids.clamp(min=0)[..., None])[..., 0]
    return torch.where(ids == IGNORE_INDEX, 0.0, chosen)


def some_ids(vocab, *shape, ignore=0.2):
    ids = torch.randint(vocab, shape)
    return ids.masked_fill(torch.rand(shape) < ignore, IGNORE_INDEX)


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=60, deadline=None)
@given(
    vocab=st.sampled_from([2, 3, 31, 512, 1023, 32_000, 50_257, 128_256, 151_936]),
    rows=st.integers(1, 7),
    dtype=st.sampled_from(DTYPES),
    scale=st.sampled_from([0.1, 3.0, 30.0]),
    shift=st.sampled_from([0.0, -500.0, 1000.0]),
    masked=st.sampled_from([0.0, 0.5, 0.999]),
    temperature=st.sampled_from([0.3, 1.0, 2.0]),
    seed=st.integers(0, 2**31),
)
def test_values_and_gradients(device, vocab, rows, dtype, scale, shift, masked, temperature, seed):
    torch.manual_seed(seed)
    logits = torch.randn(rows, vocab) * scale + shift
    ids, upstream = some_ids(vocab, rows), torch.randn(rows)
    mask = torch.rand(rows, vocab) < masked
    mask[:, vocab // 2] = False  # a row needs a token that is left; the one asked for may well be masked
    logits = logits.masked_fill(mask, -torch.inf).to(dtype).to(device).requires_grad_()
    ids, upstream = ids.to(device), upstream.to(device)

    result = token_logprobs(logits, ids, temperature=temperature)
    assert result.dtype == torch.float32
    result.backward(upstream)
    exact_logits = logits.detach().double().requires_grad_()
    exact = plain(exact_logits, ids, temperature)
    exact.backward(upstream.double())

    torch.testing.assert_close(result.double(), exact, atol=1e-5, rtol=2e-6)
    assert torch.equal(result == -torch.inf, exact == -torch.inf)
    assert logits.grad.dtype == dtype
    size = upstream.abs().max().item() / temperature
    torch.testing.assert_close(
        logits.grad.double(), exact_logits.grad, atol=2e-6 * size + 1e-7, rtol=ROUNDING[dtype]
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("trained", [("hidden", "head", "bias"), ("hidden",), ("head",), ("bias",)])
@pytest.mark.parametrize("chunk", [1, 500, 64 * 300, 1 << 27])
def test_hidden_states_in_chunks_are_hidden_states_at_once(device, trained, chunk):
    torch.manual_seed(1)
    values = {
        "hidden": torch.randn(2, 11, 24),
        "head": torch.randn(333, 24) / 3,
        "bias": torch.randn(333),
    }
    ids, upstream = some_ids(333, 2, 11).to(device), torch.randn(2, 11, device=device)
    ours = {k: v.to(device).requires_grad_(k in trained) for k, v in values.items()}
    exact = {k: v.detach().double().requires_grad_(k in trained) for k, v in ours.items()}
    result = hidden_token_logprobs(
        ours["hidden"], ours["head"], ids, bias=ours["bias"], temperature=0.7, chunk=chunk
    )
    result.backward(upstream)
    expected = plain(exact["hidden"] @ exact["head"].t() + exact["bias"], ids, 0.7)
    expected.backward(upstream.double())
    torch.testing.assert_close(result.double(), expected, atol=1e-5, rtol=1e-5)
    for name in values:
        if name in trained:
            torch.testing.assert_close(ours[name].grad.double(), exact[name].grad, atol=2e-5, rtol=1e-5)
        else:
            assert ours[name].grad is None


def test_half_precision_hidden_states_cost_no_more_than_their_rounding():
    """Against the plain formula in the same bfloat16: ours may not be further from float64 than that is, by much."""
    torch.manual_seed(2)
    hidden, head, ids = torch.randn(64, 32), torch.randn(600, 32) / 6, some_ids(600, 64)
    errors = {}
    for name, score in {
        "ours": lambda h, w: hidden_token_logprobs(h, w, ids, chunk=64 * 128),
        "theirs": lambda h, w: torch.where(
            ids == IGNORE_INDEX, 0.0, (h @ w.t()).float().log_softmax(-1)[torch.arange(64), ids.clamp(min=0)]
        ),
    }.items():
        leaves = [t.bfloat16().requires_grad_() for t in (hidden, head)]
        exact = [t.detach().double().requires_grad_() for t in leaves]
        score(*leaves).sum().backward()
        plain(exact[0] @ exact[1].t(), ids).sum().backward()
        errors[name] = [(a.grad - b.grad).norm() / b.grad.norm() for a, b in zip(leaves, exact, strict=True)]
    assert errors["ours"][0] < 1.5 * errors["theirs"][0] < 0.05
    assert errors["ours"][1] < 1.5 * errors["theirs"][1] < 0.05


def test_gradcheck():
    torch.manual_seed(3)
    ids = torch.tensor([3, IGNORE_INDEX, 0, 12])
    logits, bias = torch.randn(4, 13, dtype=torch.float64), torch.randn(13, dtype=torch.float64)
    hidden, head = torch.randn(4, 5, dtype=torch.float64), torch.randn(13, 5, dtype=torch.float64)
    leaves = [t.requires_grad_() for t in (logits, hidden, head, bias)]
    assert torch.autograd.gradcheck(lambda x: token_logprobs(x, ids, temperature=1.3), leaves[:1])
    for chunk in (1, 20, 1000):
        assert torch.autograd.gradcheck(
            lambda h, w, b, chunk=chunk: hidden_token_logprobs(
                h, w, ids, bias=b, temperature=0.6, chunk=chunk
            ),
            leaves[1:],
        )


class Largest(TorchDispatchMode):
    """Notes the largest storage that any operation makes; a view of what it was given is none."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given, made = (
            {t.untyped_storage() for t in tree_leaves(tree) if isinstance(t, torch.Tensor)}
            for tree in ((args, kwargs), result)
        )
        self.bytes = max([self.bytes, *(s.nbytes() for s in made - given)])
        return result


def saved_by(score):
    """What the graph of ``score()`` keeps until its backward pass."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        result = score()
    return result, kept


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_are_neither_copied_nor_widened(dtype):
    logits = torch.randn(64, 50_000).to(dtype).requires_grad_()
    ids = some_ids(50_000, 64)
    with Largest() as most:
        result, kept = saved_by(lambda: token_logprobs(logits, ids))
    assert most.bytes <= 4 << 19 < logits.untyped_storage().nbytes()
    assert [t.data_ptr() for t in kept if t.numel() > 64] == [logits.data_ptr()]
    with Largest() as most:
        result.sum().backward()
    assert most.bytes <= logits.untyped_storage().nbytes()  # their gradient


@pytest.mark.parametrize("trained", ["hidden", "head"])
def test_hidden_states_never_become_all_logits(trained):
    hidden = torch.randn(400, 8, requires_grad=True)
    head = torch.randn(4_000, 8, requires_grad=trained == "head")
    ids, chunk = some_ids(4_000, 400), 20_000
    with Largest() as most:
        result, kept = saved_by(lambda: hidden_token_logprobs(hidden, head, ids, chunk=chunk))
        result.sum().backward()
    assert most.bytes <= max(4 * chunk, head.untyped_storage().nbytes())
    assert most.bytes < 400 * 4_000 * 4 / 10
    assert sum(t.numel() for t in kept) <= 2 * hidden.numel() + head.numel() + 4 * 400


@pytest.mark.parametrize("spoil", [torch.nan, torch.inf, -torch.inf])
def test_a_spoilt_row_is_nan_alone_and_harmless_when_ignored(spoil):
    logits = torch.randn(4, 50)
    logits[1:3] = spoil
    logits.requires_grad_()
    result = token_logprobs(logits, torch.tensor([4, 7, IGNORE_INDEX, 49]))
    result.sum().backward()
    assert result.isnan().tolist() == [False, True, False, False]
    assert result[2] == 0
    assert logits.grad.isnan().any(1).tolist() == [False, True, False, False]
    assert logits.grad[2].eq(0).all()


def test_what_is_ignored_does_not_reach_the_heads_gradient():
    hidden, head = torch.randn(4, 8), torch.randn(20, 8, requires_grad=True)
    hidden[1] = torch.nan
    ids = torch.tensor([3, IGNORE_INDEX, 19, IGNORE_INDEX])
    hidden.requires_grad_()
    result = hidden_token_logprobs(hidden, head, ids)
    result.sum().backward()
    assert result[[1, 3]].tolist() == [0, 0]
    assert head.grad.isfinite().all()
    assert hidden.grad[[1, 3]].eq(0).all()


def test_slices_of_a_padded_batch_are_scored_where_they_lie():
    whole = torch.randn(3, 6, 40, requires_grad=True)
    logits, ids = whole[:, :-1, :37], some_ids(37, 3, 5)
    with Largest() as most:
        result = token_logprobs(logits, ids)
    assert most.bytes <= 5 * 37 * 4  # what the twin widens at a time: a sequence here, not the batch
    result.sum().backward()
    exact = whole.detach().double().requires_grad_()
    plain(exact[:, :-1, :37], ids).sum().backward()
    torch.testing.assert_close(whole.grad.double(), exact.grad, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (2, 1, 3, 2), (0,), (3, 0)])
def test_leading_dimensions(shape):
    logits, ids = torch.randn(*shape, 11, requires_grad=True), some_ids(11, *shape)
    result = token_logprobs(logits, ids)
    torch.testing.assert_close(result, plain(logits, ids).float(), atol=1e-6, rtol=1e-6)
    result.sum().backward()
    assert logits.grad.shape == logits.shape
    hidden, head = torch.randn(*shape, 4, requires_grad=True), torch.randn(11, 4, requires_grad=True)
    result = hidden_token_logprobs(hidden, head, ids)
    torch.testing.assert_close(result, plain(hidden @ head.t(), ids).float(), atol=1e-5, rtol=1e-5)
    result.sum().backward()
    assert head.grad.isfinite().all()


def test_any_strides_and_integer_type():
    logits = torch.randn(9, 4).t()
    ids = torch.tensor([8, 0, 1, 0, 3, 0, IGNORE_INDEX, 0], dtype=torch.int32)[::2]
    torch.testing.assert_close(token_logprobs(logits, ids), plain(logits, ids).float())


def test_without_a_gradient_nothing_is_kept():
    logits = torch.randn(3, 9, requires_grad=True)
    with torch.no_grad():
        result, kept = saved_by(lambda: token_logprobs(logits, torch.tensor([1, 2, 3])))
    assert not result.requires_grad
    assert kept == []


def test_autocast_casts_as_the_models_own_head_would():
    hidden, head, ids = torch.randn(6, 8), torch.randn(30, 8, requires_grad=True), some_ids(30, 6)
    with torch.autocast("cpu", torch.bfloat16):
        result = hidden_token_logprobs(hidden.bfloat16(), head, ids)
        expected = token_logprobs(torch.nn.functional.linear(hidden, head), ids)
    torch.testing.assert_close(result, expected)
    result.sum().backward()
    assert head.grad.dtype == torch.float32


@pytest.mark.parametrize(
    "score", [token_logprobs, lambda x, ids: hidden_token_logprobs(x, torch.ones(7, 5), ids)]
)
def test_a_second_derivative_is_refused(score):
    inputs = torch.randn(2, 5, requires_grad=True)
    result = score(inputs, torch.tensor([1, 2])).sum()
    with pytest.raises(RuntimeError, match="can't be differentiated twice"):
        torch.autograd.grad(result, inputs, create_graph=True)


def test_logits_changed_before_the_backward_pass_are_noticed():
    logits = torch.randn(2, 5, requires_grad=True)
    scored = logits * 1
    result = token_logprobs(scored, torch.tensor([1, 2])).sum()
    scored.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.backward()


@pytest.mark.parametrize("wrong", [-1, -101, 5])
def test_ids_out_of_range_are_refused(wrong):
    ids = torch.tensor([0, wrong, IGNORE_INDEX])
    with pytest.raises(ValueError, match=f"id {wrong} is outside a vocabulary of 5"):
        token_logprobs(torch.randn(3, 5), ids)
    with pytest.raises(ValueError, match=f"id {wrong} is outside a vocabulary of 5"):
        hidden_token_logprobs(torch.randn(3, 2), torch.randn(5, 2), ids)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": torch.zeros(2, 4, dtype=torch.long)}, "hidden must be floats"),
        ({"ids": torch.zeros(2)}, "ids must be integers"),
        ({"ids": torch.tensor([True, False])}, "ids must be integers"),
        ({"ids": torch.tensor([1])}, r"hidden \[2, 4\] take ids \[2\], not \[1\]"),
        ({"ids": torch.tensor([1, 2], device="meta")}, "ids are on meta, hidden on cpu"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"temperature": float("nan")}, "temperature must be above 0"),
        ({"head": torch.zeros(9, 3)}, r"head must be \[vocab, 4\], not \[9, 3\]"),
        ({"head": torch.zeros(0, 4)}, "head must be"),
        ({"head": torch.zeros(9, 4, dtype=torch.bfloat16)}, "head is torch.bfloat16 on cpu, but hidden"),
        ({"bias": torch.zeros(4)}, r"bias must be \[9\], not \[4\]"),
        ({"bias": torch.zeros(9).half()}, "bias is torch.float16"),
        ({"chunk": 0}, "chunk must be at least 1"),
    ],
)
def test_what_makes_no_sense_is_named(change, message):
    good = {"hidden": torch.zeros(2, 4), "head": torch.zeros(9, 4), "ids": torch.tensor([1, 2])}
    hidden_token_logprobs(**good)
    with pytest.raises(ValueError, match=message):
        hidden_token_logprobs(**(good | change))


def test_logits_need_a_vocabulary():
    with pytest.raises(ValueError, match=r"logits must be .*\[2, 0\]"):
        token_logprobs(torch.zeros(2, 0), torch.tensor([IGNORE_INDEX] * 2))


def test_a_cpu_never_imports_triton():
    code = (
        "import sys, torch; from motet_kernels.token_logprobs import token_logprobs as score;"
        "score(torch.zeros(2, 5, requires_grad=True), torch.tensor([1, 2])).sum().backward();"
        "sys.exit('triton' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
