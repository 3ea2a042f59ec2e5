"""From an SFT adapter to PPO's: against a judge, both of which are bundled, and against the grader, to compare."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch

from motet_alignment.store import Adapter, AdapterStore
from motet_alignment.train import PpoSettings, RewardSettings, train
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.gym import examples
from motet_benchmarks.toys import curves
from motet_benchmarks.toys.adapters import NAMES, REWARD, SFT, Course, Trainings, copy, own_mistakes, renewed
from motet_benchmarks.toys.curves import Curve
from motet_benchmarks.toys.kept import once
from motet_benchmarks.toys.settings import AdapterRecipe, PpoRecipe

PPO, JUDGE, GRADER = "motet-ppo", "motet-judge", "motet-ppo-grader"

#: The gym's grader, as `--reward` and `--gold` name it.
GYM = "gym"
#: Prompts are drawn from here on, where no other training draws.
_PROMPTS_FROM = 10_000
_JUDGED_FROM = 20_000


@dataclass(frozen=True, slots=True)
class Reinforced:
    """One PPO training that was done."""

    reference: str
    """Of its adapter, in the seed's store; the SFT adapter's where no version was better."""
    minutes: float
    threads: int
    """Of torch."""
    published: int
    """The iteration whose version was best on held-out prompts, and published; 0 for none."""
    curve: Curve


@dataclass(frozen=True)
class PpoRun:
    """PPO's adapters of one seed, with those that they came of, as they stand in the store they were trained into."""

    seed: int
    sft: Adapter
    reward: Adapter
    judge: Adapter
    """The reward adapter, gone on with on mistakes of the SFT adapter's own."""
    store: AdapterStore
    by_reward: Reinforced
    by_grader: Reinforced


def reinforce(
    recipe: PpoRecipe,
    adapters: AdapterRecipe,
    seed: int,
    expert: Path,
    bundled: Path,
    work: Path,
    say: Callable[[str], None],
) -> PpoRun:
    """Train PPO twice from the SFT adapter of `seed`: against that seed's judge, and against the grader.

    The first seed's are those in the store `bundled`; another's are trained first. All stays in the folder `work`, one
    for each seed, where a run that was killed is gone on with. Raises AlignmentError where a training can't be done,
    BenchmarkError where `work` holds trainings of another recipe.
    """
    trainings = Trainings(adapters, seed, expert, work, say)
    store = trainings.store
    if seed == adapters.seeds[0]:
        sft, reward = (copy(AdapterStore(bundled).get(name), store, expert, {}) for name in (SFT, REWARD))
    else:
        sft, reward = (store.get(course.reference) for course in (trainings.sft(), trainings.reward()))
    data = work / f"prompts-{seed}.jsonl"
    asked = examples.prompts(seed=_PROMPTS_FROM + seed, worked=recipe.worked)
    examples.write(data, asked, count=recipe.problems)
    judge = _judge(recipe, seed, expert, sft, reward, store, work, say)
    basis = {"recipe": asdict(recipe), "sft": sft.reference, "judge": judge.reference}

    def trained(name: str, by: str) -> Reinforced:
        def make() -> Reinforced:
            settings = _settings(recipe, name, by, seed, expert, sft, data, store, work / f"{name}-{seed}")
            done = train(settings)
            # Where no version was better than the start, that is what came of it.
            adapter = done.adapter or sft
            # What the run itself counts: several processes may have had a part in it, where it was killed.
            minutes = float(str(done.metrics["seconds"])) / 60
            say(f"seed {seed}: {name} in {minutes:.1f} min, {adapter.reference}")
            return Reinforced(
                adapter.reference,
                minutes,
                torch.get_num_threads(),
                int(str(done.metrics["best_iteration"])),
                curves.read(done.folder / "metrics.jsonl"),
            )

        return once(work / f"{name}.json", Reinforced, basis, make)

    against = trained(PPO, f"adapter:{judge.reference}"), trained(GRADER, GYM)
    return PpoRun(seed, sft, reward, judge, store, *against)


