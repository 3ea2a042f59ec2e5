"""Synthetic logits and settings, the same for every contender, and the bytes that nobody can avoid to move."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from motet_benchmarks.kernels.cases import (
    BACKWARD,
    CONTRAST,
    CONTROLS,
    FROM_LOGITS,
    ONE_IN,
    PEAKY,
    Case,
    Controls,
)
from motet_benchmarks.kernels.rivals import edit
from motet_kernels import ContrastRows, Edits, Sampling

STRENGTH, PLAUSIBILITY = 0.5, 0.1
REPETITION, FREQUENCY, PRESENCE = 1.1, 0.2, 0.1
#: Tokens of a row's prompt and answer, for penalties.
PROMPT, ANSWER = 256, 64
#: Of the hidden states, as in a small model: the product with the head takes long enough.
HIDDEN = 1024
#: Of a (row, token) with a penalty: its two ids, bias, count, and whether the prompt has it.
ENTRY_BYTES = 8 + 8 + 4 + 4 + 1


@dataclass(frozen=True, slots=True)
class History:
    """What has been said, as vLLM keeps it: token ids [batch, tokens]."""

    prompt: torch.Tensor
    answer: torch.Tensor


@dataclass(frozen=True, slots=True)
class Voices:
    """The input of ``contrast`` and ``contrast_sample``; never written to.

    Attributes:
        expert: [batch, vocab].
        amateur: [asking rows, vocab]; None where no row asks.
        rows: the asking rows' settings; None where no row asks.
        controls: how tokens are drawn, every row alike.
        sampling: the same, by row.
        history: prompts and answers; None without penalties.
        edits: the penalties by token; None without.
    """

    expert: torch.Tensor
    amateur: torch.Tensor | None
    rows: ContrastRows | None
    controls: Controls
    sampling: Sampling
    history: History | None
    edits: Edits | None


@dataclass(frozen=True, slots=True)
class Tokens:
    """The input of ``token_logprobs``.

    Attributes:
        leaves: the logits [batch, vocab]; or the hidden states [batch, HIDDEN] and the head [vocab, HIDDEN].
        ids: the tokens asked for, [batch].
        upstream: the gradient of their log-probabilities, float32 [batch]; None without a backward pass.
    """

    leaves: tuple[torch.Tensor, ...]
    ids: torch.Tensor
    upstream: torch.Tensor | None


def voices(case: Case, device: str, seed: int) -> Voices:
    """The input of a case of ``contrast`` or ``contrast_sample``."""
    generator = torch.Generator(device).manual_seed(seed)
    expert, noise = (logits(case, generator) for _ in range(2))
    amateur = (0.5 * expert.float() + 0.5 * noise.float()).to(expert.dtype)  # they agree on much
    controls = CONTROLS.get(case.how, Controls())
    every = ONE_IN[case.subject]
    rows = None
    if every:
        index = torch.arange(0, case.batch, every, device=device)
        amateur = amateur[index]
        rows = settings(len(index), None if every == 1 else index, device)
    said = history(expert, generator) if controls.penalties else None
    return Voices(
        expert=expert,
        amateur=amateur if every else None,
        rows=rows,
        controls=controls,
        sampling=sampling(controls, case.batch, device),
        history=said,
        edits=None if said is None else penalties(said, case.vocab),
    )


def logits(case: Case, generator: torch.Generator) -> torch.Tensor:
    """[batch, vocab] of the case's kind and type.

    Peaky: exponentially distributed, so that the r-th most likely token has about r^-1.5 of the favourite's
    probability and four or five reach a tenth of it. Flat: normal, so narrow that every token does.
    """
    values = torch.empty(case.batch, case.vocab, device=generator.device)
    if case.mood == PEAKY:
        values.exponential_(generator=generator).mul_(1.5)
    else:
        values.normal_(std=0.01, generator=generator)
    return values.to(getattr(torch, case.dtype))


def settings(asking: int, index: torch.Tensor | None, device: str) -> ContrastRows:
    """The same contrast for every asking row."""

    def column(value: float) -> torch.Tensor:
        return torch.full((asking,), value, device=device)

    extrapolate = torch.ones(asking, dtype=torch.bool, device=device)
    return ContrastRows.of(column(STRENGTH), column(PLAUSIBILITY), extrapolate, column(1.0), index)


def sampling(controls: Controls, batch: int, device: str) -> Sampling:
    """The controls by row, each row with a seed of its own."""

    def column(value: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.full((batch,), value, dtype=dtype, device=device)

    return Sampling(
        temperature=column(controls.temperature),
        min_p=column(controls.min_p),
        top_k=column(controls.top_k, torch.int32),
        top_p=column(controls.top_p),
        seed=torch.arange(batch, device=device),
        position=column(PROMPT + ANSWER, torch.int64),
    )


def history(expert: torch.Tensor, generator: torch.Generator) -> History:
    """Random tokens, and among the answer's the favourites: penalties move what is about to be drawn."""
    batch, vocab = expert.shape

    def draw(tokens: int) -> torch.Tensor:
        return torch.randint(vocab, (batch, tokens), generator=generator, device=expert.device)

    favourites = expert.float().topk(min(4, vocab)).indices
    return History(draw(PROMPT), torch.cat((favourites, draw(ANSWER - favourites.shape[1])), dim=1))


