"""The page of what the voices gain on the gym."""

from __future__ import annotations

from collections.abc import Sequence

from motet_benchmarks.machine import Circumstances
from motet_benchmarks.results import Grid
from motet_benchmarks.voices.asking import Answered
from motet_benchmarks.voices.plan import FOCUS, Plan
from motet_benchmarks.voices.series import PLAUSIBILITY, SCHEDULE

STEM = "voices"


def page(grids: Sequence[Grid], plan: Plan, answered: Answered, where: Circumstances) -> str:
    """How it was measured, then the tables."""
    parts = ["# Voices", f"`{where.command}` on {where.sentence()}.", *_method(plan)]
    for grid in grids:
        parts += [f"## {grid.title}", grid.markdown()]
    parts += ["## What was not run", "\n".join(f"- {line}" for line in _not_run(plan, answered))]
    parts.append(f"![what each voice gains, by strength]({STEM}.png)")
    return "\n\n".join(parts)


def _method(plan: Plan) -> list[str]:
    return [
        "Who answers, against which voice: each setting answers the same test problems of the gym greedily, graded "
        f"exactly, as the plain answers of the same model do: {plan.count} problems of each family, {FOCUS} times as "
        f"many where a series is on a few families only. Plausibility is {PLAUSIBILITY:g} throughout; s is the "
        "strength, of the form extrapolate where nothing else is said. Right answers have Wilson intervals, "
        "differences those of Bonett and Price for pairs; gains are problems that only the setting "
        "answers right, losses those that only the plain answer does; changed counts answers whose text differs. "
        "Verdicts aren't corrected for their number: where there is no difference at all, about one in twenty would "
        "still show one.",
        f"Strengths and layers were chosen on {plan.tuning} validation problems of each family ({FOCUS} times as many "
        "on a few families), plain among the candidates; of equals plain, then the one named first. What was chosen is "
        "told on the test split, and so is everything that wasn't.",
        "Strength 0 leaves plausibility alone, which greedy answers can't tell from none: those lines show that a "
        "voice that is heard and not used changes nothing. The gym's rule-* families set a rule in a system message; "
        "without the system prompt the voice reads the problem without it, and a right answer follows the rule. "
        "Without the text asked about, the voice reads a question about a table or a passage without either. Layer K "
        "is the model's own prediction after K of its layers. DPO and SFT are motet-dpo and motet-sft, adapters of the "
        "base.",
        "Adaptive strength: by entropy and by divergence with a scale of 1, by position falling from full strength to "
        f"none within {SCHEDULE['tokens']} tokens.",
    ]


def _not_run(plan: Plan, answered: Answered) -> list[str]:
    told = [
        "Proxy-tuning of another, larger model by a small expert and anti-expert: the bundled models hold one base "
        "with adapters, so base + s (DPO - SFT) and base + s (DPO - base) stand for it.",
        "Sampled answers: all of these are greedy.",
        "Models of a useful size, and a GPU.",
    ]
    if not plan.worked:
        told.append("Problems that ask for their steps.")
    return [*told, *(f"{name}: {reason}" for name, reason in answered.refused.items())]
