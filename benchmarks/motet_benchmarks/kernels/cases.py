"""What can be measured: jobs, their variants, two kinds of logits, and shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from motet_benchmarks.errors import BenchmarkError

CONTRAST, SAMPLE, LOGPROBS = JOBS = ("contrast", "contrast_sample", "token_logprobs")
BATCHES = (1, 8, 64, 256)
#: Those of Llama 2, Llama 3 and Qwen.
VOCABS = (32_000, 128_256, 151_936)

#: A few plausible tokens before a long tail, as models of language give; and all tokens nearly alike, the worst case.
PEAKY, FLAT = MOODS = ("peaky", "flat")

FLOAT32, BFLOAT16 = DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True, slots=True)
class Controls:
    """How the tokens of a batch are drawn; every row alike."""

    temperature: float = 0.8
    min_p: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    penalties: bool = False


FREE, EVERYTHING = "temperature", "everything"
CONTROLS = {
    "greedy": Controls(temperature=0.0),
    FREE: Controls(),
    "top-k": Controls(top_k=50),
    "top-p": Controls(top_p=0.9),
    "min-p": Controls(min_p=0.05),
    "penalties": Controls(penalties=True),
    EVERYTHING: Controls(min_p=0.05, top_k=50, top_p=0.9, penalties=True),
}

EVERY_ROW, HALF, NO_ROW = "every row contrast", "half contrast", "plain"
#: Of how many rows one asks for a contrast; 0 for none.
ONE_IN = {EVERY_ROW: 1, HALF: 2, NO_ROW: 0}

FROM_LOGITS, FROM_HIDDEN = "from logits", "from hidden states"
FORWARD, BACKWARD = "forward", "forward and backward"


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that every contender does on the same input.

    Attributes:
        job: one of ``JOBS``.
        subject: which rows are contrasted, or what log-probabilities are made from.
        how: the name of the controls of ``contrast_sample``, the direction of ``token_logprobs``; "" for ``contrast``.
        mood: of the logits, one of ``MOODS``.
        dtype: of the logits, or of hidden states and head.
        batch: rows.
        vocab: entries of a row.
    """

    job: str
    subject: str
    how: str
    mood: str
    dtype: str
    batch: int
    vocab: int

    @property
    def variant(self) -> str:
        """Subject and how in words."""
        return ", ".join(part for part in (self.subject, self.how) if part)

    def __str__(self) -> str:
        return f"{self.job}, {self.variant}, {self.mood} {self.dtype} [{self.batch}, {self.vocab:,}]"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, and how long.

    Attributes:
        jobs: which of ``JOBS``.
        batches: rows; None for what suits the device.
        vocabs: entries of a row; None for what suits the device.
        everything: every case of the batches and vocabularies, on a CPU too.
        short: only a few cases.
        device: "cpu" or "cuda"; None for a GPU where there is one.
        dtype: of the logits; None for float32 on a CPU and bfloat16 on a GPU. Penalties always have float32.
        compiled: whether to measure torch.compile too; None for only on a GPU.
        rounds: how often every contender is timed at most.
        seconds: no round of a case is begun after this long, but for the first ``FEWEST``.
        seed: of logits and settings.
    """

    jobs: tuple[str, ...] = JOBS
    batches: tuple[int, ...] | None = None
    vocabs: tuple[int, ...] | None = None
    everything: bool = False
    short: bool = False
    device: str | None = None
    dtype: str | None = None
    compiled: bool | None = None
    rounds: int = 30
    seconds: float = 1.0
    seed: int = 0


#: A round tells little alone; five give quartiles.
FEWEST = 5
#: What ``motet bench all`` measures.
SHORT = Plan(short=True, seconds=0.5)


def named_jobs(names: Sequence[str]) -> tuple[str, ...]:
    """Those of ``JOBS``, in their order. Raises BenchmarkError for others, and for none."""
    if unknown := [name for name in names if name not in JOBS]:
        raise BenchmarkError(f"--job: unknown {', '.join(unknown)}; there are {', '.join(JOBS)}")
    if not names:
        raise BenchmarkError(f"--job: name at least one of {', '.join(JOBS)}")
    return tuple(job for job in JOBS if job in names)


def choose(plan: Plan, device: str) -> tuple[tuple[Case, ...], int]:
    """The cases to measure on "cpu" or "cuda", and how many of all were left out.

    On a CPU, and where no shapes are named, eager PyTorch would take most of an hour: ``typical`` cases stand for all.
    """
    everything = tuple(cases(plan, device))
    if plan.short:
        chosen = tuple(case for case in everything if short(case))
    elif device == "cpu" and not (plan.everything or plan.batches or plan.vocabs):
        chosen = tuple(case for case in everything if typical(case))
    else:
        chosen = everything
    return chosen, len(everything) - len(chosen)


def cases(plan: Plan, device: str) -> Iterator[Case]:
    """Every case of the plan's jobs, batches and vocabularies."""
    dtype = plan.dtype or (FLOAT32 if device == "cpu" else BFLOAT16)
    for job in plan.jobs:
        for subject, how in variants(job):
            needed = FLOAT32 if job == SAMPLE and CONTROLS[how].penalties else dtype
            for mood in (PEAKY,) if job == LOGPROBS else MOODS:  # there, no value saves any work
                for vocab in plan.vocabs or VOCABS:
                    for batch in plan.batches or BATCHES:
                        yield Case(job, subject, how, mood, needed, batch, vocab)


def variants(job: str) -> tuple[tuple[str, str], ...]:
    """A job's subjects, each with how it is done."""
    if job == CONTRAST:
        return (EVERY_ROW, ""), (HALF, "")
    if job == SAMPLE:
        return (
            *((EVERY_ROW, how) for how in CONTROLS),
            (HALF, EVERYTHING),
            *((NO_ROW, how) for how in ("greedy", FREE, "top-p", EVERYTHING)),
        )
    return tuple((subject, how) for subject in (FROM_LOGITS, FROM_HIDDEN) for how in (FORWARD, BACKWARD))


def typical(case: Case) -> bool:
    """Whether a case is among those that stand for all on a CPU: about three minutes on two cores."""
    headline = case.job != SAMPLE or (case.how == EVERYTHING and case.subject != HALF)
    if case.vocab != VOCABS[-1]:
        return case.batch == 8 and headline and case.mood == PEAKY and case.subject != FROM_HIDDEN
    if case.subject == FROM_HIDDEN:
        return case.batch == 8
    return case.batch <= 8 or (case.batch == 64 and (headline or case.mood == PEAKY))


def short(case: Case) -> bool:
    """Whether a case is among the few of ``motet bench all``: half a minute."""
    return typical(case) and case.batch == 8 and case.mood == PEAKY and case.subject != FROM_HIDDEN