def penalties(said: History, vocab: int) -> Edits:
    """One entry for each token that a row has said or been told."""
    batch, device = len(said.prompt), said.prompt.device
    row = torch.arange(batch, device=device)[:, None]
    answered, answers = (row * vocab + said.answer).flatten().unique(return_counts=True)
    prompted = (row * vocab + said.prompt).flatten().unique()
    places = torch.cat((answered, prompted)).unique()
    count = torch.zeros(len(places), dtype=torch.int32, device=device)
    count[torch.searchsorted(places, answered)] = answers.int()

    def column(value: float) -> torch.Tensor:
        return torch.full((batch,), value, device=device)

    return Edits(
        row=places // vocab,
        token=places % vocab,
        bias=torch.zeros(len(places), device=device),
        count=count,
        prompted=torch.isin(places, prompted),
        repetition=column(REPETITION),
        frequency=column(FREQUENCY),
        presence=column(PRESENCE),
    )


def tokens(case: Case, device: str, seed: int) -> Tokens:
    """The input of a case of ``token_logprobs``."""
    generator = torch.Generator(device).manual_seed(seed)
    if case.subject == FROM_LOGITS:
        leaves: tuple[torch.Tensor, ...] = (logits(case, generator),)
    else:
        shapes = (case.batch, HIDDEN), (case.vocab, HIDDEN)
        scales = 1.0, 3.0 * HIDDEN**-0.5  # logits with a deviation of 3
        leaves = tuple(
            torch.empty(shape, device=device)
            .normal_(std=scale, generator=generator)
            .to(getattr(torch, case.dtype))
            for shape, scale in zip(shapes, scales, strict=True)
        )
    ids = torch.randint(case.vocab, (case.batch,), generator=generator, device=device)
    upstream = None
    if case.how == BACKWARD:
        leaves = tuple(leaf.requires_grad_() for leaf in leaves)
        upstream = torch.rand(case.batch, generator=generator, device=device) + 0.5
    return Tokens(leaves, ids, upstream)


def least_bytes(case: Case, given: Voices | Tokens) -> int:
    """What any implementation must read and write; a row's settings and results, some dozens of bytes, are left out.

    ``contrast`` reads the expert and writes the scores of the asking rows, and reads the amateur where a token is
    plausible. ``contrast_sample`` reads the expert, the amateur where a token is plausible, and the penalties.
    ``token_logprobs`` reads what it is given; its backward pass does so again and writes as much.
    """
    if isinstance(given, Tokens):
        size = sum(leaf.numel() * leaf.element_size() for leaf in given.leaves)
        return size if given.upstream is None else 3 * size
    expert, amateur, rows = given.expert, given.amateur, given.rows
    plausible = 0
    if rows is not None and amateur is not None:
        edited = expert.float() if given.edits is None else edit(expert.float(), given.edits)
        asking = edited if rows.index is None else edited[rows.index]
        head = asking >= asking.amax(dim=1, keepdim=True) + rows.floor[:, None]
        plausible = int(head.sum()) * amateur.element_size()
    if case.job == CONTRAST and amateur is not None:
        return 2 * amateur.numel() * expert.element_size() + plausible
    entries = 0 if given.edits is None else len(given.edits.row) * ENTRY_BYTES
    return expert.numel() * expert.element_size() + plausible + entries
