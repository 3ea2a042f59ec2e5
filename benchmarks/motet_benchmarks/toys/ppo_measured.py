"""What PPO's adapters can do, on the gym's test problems: beside the SFT adapter of the same seed, over the seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from motet_benchmarks import gym
from motet_benchmarks.statistics import Difference, Share, difference, share
from motet_benchmarks.toys.adapted import Scorer
from motet_benchmarks.toys.ppo import PpoRun, Reinforced


@dataclass(frozen=True, slots=True)
class Outcome:
    """One policy's answers on the test problems, greedy ones but for `drawn`."""

    plain: tuple[bool, ...]
    """Which are right."""
    drawn: tuple[bool, ...]
    """The same of answers drawn at temperature 1, one a problem: what PPO is rewarded for."""
    worked: tuple[bool, ...]
    """The same when the families that have worked steps are asked to show them."""
    scores: tuple[float, ...]
    """What the seed's reward adapter gives the plain ones."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """All that one seed came to: small enough for a file, and enough for every figure."""

    sft: Outcome
    by_reward: Outcome
    by_grader: Outcome


@dataclass(frozen=True, slots=True)
class PpoPolicy:
    """One PPO adapter's figures."""

    plain: Share
    drawn: Share
    worked: Share
    minutes: float
    """Of training."""
    iterations: int
    """That were run."""
    published: int
    """The iteration whose version was best on held-out prompts; 0 is SFT itself, where none was better."""
    stopped: str
    """Why the run ended."""
    kl: float
    """Nats an answer of that version."""
    kl_at_the_end: float
    """The mean of the run's last iterations."""


@dataclass(frozen=True, slots=True)
class PpoSeed:
    """What one seed's trainings came to."""

    seed: int
    sft: Share
    sft_drawn: Share
    sft_worked: Share
    by_reward: PpoPolicy
    by_grader: PpoPolicy


@dataclass(frozen=True, slots=True)
class Gains:
    """Differences over the seeds: every problem counted with its mean over them."""

    plain: Difference
    drawn: Difference
    worked: Difference


@dataclass(frozen=True, slots=True)
class PpoFamily:
    """One family's figures, of the first seed."""

    sft: Share
    by_reward: Share
    by_grader: Share


@dataclass(frozen=True, slots=True)
class PpoMeasured:
    """Everything measured about the PPO adapters."""

    count: int
    """Test problems of each family."""
    seeds: tuple[PpoSeed, ...]
    """The first is the one whose adapter is bundled."""
    reward_gain: Gains
    """PPO against the reward adapter over SFT."""
    grader_gain: Gains
    """PPO against the grader over SFT."""
    further: Gains
    """PPO against the grader over PPO against the reward adapter."""
    score_gain: Difference
    """What the reward adapter gives PPO against it more than SFT, on the plain problems."""
    score_gain_by_grader: Difference
    """The same of PPO against the grader."""
    families: Mapping[str, PpoFamily]


def outcomes(run: PpoRun, expert: Path, *, count: int) -> Outcomes:
    """Let SFT's and both PPO adapters of a seed answer the test problems, and its reward adapter score them."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from motet_benchmarks.toys.answers import answers

    plain, worked = problems(count)
    tokenizer = AutoTokenizer.from_pretrained(expert)
    scorer = Scorer(expert, run.reward.path)

    def outcome(adapter: Path) -> Outcome:
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(expert), str(adapter)).eval()
        said, shown = answers(plain, tokenizer, model), answers(worked, tokenizer, model)
        return Outcome(
            _right(plain, said),
            _right(plain, answers(plain, tokenizer, model, seed=run.seed)),
            _right(worked, shown),
            tuple(scorer(list(zip(plain, said, strict=True)))),
        )

    paths = (run.store.get(course.reference).path for course in (run.by_reward, run.by_grader))
    return Outcomes(outcome(run.sft.path), *map(outcome, paths))


def _right(asked: Sequence[gym.Instance], said: Sequence[str]) -> tuple[bool, ...]:
    return tuple(problem.grade(text) for problem, text in zip(asked, said, strict=True))


def problems(count: int) -> tuple[list[gym.Instance], list[gym.Instance]]:
    """The test problems that all adapters are measured on, and those that are asked for their steps."""
    plain = gym.instances("test", count=count, seed=0)
    return plain, [problem.stepwise() for problem in plain if problem.steps]


def measured(runs: Sequence[tuple[PpoRun, Outcomes]], *, count: int) -> PpoMeasured:
    """The figures of all seeds. Raises ValueError without any."""
    seen = [found for _, found in runs]
    sft, by_reward, by_grader = (
        [getattr(found, name) for found in seen] for name in ("sft", "by_reward", "by_grader")
    )
    families = [problem.family for problem in problems(count)[0]]
    return PpoMeasured(
        count=count,
        seeds=tuple(
            PpoSeed(
                run.seed,
                share(found.sft.plain),
                share(found.sft.drawn),
                share(found.sft.worked),
                _policy(run.by_reward, found.by_reward),
                _policy(run.by_grader, found.by_grader),
            )
            for run, found in runs
        ),
        reward_gain=_gains(by_reward, sft),
        grader_gain=_gains(by_grader, sft),
        further=_gains(by_grader, by_reward),
        score_gain=difference(_mean([one.scores for one in by_reward]), _mean([one.scores for one in sft])),
        score_gain_by_grader=difference(
            _mean([one.scores for one in by_grader]), _mean([one.scores for one in sft])
        ),
        families={
            family: PpoFamily(
                *(_only(family, families, one.plain) for one in (sft[0], by_reward[0], by_grader[0]))
            )
            for family in dict.fromkeys(families)
        },
    )


def _policy(course: Reinforced, found: Outcome) -> PpoPolicy:
    return PpoPolicy(
        share(found.plain),
        share(found.drawn),
        share(found.worked),
        course.minutes,
        course.curve.iterations[-1],
        course.published,
        course.stopped,
        course.curve.kl_after(course.published),
        course.curve.kl_at_the_end(),
    )


def _gains(first: Sequence[Outcome], second: Sequence[Outcome]) -> Gains:
    return Gains(
        *(
            difference(
                _mean([getattr(one, kind) for one in first]),
                _mean([getattr(one, kind) for one in second]),
                shares=True,
            )
            for kind in ("plain", "drawn", "worked")
        )
    )


def _mean(outcomes: Sequence[Sequence[float]]) -> list[float]:
    return [sum(each) / len(each) for each in zip(*outcomes, strict=True)]


def _only(family: str, families: Sequence[str], right: Sequence[bool]) -> Share:
    return share([one for name, one in zip(families, right, strict=True) if name == family])
