"""The best-of benchmark's page."""

from __future__ import annotations

from collections.abc import Sequence

from motet_benchmarks.best_of.load import CLIENTS, CONTRAST, PLAIN
from motet_benchmarks.best_of.measured import Measured
from motet_benchmarks.best_of.plan import Plan
from motet_benchmarks.best_of.speed import EACH, FEWEST
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.results import Grid

STEM = "best-of"
#: Lost requests that are listed.
LISTED = 10


def page(grids: Sequence[Grid], plan: Plan, measured: Measured, where: Circumstances) -> str:
    """How it was measured, then the tables."""
    parts = ["# Best of N", f"`{where.command}` on {where.sentence()}.", *_method(plan, measured)]
    for grid in grids:
        parts += [f"## {grid.title}", grid.markdown()]
    if measured.loaded is not None and measured.loaded.lost:
        listed = [f"- {problem}" for problem in measured.loaded.lost[:LISTED]]
        parts += ["## What lost requests were told", "\n".join(listed)]
    parts.append(f"![accuracy against N, and against tokens]({STEM}.png)")
    return "\n\n".join(parts)


def _method(plan: Plan, measured: Measured) -> list[str]:
    parts = [
        f"{plan.policy} answers test problems of the gym, graded exactly: {plan.count} of each family asked for the "
        f"answer alone (direct), and {plan.worked} of each family that has steps asked to show them (worked). One "
        f"request with `best_of` draws {plan.n} candidates at temperature 1 and tells their texts and what every judge "
        "says; all figures against N come from this one set. The best of K by a score is estimated without bias: the "
        "mean over all subsets of K candidates, of equal scores the earlier wins. A vote has no closed form, so its "
        f"figures are means over {plan.subsets} random subsets. The oracle is the grader itself. Intervals are the "
        "bootstrap's over problems; differences are taken problem by problem and have those of Bonett and Price. On "
        f"{measured.agreeing} of {len(measured.pools)} problems the server's answer is the one that its scores, "
        "looked at here, put first.",
        f"The judges: reward is {plan.reward}; likelihood is the mean of the answer's log-probabilities, "
        "likelihood:sum their sum, and reward+likelihood:sum adds it to the reward; certainty is the mean divergence "
        f"of the uniform distribution from the tokens'; implicit is {plan.implicit} over the base; a vote is over the "
        "extracted answers, plain or weighted by the softmax of the rewards.",
    ]
    if measured.savings:
        parts.append(
            "The cheaper ways are asked of the server with the same problems and seeds, one request each; full is what "
            "the same judge puts first of the candidates above. Tokens are all that were generated. The recipes were "
            "chosen on the validation split, and the aim is held against the ones that were named before."
        )
    if measured.speed:
        rounds = len({sample.round for sample in measured.speed})
        parts.append(
            f"Speed: in every one of {rounds} rounds, after one to warm up, all ways answer the same prompts in "
            f"alternating order, {EACH} for each client and at least {FEWEST}. Half of the problems with steps are "
            "asked to show them. The clients share the machine with the server."
        )
    if measured.loaded is not None:
        requests = ", ".join(f"{count:,} {kind}" for kind, count in measured.loaded.requests.items())
        parts.append(
            f"Load: {CLIENTS[PLAIN]} clients ask plainly and {CLIENTS[CONTRAST]} with contrast all the time, in "
            f"{plan.phases} rounds of two phases of {plan.seconds:g} s, without and with {plan.load} clients who "
            f"ask for the best of {plan.candidates} without a pause. {requests} requests."
        )
    return parts
