"""The part of the model card that tells of the bundled PPO adapter."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from motet_benchmarks.statistics import Difference
from motet_benchmarks.toys.adapters import REWARD, SFT
from motet_benchmarks.toys.adapters_card import percent, points, row
from motet_benchmarks.toys.ppo import PPO
from motet_benchmarks.toys.ppo_measured import Gains

if TYPE_CHECKING:
    from motet_benchmarks.toys.record import MadePpo


def ppo_card(made: MadePpo, bundled: str) -> str:
    """The section in Markdown; `bundled` is the version of the reward adapter that stands beside."""
    recipe, measured = made.recipe, made.measured
    seeds = measured.seeds
    runs = [*(("reward", one.by_reward) for one in seeds), *(("grader", one.by_grader) for one in seeds)]
    return "\n".join(
        [
            _HEAD.format(
                ppo=PPO,
                sft=SFT,
                reward=REWARD,
                version=made.version,
                iterations=recipe.iterations,
                prompts=recipe.prompts * recipe.answers,
                kl_target=recipe.kl_target,
                rate=recipe.rate,
                value_rate=recipe.value_rate,
                held_out=recipe.held_out_prompts,
                minutes=round(sum(one.by_grader.minutes for one in seeds) / len(seeds)),
                threads="one CPU thread" if made.threads == 1 else f"{made.threads} CPU threads",
            ),
            *([] if made.reward == bundled else [_FORMER.format(reward=REWARD, version=made.reward)]),
            row("answers that are right", *(f"seed {one.seed}" for one in seeds)),
            f"|---|{'---|' * len(seeds)}",
            row("SFT", *(percent(one.sft) for one in seeds)),
            row("PPO against the reward adapter", *(percent(one.by_reward.plain) for one in seeds)),
            row("PPO against the grader", *(percent(one.by_grader.plain) for one in seeds)),
            row("SFT, drawn", *(percent(one.sft_drawn) for one in seeds)),
            row("PPO against the reward adapter, drawn", *(percent(one.by_reward.drawn) for one in seeds)),
            row("PPO against the grader, drawn", *(percent(one.by_grader.drawn) for one in seeds)),
            row("SFT, with worked steps", *(percent(one.sft_worked) for one in seeds)),
            row(
                "PPO against the reward adapter, with worked steps",
                *(percent(one.by_reward.worked) for one in seeds),
            ),
            row(
                "PPO against the grader, with worked steps",
                *(percent(one.by_grader.worked) for one in seeds),
            ),
            "",
            row("over all seeds, in points", "all families", "drawn", "with worked steps"),
            "|---|---|---|---|",
            _gains("PPO against the reward adapter minus SFT", measured.reward_gain),
            _gains("PPO against the grader minus SFT", measured.grader_gain),
            _gains("PPO against the grader minus against the reward adapter", measured.further),
            "",
            _SCORES.format(
                by_reward=_plain(measured.score_gain), by_grader=_plain(measured.score_gain_by_grader)
            ),
            row(
                "run against",
                "seed",
                "iterations run",
                "best",
                "its KL, nats an answer",
                "KL at the end",
                "minutes",
                "ended by",
            ),
            "|---|---|---|---|---|---|---|---|",
            *(
                row(
                    judge,
                    str(seed.seed),
                    str(run.iterations),
                    str(run.published),
                    f"{run.kl:.2f}",
                    f"{run.kl_at_the_end:.2f}",
                    f"{run.minutes:.0f}",
                    re.split("[:,]", run.stopped)[0],
                )
                for (judge, run), seed in zip(runs, [*seeds, *seeds], strict=True)
            ),
            "",
            f"Family by family, seed {seeds[0].seed}:",
            "",
            row("family", "SFT", "PPO against the reward adapter", "PPO against the grader"),
            "|---|---|---|---|",
            *(
                row(name, *(percent(share) for share in (line.sft, line.by_reward, line.by_grader)))
                for name, line in measured.families.items()
            ),
            "",
        ]
    )


_HEAD = """\
## The PPO adapter

`{ppo}` (version `{version}`) goes on from `{sft}` by PPO, `motet train ppo`'s own code: {iterations} iterations of
{prompts} answers to training problems of the gym, judged by the gym's grader, its KL divergence from `{sft}` held near
{kl_target:g} nats an answer; learning rates {rate:g} and {value_rate:g} (values). Every few iterations {held_out}
held-out training problems are answered, and the version with the most right answers to them is kept. A training takes
{minutes} minutes on {threads} (`motet models ppo`).

The same was done against `{reward}` in the grader's place, which is not bundled: there the grader has a say in which
version is kept, and ends a run whose rewards rise as right answers fall, but has none in what is learnt. Where no
version was better than `{sft}`, `{sft}` itself is what is measured.

Answers are greedy, and "drawn" ones those at temperature 1, one a problem: what PPO is rewarded for. Problems,
intervals and seeds are those of the adapters above; another seed's PPO starts from that seed's SFT adapter,
against that seed's reward adapter. The first seed's is bundled, whichever fared best.
"""

_FORMER = """\
That was a former `{reward}`, version `{version}`, and its like of the other seeds; with the one that is bundled now it
wasn't done.
"""

_SCORES = """\
What the seed's reward adapter gives the greedy answers to the test problems, more than SFT's: PPO against it
{by_reward}, PPO against the grader {by_grader}. KL is measured in the runs, on the answers that were drawn.
"""


def _gains(name: str, gains: Gains) -> str:
    return row(name, points(gains.plain), points(gains.drawn), points(gains.worked))


def _plain(apart: Difference) -> str:
    return f"{apart.value:+.2f} ({apart.low:+.2f} to {apart.high:+.2f})"
