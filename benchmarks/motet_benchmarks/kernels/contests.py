"""A case made ready: input, contenders, who can't run and why, and what tells a wrong result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

import torch

from motet_benchmarks.kernels import inputs, rivals, vllm_private
from motet_benchmarks.kernels.cases import CONTRAST, FROM_LOGITS, LOGPROBS, Case
from motet_benchmarks.kernels.faults import logprobs_fault, sample_fault, scores_fault
from motet_benchmarks.kernels.inputs import Voices
from motet_kernels import contrast, contrast_sample, hidden_token_logprobs, token_logprobs

MOTET, EAGER, COMPILED = "motet", "eager", "torch.compile"
VLLM_V1, VLLM_V2, FLASHINFER = "vLLM V1", "vLLM V2", "FlashInfer"
CONTENDERS = (MOTET, EAGER, COMPILED, VLLM_V1, VLLM_V2, FLASHINFER)

NO_CONTRAST = "has no contrast"
Run = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Contest:
    """What to time.

    Attributes:
        least_bytes: that any implementation must move.
        restore: undoes what runs do to their input; called before each.
        runs: the contenders.
        absent: the others, with the reason.
        uncapturable: contenders that a CUDA graph can't replay, with the reason.
        fault: what is wrong with a result, None if it is right.
    """

    least_bytes: int
    restore: Callable[[], None]
    runs: dict[str, Run]
    absent: dict[str, str]
    fault: Callable[[Any], str | None]
    uncapturable: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rivals:
    """Why rivals can't run at all on this machine; those not in it can.

    Attributes:
        device: "cpu" or "cuda".
        compiled: whether torch.compile is asked for.
        absent: the reasons, by contender.
    """

    device: str
    compiled: bool
    absent: dict[str, str]


def find_rivals(device: str, compiled: bool) -> Rivals:
    """What of the others is installed here and runs on "cpu" or "cuda"; imports them."""
    absent = {}
    if not compiled:
        absent[COMPILED] = "not asked for (--compile)"
    if reason := vllm_private.missing(device):
        absent[VLLM_V1] = absent[VLLM_V2] = reason
    if device == "cpu":
        absent.setdefault(VLLM_V2, "its kernels are Triton's and need a GPU")
        absent[FLASHINFER] = "needs a GPU"
    else:
        try:
            import_module("flashinfer")
        except ImportError as problem:
            absent[FLASHINFER] = f"can't be imported: {problem}"
    return Rivals(device, compiled, absent)


def contest(case: Case, found: Rivals, seed: int) -> Contest:
    """Makes a case's input and contenders."""
    if case.job == LOGPROBS:
        return _of_logprobs(case, found, seed)
    given = inputs.voices(case, found.device, seed)
    return (_of_contrast if case.job == CONTRAST else _of_sample)(case, given, found)


def _of_contrast(case: Case, given: Voices, found: Rivals) -> Contest:
    amateur, rows = given.amateur, given.rows
    if amateur is None or rows is None:
        raise ValueError(f"{case}: no row asks for a contrast")
    work = given.expert.clone()
    runs: dict[str, Run] = {
        MOTET: lambda: contrast(work, amateur, rows),
        EAGER: lambda: rivals.contrasted(work, amateur, rows),
    }
    if found.compiled:
        runs[COMPILED] = compiled(runs[EAGER])
    absent = found.absent | dict.fromkeys((VLLM_V1, VLLM_V2, FLASHINFER), NO_CONTRAST)
    wanted = rivals.contrasted(given.expert, amateur, rows)
    return Contest(
        inputs.least_bytes(case, given),
        lambda: _restore((work, given.expert)),
        runs,
        absent,
        partial(scores_fault, wanted, given),
    )


def _of_sample(case: Case, given: Voices, found: Rivals) -> Contest:
    work = given.expert.clone()
    amateur = None if given.amateur is None else given.amateur.clone()
    runs: dict[str, Run] = {
        MOTET: lambda: _ours(given, work, amateur),
        EAGER: lambda: rivals.sample(given, work, amateur),
    }
    if found.compiled:
        runs[COMPILED] = compiled(runs[EAGER])
    absent = dict(found.absent)
    if given.controls.temperature == 0:
        absent.setdefault(FLASHINFER, "has no greedy draw")
    samplers = {VLLM_V1: _vllm_v1, VLLM_V2: _vllm_v2, FLASHINFER: _flashinfer}
    runs |= {name: make(given, work, amateur) for name, make in samplers.items() if name not in absent}

    def restore() -> None:
        _restore((work, given.expert), (amateur, given.amateur))

    wanted = rivals.scores(given, given.expert, given.amateur)
    return Contest(
        inputs.least_bytes(case, given),
        restore,
        runs,
        absent,
        partial(sample_fault, wanted, given),
        {VLLM_V1: "copies lists to the GPU at every step"} if given.history else {},
    )