def _judge(
    recipe: PpoRecipe,
    seed: int,
    expert: Path,
    sft: Adapter,
    reward: Adapter,
    store: AdapterStore,
    work: Path,
    say: Callable[[str], None],
) -> Adapter:
    """The reward adapter after pairs of the gym and of the SFT adapter's own mistakes, drawn at temperature 1."""
    how = recipe.judge

    def make() -> Course:
        pairs, own = work / f"judge-pairs-{seed}.jsonl", work / f"judge-own-{seed}.jsonl"
        examples.write(
            pairs, examples.comparisons(seed=_JUDGED_FROM + seed, worked=how.worked), count=how.problems
        )
        asked = examples.problems(seed=_JUDGED_FROM + 1000 + seed, worked=how.worked)
        wrong = own_mistakes(expert, sft.path, list(islice(asked, recipe.judge_drawn)), seed=seed)
        examples.write(own, wrong, count=len(wrong))
        say(
            f"seed {seed}: {len(wrong):,} of {recipe.judge_drawn:,} answers drawn from {sft.reference} are wrong"
        )
        began = time.monotonic()
        adapter = train(
            RewardSettings.model_validate(
                {
                    "model": str(expert),
                    "name": JUDGE,
                    "from": reward.reference,
                    "data": (pairs, own),
                    "learning_rate": how.rate,
                    "batch_tokens": how.batch_tokens,
                    "epochs": 1.0,
                    "held_out": 0.0,
                    "seed": seed,
                    "store": store.root,
                    "folder": work / f"{JUDGE}-{seed}",
                    "resume": False,
                }
            )
        ).adapter
        if adapter is None:
            raise RuntimeError(f"{JUDGE}: the training published nothing")
        return Course(adapter.reference, (time.monotonic() - began) / 60)

    basis = {
        "judge": asdict(how),
        "drawn": recipe.judge_drawn,
        "sft": sft.reference,
        "reward": reward.reference,
    }
    return store.get(once(work / f"{JUDGE}.json", Course, basis, make).reference)


def _settings(
    recipe: PpoRecipe,
    name: str,
    by: str,
    seed: int,
    expert: Path,
    start: Adapter,
    data: Path,
    store: AdapterStore,
    folder: Path,
) -> PpoSettings:
    """What is asked of the trainer."""
    return PpoSettings.model_validate(
        {
            "model": str(expert),
            "name": name,
            "from": start.reference,
            "data": (data,),
            "reward": (by,),
            "gold": GYM,
            "iterations": recipe.iterations,
            "prompts": recipe.prompts,
            "answers": recipe.answers,
            "batch_tokens": recipe.batch_tokens,
            "whiten_rewards": True,
            "epochs": recipe.epochs,
            "minibatches": recipe.minibatches,
            "learning_rate": recipe.rate,
            "value_learning_rate": recipe.value_rate,
            "value_warm_up": recipe.value_warm_up,
            "gae_lambda": recipe.gae_lambda,
            "kl_coefficient": recipe.kl_coefficient,
            "kl_target": recipe.kl_target,
            "kl_horizon": recipe.kl_horizon,
            "max_answer": recipe.max_answer,
            "held_out": recipe.held_out_prompts / recipe.problems,
            "held_out_prompts": recipe.held_out_prompts,
            "eval_every": recipe.eval_every,
            "rollouts": recipe.rollouts,
            "seed": seed,
            "store": store.root,
            "folder": folder,
        }
    )


def bundle(run: PpoRun, expert: Path, folder: Path) -> dict[str, str]:
    """Put the adapter trained against the judge, and the judge, into the store `folder`, beside those that stand there.

    Returns their versions. Raises StoreError, and BenchmarkError if no version was better than the SFT adapter.
    """
    if not run.by_reward.published:
        raise BenchmarkError(
            f"seed {run.seed}: no version of {PPO} was better than {run.sft.reference} on held-out prompts"
        )
    policy = run.store.get(run.by_reward.reference)
    with renewed(folder, keep=NAMES) as store:
        judge = copy(run.judge, store, expert, {})
        # The policy's manifest says what judged it, by the version that stands beside it.
        known = {run.judge.reference: judge.reference}
        return {PPO: copy(policy, store, expert, known).version, JUDGE: judge.version}
