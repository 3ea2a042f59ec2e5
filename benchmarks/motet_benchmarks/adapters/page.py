"""The Markdown page of a run: what came out, how it was measured, what went wrong."""

from __future__ import annotations

from collections.abc import Sequence

from motet_benchmarks.adapters.answers import LONG
from motet_benchmarks.adapters.figures import BLOCKS, WARMING, size
from motet_benchmarks.adapters.outcome import Outcome
from motet_benchmarks.adapters.plan import BASE_SHARE, PINNED_AMONG, PINNED_SHARE, Plan
from motet_benchmarks.adapters.products import PROMPT, PROMPTS_FROM, RANK
from motet_benchmarks.adapters.samples import WITH, WITHOUT
from motet_benchmarks.adapters.verdicts import Fault
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.results import Grid

STEM = "adapters"
#: Faults that are shown; the JSON file has all.
SHOWN = 30

PRODUCTS = (
    f"A query-key-value layer and adapters of rank {RANK} in float32; every row has an adapter, since vLLM's own "
    f"class is wrong for rows without. In fewer than {PROMPTS_FROM} rows neighbours have different adapters, as in a "
    f"step that decodes; from there on {PROMPT} rows in a row are one request's, as in one that reads prompts. "
    "The contenders took turns, and every result was compared with a plain loop's."
)


def page(
    grids: Sequence[Grid], plan: Plan, found: Outcome, where: Circumstances, *, with_products: bool
) -> str:
    """The first of `grids`, the faults, how it was measured, and the other tables."""
    first, *others = grids
    parts = ["# Adapters", f"`{where.command}` on {where.sentence()}."]
    if found.stopped:
        parts.append(f"**Ended early: {found.stopped}.**")
    parts += [
        f"## {first.title}",
        first.markdown(),
        _faults(found.faults),
        f"![latency, swaps, memory]({STEM}.png)",
        "## How it was measured",
        *_method(plan, found),
    ]
    for grid in others:
        parts += [f"## {grid.title}", grid.markdown()]
    if with_products:
        parts.append(PRODUCTS)
    return "\n\n".join(parts)


def _method(plan: Plan, found: Outcome) -> list[str]:
    cached = (
        ""
        if found.cached is None
        else f" {found.cached:.0%} of the prompts' tokens came from the prefix cache."
    )
    named = 1 - BASE_SHARE - PINNED_SHARE
    return [
        f"{plan.clients} clients ask without a pause, each time for a greedy, streamed answer of {plan.tokens} "
        f"tokens to one of {plan.prompts} prompts of at least {LONG}: {named:.0%} by the adapter's name, "
        f"{BASE_SHARE:.0%} of the base itself, {PINNED_SHARE:.0%} of one of the {PINNED_AMONG} newest versions by its "
        "number. Beside them, one asks for single tokens of the name, to hear a new version as soon as it is there. "
        f"{found.requests:,} requests, {found.tokens:,} tokens.{cached}",
        f"{len(found.waits)} versions were published, each with weights of its own (rank {plan.rank}, "
        f"{size(found.adapter_bytes)}), at most {plan.rate:g} a second, and none before the last one had been heard; "
        f"the store was pruned to {plan.keep} after each. The server may keep {found.bound - 1} loaded, and one more "
        "while a name moves.",
        "Every answer is compared token by token with that of the version that the server says has answered, in a "
        "plain loop of transformers and PEFT, up to the first token that rounding could decide; so is the base's. "
        f"{found.told_apart:.1%} of all pairs of voices differ in their answers to a prompt, so a wrong one shows. A "
        "request that is sent after a version was first heard may not be answered by an older one.",
        "Phases with and without swaps take turns, once the server's memory is still under the load, and which comes "
        "first alternates. Requests that cross from one to the next are checked, and not timed. Intervals are a "
        "bootstrap's over rounds. The clients and the publisher share the machine with the server; and after a swap, "
        "no prompt of the new version is in the prefix cache, which is part of what a swap costs.",
        "Memory is the resident memory of all of the server's processes; the slope is that of a line through the means "
        f"of {BLOCKS} stretches of swaps, without the first {WARMING:.0%}. In that time it rose by "
        f"{size(found.rises[WITH])} in the phases with swaps and by {size(found.rises[WITHOUT])} in those without. "
        "Memory comes as it is first used, and what is used ever more widely would pass for growth: so a server that "
        f"is started here on a CPU has a key-value cache of {plan.blocks} blocks, unless its options say otherwise, "
        "and oneDNN keeps 64 primitives, unless the environment does.",
    ]


def _faults(found: Sequence[Fault]) -> str:
    if not found:
        return "No request failed, and none was answered wrongly."
    shown = [f"- {fault.moment:.2f} s, {fault.asked} {fault.model}: {fault.what}" for fault in found[:SHOWN]]
    more = [f"- and {len(found) - SHOWN} more, in {STEM}.json"] if len(found) > SHOWN else []
    return "\n".join(["Faults:", "", *shown, *more])