def _vllm_v1(given: Voices, work: torch.Tensor, amateur: torch.Tensor | None) -> Run:
    edit = None if given.history is None else vllm_private.v1_penalties(given, given.history)
    draw = vllm_private.v1_sampler(given.controls, given.sampling)
    return lambda: (draw(_scores(given, work.float(), amateur, edit)), None)


def _vllm_v2(given: Voices, work: torch.Tensor, amateur: torch.Tensor | None) -> Run:
    edit = None if given.history is None else vllm_private.v2_penalties(given, given.history)
    draw = vllm_private.v2_sampler(given.controls, given.sampling)
    if given.controls.temperature == 0 and given.rows is None and edit is None:
        return lambda: (draw(work), None)
    # Whatever changes logits makes V2 work on a copy.
    return lambda: (draw(_scores(given, work.to(torch.float32, copy=True), amateur, edit)), None)


def _flashinfer(given: Voices, work: torch.Tensor, amateur: torch.Tensor | None) -> Run:
    flashinfer = import_module("flashinfer")
    edit = None if given.edits is None else partial(rivals.edit, edits=given.edits)
    return lambda: (
        rivals.flashinfer_draw(flashinfer, _scores(given, work.float(), amateur, edit), given),
        None,
    )


def _ours(
    given: Voices, work: torch.Tensor, amateur: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = contrast_sample(work, given.sampling, amateur=amateur, rows=given.rows, edits=given.edits)
    return drawn.token, drawn.logprob


def _scores(
    given: Voices,
    logits: torch.Tensor,
    amateur: torch.Tensor | None,
    edit: Callable[[torch.Tensor], torch.Tensor] | None,
) -> torch.Tensor:
    """What others' samplers draw from: with their penalties, and the contrast, which they lack, by our kernel."""
    rows = given.rows
    if rows is None or amateur is None:
        return logits if edit is None else edit(logits)
    unedited = None
    if edit is not None:
        unedited = logits.clone() if rows.index is None else logits[rows.index]
        logits = edit(logits)
    return contrast(logits, amateur, rows, unedited=unedited)


def _of_logprobs(case: Case, found: Rivals, seed: int) -> Contest:
    given = inputs.tokens(case, found.device, seed)
    absent = dict(found.absent)
    absent.setdefault(FLASHINFER, "has no such operation")
    ours: dict[str, Any] = {FROM_LOGITS: lambda ids, logits: token_logprobs(logits, ids)}
    theirs: dict[str, Any] = {FROM_LOGITS: rivals.token_logprobs}
    core = theirs.get(case.subject, rivals.hidden_token_logprobs)
    cores: dict[str, Any] = {
        MOTET: ours.get(case.subject, lambda ids, hidden, head: hidden_token_logprobs(hidden, head, ids)),
        EAGER: core,
    }
    if found.compiled:
        cores[COMPILED] = compiled(core)
    absent.setdefault(VLLM_V1, "does it in the eager line's way")
    if case.subject != FROM_LOGITS or given.upstream is not None:
        absent.setdefault(VLLM_V2, "has no such operation")
    if VLLM_V2 not in absent:
        cores[VLLM_V2] = vllm_private.v2_token_logprobs
    runs: dict[str, Run] = {name: partial(_logprobs, each, given) for name, each in cores.items()}
    wanted = _logprobs(core, given)
    return Contest(
        inputs.least_bytes(case, given), lambda: None, runs, absent, partial(logprobs_fault, wanted, case)
    )


def _logprobs(core: Callable[..., torch.Tensor], given: inputs.Tokens) -> tuple[torch.Tensor, ...]:
    if given.upstream is None:
        with torch.no_grad():
            return (core(given.ids, *given.leaves),)
    logprobs = core(given.ids, *given.leaves)
    return logprobs.detach(), *torch.autograd.grad(logprobs, given.leaves, given.upstream)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """For one shape. What was compiled before is forgotten: after a few shapes torch would give up and run eagerly."""
    torch.compiler.reset()
    return torch.compile(function, dynamic=False)


def _restore(*pairs: tuple[torch.Tensor | None, torch.Tensor | None]) -> None:
    for work, pristine in pairs:
        if work is not None and pristine is not None:
            work.copy_(pristine)
