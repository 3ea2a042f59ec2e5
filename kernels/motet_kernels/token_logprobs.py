"""Log-probabilities of given tokens, from logits or from hidden states and the LM head, with their gradients.

What scoring a sequence, DPO and PPO need. ``log_softmax(logits.float()).gather(ids)`` makes float32 copies of all the
logits, and more for the gradient; here a row is reduced to three numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional

from motet_kernels import token_logprobs_torch as twin
from motet_kernels.token_logprobs_torch import IGNORE_INDEX, Reduced

__all__ = ["IGNORE_INDEX", "hidden_token_logprobs", "token_logprobs"]

#: What the Triton kernels take. float64 is for checks and stays with the twin on every device.
_KERNEL_TYPES = (torch.float32, torch.bfloat16, torch.float16)


def token_logprobs(
    logits: torch.Tensor,  # [..., vocab]
    ids: torch.Tensor,  # [...]
    *,
    temperature: float = 1.0,
) -> torch.Tensor:
    """Log-probability of each row's token under ``softmax(logits / temperature)``, in float32.

    Maximum, exponentials and their sum are float32 whatever the logits' type, in one pass over them and without a
    float32 copy. The logits themselves are kept for the backward pass, so nothing may change them in place before it;
    the gradient has their type and is not differentiable again.

    Rows may be strided (part of a padded vocabulary, ``logits[:, :-1]``) and are not copied then; logits whose
    vocabulary isn't contiguous are. Ending shifted ``ids`` with ``IGNORE_INDEX`` is cheaper than slicing ``logits``,
    whose gradient autograd would have to pad.

    A logit of ``-inf`` is a token of probability 0, and the result is exactly ``-inf`` where it is the one asked for.
    A row that holds NaN, ``+inf`` or nothing but ``-inf`` gives NaN, in its own result and gradient alone.

    Args:
        logits: float32, bfloat16, float16, or (in plain torch on any device, with a float64 result) float64.
        ids: integers in [0, vocab), or ``IGNORE_INDEX`` for a row whose result and gradient are to be 0.
        temperature: divides the logits; above 0.

    Raises:
        ValueError: for shapes, types or a temperature that make no sense, and on a CPU for an id out of range. A GPU
            isn't waited for to find out: there, such a row's result and gradient are NaN.
    """
    _check(logits, ids, temperature, "logits")
    _check_range(logits, ids, logits.shape[-1])
    if logits.stride(-1) != 1:
        logits = logits.contiguous()
    result: torch.Tensor = _TokenLogprobs.apply(logits, ids.long(), float(temperature))  # type: ignore[no-untyped-call]
    return result


def hidden_token_logprobs(
    hidden: torch.Tensor,  # [..., size]
    head: torch.Tensor,  # [vocab, size]
    ids: torch.Tensor,  # [...]
    *,
    bias: torch.Tensor | None = None,  # [vocab]
    temperature: float = 1.0,
    chunk: int = 1 << 27,
) -> torch.Tensor:
    """``token_logprobs(hidden @ head.T + bias, ids)`` without holding [tokens, vocab] logits at any time, in float32.

    A chunk of the logits at a time is made by an ordinary matrix product, at its full speed, and reduced as
    ``token_logprobs`` does it. They have the type of ``hidden``, as the model's own logits would. Kept for the backward
    pass are the arguments and two numbers a token; it makes the logits again, chunk by chunk, and turns each chunk into
    its gradient in place. Not differentiable again.

    Rows whose id is ``IGNORE_INDEX`` cost nothing, but a GPU is waited for to find them.

    Args:
        hidden: the last hidden states, of any floating type. Under autocast, they, the head and the bias are cast.
        head: the LM head's weight, of the same type.
        ids: as for ``token_logprobs``.
        bias: the LM head's, if it has one.
        temperature: divides the logits; above 0.
        chunk: the most logits (tokens times vocabulary entries) held at once, or one token's if those are more;
            the default is 256 MiB of bfloat16.

    Raises:
        ValueError: as by ``token_logprobs``, for a head or bias that doesn't fit, and for a chunk below 1.
    """
    if torch.is_autocast_enabled(hidden.device.type):
        dtype = torch.get_autocast_dtype(hidden.device.type)
        hidden, head, bias = hidden.to(dtype), head.to(dtype), None if bias is None else bias.to(dtype)
    _check(hidden, ids, temperature, "hidden")
    if head.ndim != 2 or head.shape[1] != hidden.shape[-1] or len(head) == 0:
        raise ValueError(f"head must be [vocab, {hidden.shape[-1]}], not {list(head.shape)}")
    if bias is not None and bias.shape != head.shape[:1]:
        raise ValueError(f"bias must be [{len(head)}], not {list(bias.shape)}")
    for name, tensor in (("head", head), ("bias", bias)):
        if tensor is not None and (tensor.dtype, tensor.device) != (hidden.dtype, hidden.device):
            there = f"{tensor.dtype} on {tensor.device}"
            raise ValueError(f"{name} is {there}, but hidden {hidden.dtype} on {hidden.device}")
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, not {chunk}")
    _check_range(hidden, ids, len(head))

    shape, ids, hidden = ids.shape, ids.long().flatten(), hidden.reshape(-1, hidden.shape[-1])
    tokens = len(ids)
    asked = (ids != IGNORE_INDEX).nonzero().squeeze(1)
    if len(asked) < tokens:
        # The others stay out of the products: 0 times a padded position's NaN would be NaN in the head's gradient.
        hidden, ids = hidden[asked], ids[asked]
    result: torch.Tensor = _HiddenTokenLogprobs.apply(hidden, head, bias, ids, float(temperature), chunk)  # type: ignore[no-untyped-call]
    if len(asked) < tokens:
        result = result.new_zeros(tokens).index_put((asked,), result)
    return result.view(shape)


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, ids: torch.Tensor, temperature: float) -> torch.Tensor:
        pieces = _pieces(logits)
        ids_of = ids.flatten().split([len(piece) for piece in pieces])
        parts = [_kernels(logits).forward(*each, temperature) for each in zip(pieces, ids_of, strict=True)]
        reduced = Reduced(*map(torch.cat, zip(*parts, strict=True)))
        ctx.save_for_backward(logits, ids, reduced.maximum, reduced.logsum)
        ctx.temperature = temperature
        return reduced.logprobs.view(ids.shape)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        _refuse_second_derivatives()
        logits, *by_row = ctx.saved_tensors
        pieces = _pieces(logits)
        lengths = [len(piece) for piece in pieces]
        gradient = torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)
        outs = gradient.view(-1, logits.shape[-1]).split(lengths)
        each = [tensor.flatten().split(lengths) for tensor in (*by_row, upstream)]
        for arguments in zip(outs, pieces, *each, strict=True):
            _kernels(logits).backward(*arguments, ctx.temperature)
        return gradient, None, None


class _HiddenTokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,  # [tokens, size]
        head: torch.Tensor,
        bias: torch.Tensor | None,
        ids: torch.Tensor,  # [tokens]
        temperature: float,
        chunk: int,
    ) -> torch.Tensor:
        parts = []
        for rows in _slices(len(ids), chunk // len(head)):
            logits = functional.linear(hidden[rows], head, bias)
            parts.append(_kernels(logits).forward(logits, ids[rows], temperature))
        reduced = Reduced(*map(torch.cat, zip(*parts, strict=True)))
        ctx.save_for_backward(hidden, head, bias, ids, reduced.maximum, reduced.logsum)
        ctx.temperature, ctx.chunk = temperature, chunk
        return reduced.logprobs

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        _refuse_second_derivatives()
        hidden, head, bias, *by_row = ctx.saved_tensors
        for_hidden, for_head, for_bias, *_ = ctx.needs_input_grad
        tokens, vocab = len(hidden), len(head)
        if for_head or for_bias:
            # All tokens and some of the vocabulary: each row of the head's gradient is one product, added up in float32
            # and rounded once. Adding up chunks of tokens would take a float32 copy of the whole head.
            chunks = [(slice(0, tokens), columns) for columns in _slices(vocab, ctx.chunk // max(tokens, 1))]
        else:
            chunks = [(rows, slice(0, vocab)) for rows in _slices(tokens, ctx.chunk // vocab)]
        wide = torch.promote_types(hidden.dtype, torch.float32)
        grad_hidden = torch.zeros_like(hidden, dtype=wide) if for_hidden else None
        grad_head = torch.empty_like(head) if for_head else None
        grad_bias = torch.empty_like(bias) if for_bias else None
        for rows, columns in chunks:
            block = functional.linear(hidden[rows], head[columns], None if bias is None else bias[columns])
            each = [tensor[rows] for tensor in (*by_row, upstream)]
            _kernels(block).backward(block, block, *each, ctx.temperature, columns.start)
            if grad_hidden is not None:
                grad_hidden[rows] += block @ head[columns]
            if grad_head is not None:
                torch.mm(block.t(), hidden, out=grad_head[columns])  # not into a copy, which may be as large
            if grad_bias is not None:
                grad_bias[columns] = block.sum(0, dtype=wide).to(grad_bias.dtype)
        if grad_hidden is not None:
            grad_hidden = grad_hidden.to(hidden.dtype)
        return grad_hidden, grad_head, grad_bias, None, None, None


def _refuse_second_derivatives() -> None:
    # torch's once_differentiable lets a graph through whose upstream gradient is a constant, and drops a term silently.
    if torch.is_grad_enabled():
        raise RuntimeError("log-probabilities of tokens can't be differentiated twice (create_graph=True)")


def _by_twin(tensor: torch.Tensor) -> bool:
    return not tensor.is_cuda or tensor.dtype not in _KERNEL_TYPES


def _kernels(logits: torch.Tensor) -> Any:
    """The module that has ``forward`` and ``backward`` for these logits."""
    if _by_twin(logits):
        return twin
    # Imported here because Triton takes a second to load and has no use on a CPU.
    from motet_kernels import token_logprobs_triton

    return token_logprobs_triton


def _pieces(logits: torch.Tensor) -> list[torch.Tensor]:
    """The rows of ``logits`` as [rows, vocab] views: one, unless only a copy of it would be flat."""
    try:
        return [logits.view(-1, logits.shape[-1])]
    except RuntimeError:  # torch has no other way to ask whether there is such a view
        return [piece for part in logits.unbind(0) for piece in _pieces(part)]


def _slices(length: int, step: int) -> Iterator[slice]:
    """Covers ``length``, at least one slice even of nothing. Long steps are cut to what tensor cores like."""
    step = max(1, step if step < 64 else step // 64 * 64)
    return (slice(start, min(start + step, length)) for start in range(0, max(length, 1), step))


def _check(rows: torch.Tensor, ids: torch.Tensor, temperature: float, name: str) -> None:
    if not rows.is_floating_point() or rows.ndim == 0 or rows.shape[-1] == 0:
        raise ValueError(f"{name} must be floats [..., 1 or more], not {rows.dtype} {list(rows.shape)}")
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise ValueError(f"ids must be integers, not {ids.dtype}")
    if ids.shape != rows.shape[:-1]:
        raise ValueError(f"{name} {list(rows.shape)} take ids {list(rows.shape[:-1])}, not {list(ids.shape)}")
    if ids.device != rows.device:
        raise ValueError(f"ids are on {ids.device}, {name} on {rows.device}")
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature must be above 0 and finite, not {temperature}")


def _check_range(rows: torch.Tensor, ids: torch.Tensor, vocab: int) -> None:
    if not _by_twin(rows):
        return
    wrong = ids[(ids != IGNORE_INDEX) & ((ids < 0) | (ids >= vocab))]
    if len(wrong):
        raise ValueError(f"id {int(wrong[0])} is outside a vocabulary of {vocab}")
