"""Adapters are made, their answers computed, a server is started, loaded, swapped and watched, and all is reported."""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from motet_alignment.errors import AlignmentError
from motet_alignment.store import AdapterStore, find_base, fingerprint
from motet_benchmarks.adapters import answers, making, products, report
from motet_benchmarks.adapters.answers import Answers, Loop, told_apart
from motet_benchmarks.adapters.asking import Asker, Listing
from motet_benchmarks.adapters.memory import watch
from motet_benchmarks.adapters.outcome import Outcome, outcome
from motet_benchmarks.adapters.plan import Plan
from motet_benchmarks.adapters.publishing import StorePublisher
from motet_benchmarks.adapters.samples import Measured, Reply
from motet_benchmarks.adapters.session import Session, settled
from motet_benchmarks.endpoint import Endpoint
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.pair import Pair
from motet_benchmarks.progress import Steps, waiting
from motet_benchmarks.results import check_folder, show
from motet_benchmarks.servers import servers, side_by_side

#: Of the pairs of voices at least so many must answer differently, or a wrong version could pass unnoticed.
FEWEST_APART = 0.9

#: vLLM's option for the size of the key-value cache.
BLOCKS = "--num-gpu-blocks-override"
#: How many products oneDNN remembers on a CPU. It keeps one for every number of rows that it meets, 1,024 unless told,
#: up to a MiB each: what prompts of ever new lengths add would pass for growth.
PRIMITIVES, FEW_PRIMITIVES = "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64"


@dataclass(frozen=True)
class Made:
    """Adapters in folders, and what they say."""

    folders: tuple[Path, ...]
    answers: Answers
    loop: Loop
    bytes: int
    """Of one adapter's matrices."""


async def measure(
    plan: Plan,
    *,
    where: Circumstances,
    out: Path,
    model: str | None = None,
    url: str | None = None,
    store: Path | None = None,
    options: Sequence[str] = (),
    with_products: bool = True,
) -> Outcome:
    """Measure, write the files, print the tables; what came of it.

    Args:
        plan: what to measure.
        where: this machine before anything was started.
        out: the folder for the files.
        model: the base, a folder or a hub name; the bundled expert if None.
        url: a server of that base that runs already; one is started if None.
        store: where that server's adapters are published; where it says if None.
        options: for the server that is started.
        with_products: whether to time LoRA's own products first.

    Raises BenchmarkError for whatever the user can mend.
    """
    check_folder(out)
    lines = []
    if with_products:
        with Steps("LoRA's own products", len(products.cases())) as steps:
            lines = products.measure(steps.next, seed=plan.seed)
    base_folder = _base(model)
    with tempfile.TemporaryDirectory(prefix="motet-bench-adapters-") as scratch:
        made = prepare(plan, base_folder, Path(scratch) / "made")
        async with AsyncExitStack() as stack:
            if url is None:
                own = Path(scratch) / "store"
                own.mkdir()
                arguments = {"adapters": _words(plan, model, own, options)}
                with waiting("starting a server"), _few_primitives():
                    url = (await stack.enter_async_context(servers(arguments)))["adapters"]
            measured, listing = await _run(plan, made, base_folder, url, store)
    found = outcome(measured, made.answers, bound=listing.most + 1, adapter_bytes=made.bytes, seed=plan.seed)
    show(*report.write(out, plan, measured, found, lines, where))
    return found


def prepare(plan: Plan, base_folder: Path, folder: Path) -> Made:
    """As many adapters as there are swaps and one more, below `folder`, and their answers.

    Raises BenchmarkError if the base can't be loaded, or if a wrong version's answers could pass for the right one's.
    """
    loop = answers.load(str(base_folder), plan.prompts, plan.tokens, plan.seed)
    weights = loop.linear()
    folders = tuple(folder / str(number) for number in range(plan.swaps + 1))
    taken = 0
    with Steps("what each version must answer", len(folders)) as steps:
        for number, each in enumerate(folders):
            taken = making.make(each, weights, rank=plan.rank, seed=1_000_000 * plan.seed + number)
        known = loop.answers(folders, plan.tokens, steps.advance)
    apart = told_apart(known)
    if apart < FEWEST_APART:
        raise BenchmarkError(
            f"only {apart:.0%} of the versions' answers can be told apart; a wrong one would pass unnoticed"
        )
    return Made(folders, known, loop, taken)


def _base(model: str | None) -> Path:
    try:
        return find_base(Pair(model, model).located()[0])
    except AlignmentError as error:
        raise BenchmarkError(f"--model: {error}") from None


@contextmanager
def _few_primitives() -> Iterator[None]:
    """Servers that start inside keep few primitives, unless the environment already says how many."""
    if PRIMITIVES in os.environ:
        yield
        return
    os.environ[PRIMITIVES] = FEW_PRIMITIVES
    try:
        yield
    finally:
        del os.environ[PRIMITIVES]


def _words(plan: Plan, model: str | None, store: Path, options: Sequence[str]) -> list[str]:
    """What `motet serve` is told."""
    words = [*([] if model is None else [model]), "--adapters", str(store), "--max-adapters", str(plan.most)]
    told = {option.split("=", 1)[0] for option in options}
    if not Path("/proc/driver/nvidia/version").exists() and not told & {BLOCKS, "--kv-cache-memory-bytes"}:
        words += [BLOCKS, str(plan.blocks)]
    # Answers are compared with those of a float32 loop.
    return [*words, *side_by_side(options, "float32")]


async def _run(
    plan: Plan, made: Made, base_folder: Path, url: str, store: Path | None
) -> tuple[Measured, Listing]:
    """Loads the server at `url`, and leaves its store as it was; what was seen, and what the server said at first."""
    async with Endpoint(url) as endpoint, Asker(url) as asker:
        listing = await asker.listing()
        if isinstance(listing, Reply):
            raise BenchmarkError(f"{url}/v1/adapters: {listing.problem}")
        publisher = StorePublisher(
            AdapterStore(store or Path(listing.store)),
            f"bench-{secrets.token_hex(4)}",
            made.folders,
            fingerprint(base_folder),
            base_folder,
            plan.keep,
            time.monotonic,
        )
        try:
            first = await asyncio.to_thread(publisher.publish, 0)
            with waiting("waiting for the first version"):
                await settled(asker, first, made.loop.prompts[0], plan.patience)
            with Steps("swapping under load", 1 + 2 * len(plan.by_round)) as steps:
                session = Session(
                    plan,
                    asker,
                    publisher,
                    watch(url),
                    prompts=made.loop.prompts,
                    name=publisher.name,
                    base=endpoint.model,
                    step=steps.next,
                )
                return await session.measure(first), listing
        finally:
            publisher.leave()
