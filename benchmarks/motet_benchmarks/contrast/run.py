"""`motet bench contrast`: does contrast answer the gym better than plain decoding, family by family?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motet_benchmarks import gym
from motet_benchmarks.contrast import report
from motet_benchmarks.contrast.ask import Reply, ask
from motet_benchmarks.contrast.figures import Outcome, paired
from motet_benchmarks.endpoint import Endpoint
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.pair import PAIR, Pair
from motet_benchmarks.progress import Steps, waiting
from motet_benchmarks.results import check_folder, show
from motet_benchmarks.servers import servers
from motet_benchmarks.statistics import share
from motet_benchmarks.trials import COUNT, TUNING, Trial, best, candidates
from motet_decoding.contrast import Contrast


@dataclass(frozen=True, slots=True)
class Questions:
    """What is asked, and how."""

    count: int = COUNT
    """Test problems of each family."""
    families: tuple[str, ...] | None = None
    """All where there are none named."""
    contrast: Contrast | None = None
    """The server's own default where there is none."""
    sweep: bool = False
    """Whether to choose strength and plausibility on the validation split."""
    tuning: int = TUNING
    """Validation problems of each family."""
    concurrency: int = 32
    tokens: int = 128
    """Longest reply."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.sweep and self.contrast is not None:
            raise BenchmarkError(
                "--sweep chooses strength and plausibility: leave out --strength and --plausibility"
            )
        self.problems("test")

    def problems(self, split: gym.Split) -> list[gym.Instance]:
        """The problems of a split. Raises BenchmarkError for families that the gym doesn't know."""
        count = self.count if split == "test" else self.tuning
        try:
            return gym.instances(split, count=count, seed=self.seed, families=self.families)
        except ValueError as problem:
            raise BenchmarkError(f"--{problem}") from None


@dataclass(frozen=True, slots=True)
class Measured:
    """All outcomes, and the contrast that brought them about."""

    model: str
    contrast: Mapping[str, Any]
    trials: tuple[Trial, ...]
    outcomes: tuple[Outcome, ...]


async def measure(
    questions: Questions,
    pair: Pair,
    *,
    where: Circumstances,
    out: Path,
    url: str | None = None,
    name: str | None = None,
    options: Sequence[str] = (),
) -> None:
    """Measure, print the tables and write the files.

    Args:
        questions: what to ask.
        pair: the models of the server that is started.
        where: this machine before anything was started.
        out: the folder for the files.
        url: an endpoint to ask instead.
        name: the model to ask for; the endpoint's first where there is none.
        options: for the server that is started.

    Raises BenchmarkError for whatever the user can mend.
    """
    check_folder(out)
    async with AsyncExitStack() as stack:
        with waiting("starting a server" if url is None else "connecting"):
            if url is None:
                arguments = {PAIR: pair.arguments(options)[PAIR]}
                url = (await stack.enter_async_context(servers(arguments)))[PAIR]
            endpoint = await stack.enter_async_context(Endpoint(url, model=name))
        measured = await compare(questions, endpoint)
    show(*report.write(out, questions, measured, where))


async def compare(questions: Questions, endpoint: Endpoint) -> Measured:
    """Plain and contrasted replies to the same test problems; the contrast chosen before where that is asked."""
    test = questions.problems("test")
    validation = questions.problems("validation") if questions.sweep else []
    tried = candidates()
    with Steps("asking", 2 * len(test) + len(tried) * len(validation)) as steps:

        async def replies(
            problems: Sequence[gym.Instance], contrast: dict[str, Any] | bool | None
        ) -> list[Reply]:
            return await ask(
                endpoint,
                problems,
                contrast=contrast,
                concurrency=questions.concurrency,
                tokens=questions.tokens,
                done=steps.advance,
            )

        trials = []
        chosen = questions.contrast
        if validation:
            for candidate in tried:
                right = [reply.right for reply in await replies(validation, candidate.model_dump())]
                trials.append(Trial(candidate.strength, candidate.plausibility, share(right)))
            chosen = best(trials)
        plain = await replies(test, None)
        contrasted = await replies(test, True if chosen is None else chosen.model_dump())
    applied = contrasted[0].contrast or {}
    return Measured(endpoint.model, dict(applied), tuple(trials), tuple(paired(test, plain, contrasted)))
