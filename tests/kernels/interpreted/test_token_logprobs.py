"""The Triton kernels on CPU tensors, against their twin, and under autograd."""

from __future__ import annotations

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motet_kernels import token_logprobs_torch as twin
from motet_kernels import token_logprobs_triton as kernels
from motet_kernels.token_logprobs import IGNORE_INDEX, hidden_token_logprobs, token_logprobs

# The interpreter computes with numpy, which remarks on every exp2(-inf) and log(0).
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.*")

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
#: From one value of a type to the next: the interpreter cuts float32 off where a GPU rounds it to bfloat16.
STEP = {torch.float32: 1e-5, torch.bfloat16: 2**-7, torch.float16: 2**-10}
#: Beyond one step of the reduction (8,192) and one block of the gradient (4,096), on and off their edges.
VOCABS = [1, 2, 31, 512, 4096, 4099, 8192, 8193, 20_001]


@st.composite
def rows(draw):
    vocab, count = draw(st.sampled_from(VOCABS)), draw(st.integers(1, 4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    logits = torch.randn(count, vocab, generator=generator) * draw(st.sampled_from([0.1, 4.0, 40.0]))
    logits += draw(st.sampled_from([0.0, -300.0, 300.0]))
    masked = torch.rand(count, vocab, generator=generator) < draw(st.sampled_from([0.0, 0.3, 0.999]))
    ids = torch.randint(vocab, (count,), generator=generator)
    logits[masked.scatter(1, ids[:, None], draw(st.booleans()))] = -torch.inf
    ids[torch.rand(count, generator=generator) < 0.2] = IGNORE_INDEX
    upstream = torch.randn(count, generator=generator)
    return logits.to(draw(st.sampled_from(DTYPES))), ids, upstream, draw(st.sampled_from([0.5, 1.0, 1.7]))


@settings(max_examples=60, deadline=None)
@given(case=rows())
def test_agrees_with_the_twin(case):
    logits, ids, upstream, temperature = case
    got, expected = kernels.forward(logits, ids, temperature), twin.forward(logits, ids, temperature)
    torch.testing.assert_close(got.logprobs, expected.logprobs, atol=1e-5, rtol=1e-5, equal_nan=True)
    out, exact = torch.full_like(logits, 7), torch.full_like(logits, 7)
    for module, into, of in ((kernels, out, got), (twin, exact, expected)):
        module.backward(into, logits, ids, of.maximum, of.logsum, upstream, temperature)
    torch.testing.assert_close(out, exact, atol=1e-6, rtol=STEP[logits.dtype], equal_nan=True)


@pytest.fixture
def by_triton(monkeypatch):
    """Sends CPU tensors the way that CUDA tensors go."""
    # Not by its dotted name, which leads to the package's function of that name.
    monkeypatch.setattr(sys.modules[token_logprobs.__module__], "_by_twin", lambda tensor: False)


@pytest.mark.usefixtures("by_triton")
@pytest.mark.parametrize("dtype", DTYPES)
def test_autograd_through_strided_and_expanded_tensors(dtype):
    whole = (torch.randn(2, 4, 600) * 3).to(dtype).requires_grad_()
    logits = whole[:, :-1, :513]  # neither rows nor sequences follow one another
    ids = torch.randint(513, (6, 2))[::2].t()
    ids[1, 1] = IGNORE_INDEX
    result = token_logprobs(logits, ids, temperature=0.8)
    result.sum().backward()  # whose gradient is one number, expanded
    plain = whole.detach().double().requires_grad_()
    exact = (plain[:, :-1, :513] / 0.8).log_softmax(-1).gather(-1, ids.clamp(min=0)[..., None])[..., 0]
    exact = exact.masked_fill(ids == IGNORE_INDEX, 0)
    exact.sum().backward()
    torch.testing.assert_close(result.double(), exact, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(whole.grad.double(), plain.grad, atol=2e-6, rtol=STEP[dtype])


@pytest.mark.usefixtures("by_triton")
def test_every_other_id_and_row():
    logits, ids = torch.randn(8, 70, requires_grad=True), torch.randint(70, (8,))
    result = token_logprobs(logits[::2], ids[::2])
    assert torch.equal(result, token_logprobs(logits, ids)[::2])
    (gradient,) = torch.autograd.grad(result.sum(), logits)
    (of_all,) = torch.autograd.grad(token_logprobs(logits, ids).sum(), logits)
    assert torch.equal(gradient[::2], of_all[::2])


@pytest.mark.usefixtures("by_triton")
@pytest.mark.parametrize("trained", ["head", "hidden"])
@pytest.mark.parametrize("chunk", [1, 700, 1 << 20])
def test_hidden_states_in_chunks(chunk, trained):
    hidden, head, bias = torch.randn(5, 16), torch.randn(130, 16), torch.randn(130)
    ids = torch.tensor([0, 129, IGNORE_INDEX, 64, 63])
    grads = []
    for scored in (
        lambda h, w, b: hidden_token_logprobs(h, w, ids, bias=b, chunk=chunk),
        lambda h, w, b: token_logprobs(h @ w.t() + b, ids),
    ):
        leaves = [t.clone().requires_grad_(trained == "head" or t is hidden) for t in (hidden, head, bias)]
        result = scored(*leaves)
        (result * torch.arange(1.0, 6.0)).sum().backward()
        grads.append([result.detach(), *[leaf.grad for leaf in leaves if leaf.requires_grad]])
    for got, expected in zip(*grads, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("by_triton")
@pytest.mark.parametrize("wrong", [-1, 50, -101, 2**40])
def test_an_id_out_of_range_is_nan_in_its_own_row(wrong):
    logits = torch.randn(3, 50, requires_grad=True)
    result = token_logprobs(logits, torch.tensor([4, wrong, 49]))
    result.sum().backward()
    assert result.isnan().tolist() == [False, True, False]
    assert logits.grad.isnan().all(1).tolist() == [False, True, False]
    assert not logits.grad[[0, 2]].isnan().any()


@pytest.mark.usefixtures("by_triton")
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


@pytest.mark.usefixtures("by_triton")
def test_no_tokens():
    logits = torch.zeros(0, 50, requires_grad=True)
    token_logprobs(logits, torch.zeros(0, dtype=torch.long)).sum().backward()
    assert logits.grad.shape == (0, 50)
