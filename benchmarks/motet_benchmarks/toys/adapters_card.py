"""The part of the model card that tells of the bundled adapters."""

from __future__ import annotations

from collections.abc import Mapping

from motet_benchmarks.statistics import Difference, Share
from motet_benchmarks.toys.adapted import Seed
from motet_benchmarks.toys.adapters import DPO, NAMES, REWARD, SFT
from motet_benchmarks.toys.evaluate import Results
from motet_benchmarks.toys.record import MadeAdapters


def adapters_card(made: MadeAdapters, pair: Results, shares: Mapping[str, float]) -> str:
    """The section in Markdown; `pair` are the figures of the models without an adapter."""
    recipe, measured = made.recipe, made.measured
    judges = {one.seed: one.reward for one in measured.seeds if one.reward is not None}
    return "\n".join(
        [
            _HEAD.format(
                sft=SFT,
                dpo=DPO,
                reward=REWARD,
                demonstrations=recipe.sft.problems,
                asked=recipe.dpo.problems,
                pairs=measured.seeds[0].pairs,
                judgements=recipe.reward.problems,
                further=recipe.judge.problems,
                own=recipe.own,
                rank=recipe.sft.rank,
                beta=recipe.beta,
                minutes=round(sum(measured.seeds[0].minutes.values())),
                threads="one CPU thread" if made.threads == 1 else f"up to {made.threads} CPU threads",
            ),
            row("adapter", "version", "learning rate", "minutes"),
            "|---|---|---|---|",
            *(
                row(
                    f"`{name}`",
                    f"`{made.versions[name]}`",
                    f"{rate:g}",
                    f"{measured.seeds[0].minutes[name]:.1f}",
                )
                for name, rate in zip(
                    NAMES, (recipe.sft.rate, recipe.dpo.rate, recipe.reward.rate), strict=True
                )
            ),
            "",
            "### Measured",
            "",
            _MEASURED.format(
                count=measured.count,
                seeds=_words(len(measured.seeds)),
                reward=REWARD,
                judged=_words(len(judges)),
                strength=measured.strength,
                plausibility=measured.plausibility,
                method=measured.sft_gain.method,
            ),
            row(
                "answers that are right",
                "expert",
                *(f"{name}, seed {one.seed}" for name, one in _columns(made)),
            ),
            f"|---|---|{'---|' * 2 * len(measured.seeds)}",
            *_answers(made, pair),
            "",
            row("over all seeds, in points", "all families", "with worked steps"),
            "|---|---|---|",
            row("SFT minus expert", points(measured.sft_gain), points(measured.sft_worked_gain)),
            row("DPO minus SFT", points(measured.dpo_gain), points(measured.dpo_worked_gain)),
            "",
            row("pairs that the reward adapter puts in order", *(f"seed {seed}" for seed in judges)),
            f"|---|{'---|' * len(judges)}",
            row("mistakes as in its data", *(percent(one.pairs) for one in judges.values())),
            row("the family's shortcut", *(percent(one.shortcut) for one in judges.values())),
            row("worked steps with an error", *(percent(one.worked) for one in judges.values())),
            row("the SFT adapter's own answers", *(percent(one.own) for one in judges.values())),
            "",
            f"Family by family, the bundled adapters (seed {measured.seeds[0].seed}):",
            "",
            row("family", "wrong in the text", "expert", "SFT", "DPO", "reward: pairs in order"),
            "|---|---|---|---|---|---|",
            *(
                row(
                    name,
                    f"{shares[name]:.0%}" if name in shares else "not in it",
                    percent(pair.families[name].expert) if name in pair.families else "",
                    *(percent(share) for share in (line.sft, line.dpo, line.reward)),
                )
                for name, line in measured.families.items()
            ),
            "",
        ]
    )


_HEAD = """\
## The adapters

Three LoRAs of rank {rank} for the expert, in the layout of motet's adapter store, trained by `motet train`'s own code
on training problems of the gym. `{sft}` imitates {demonstrations:,} right answers. `{dpo}` goes on from it: of
{asked:,} other problems that adapter got {pairs:,} wrong, and DPO (beta {beta:g}) prefers the right answer to its own.
`{reward}` scores conversations. It learnt from {judgements:,} pairs of a right answer and a systematic mistake, then
from {further:,} more and from answers of `{sft}` to {own.problems:,} other problems: of {own.each} to each, drawn at
temperature 1, up to {own.most} wrong ones against right ones, the beginnings of some, and {own.slips} with a token that
it might have said instead. All three take {minutes} minutes of training on {threads} (`motet models adapters`).
"""

_MEASURED = """\
The same {count} test problems a family as above, {seeds} trainings on different problems, {judged} of `{reward}`; the
first seed's adapters are bundled, whichever fared best. Intervals are 95% (Wilson for shares; differences: every
problem's mean over the seeds, {method}). The contrast is that of the pair, strength {strength} and
plausibility {plausibility}, chosen without adapters. Recipe and rates were chosen on the validation split.
"""


def _columns(made: MadeAdapters) -> list[tuple[str, Seed]]:
    return [(kind, one) for kind in ("SFT", "DPO") for one in made.measured.seeds]


def _answers(made: MadeAdapters, pair: Results) -> list[str]:
    seeds = made.measured.seeds
    policies = [*(one.sft for one in seeds), *(one.dpo for one in seeds)]
    return [
        row("**all families**", percent(pair.overall.expert), *(percent(one.plain) for one in policies)),
        row("with worked steps", percent(pair.worked.expert), *(percent(one.worked) for one in policies)),
        row(
            "against the amateur",
            percent(pair.overall.contrast),
            *(percent(one.contrast) for one in policies),
        ),
    ]


def percent(share: Share) -> str:
    """A share with its interval, as the card writes it."""
    return f"{share.value:.1%} ({100 * share.low:.0f}-{100 * share.high:.0f})"


def points(apart: Difference) -> str:
    """A difference of shares with its interval, in points."""
    return f"{100 * apart.value:+.1f} ({100 * apart.low:+.1f} to {100 * apart.high:+.1f})"


def row(*cells: str) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def _words(number: int) -> str:
    return {1: "one", 2: "two", 3: "three"}.get(number, str(number))
