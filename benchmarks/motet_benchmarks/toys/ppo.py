"""From an SFT adapter to PPO's: against the grader, which is bundled, and against the reward adapter, to compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from motet_alignment.store import Adapter, AdapterStore
from motet_alignment.train import PpoSettings, train
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.gym import examples
from motet_benchmarks.toys import curves
from motet_benchmarks.toys.adapters import NAMES, REWARD, SFT, Trainings
from motet_benchmarks.toys.curves import Curve
from motet_benchmarks.toys.kept import once
from motet_benchmarks.toys.published import copy, renewed
from motet_benchmarks.toys.settings import AdapterRecipe, PpoRecipe

PPO, BY_REWARD = "motet-ppo", "motet-ppo-reward"

#: The gym's grader, as `--reward` and `--gold` name it.
GYM = "gym"
#: Prompts are drawn from here on, where no other training draws.
_PROMPTS_FROM = 10_000


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
    stopped: str
    """Why the run ended."""
    curve: Curve


@dataclass(frozen=True)
class PpoRun:
    """PPO's adapters of one seed, with those that they came of, as they stand in the store they were trained into."""

    seed: int
    sft: Adapter
    reward: Adapter
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
    """Train PPO twice from the SFT adapter of `seed`: against that seed's reward adapter, and against the grader.

    The first seed's are those in the store `bundled`; another's are trained first. All stays in the folder `work`, one
    for each seed, where a run that was killed is gone on with. Raises AlignmentError where a training can't be done,
    BenchmarkError where `work` holds trainings of another recipe.
    """
    trainings = Trainings(adapters, seed, expert, work, say)
    store = trainings.store
    if seed == adapters.seeds[0]:
        sft, reward = (copy(AdapterStore(bundled).get(name), store, expert, {}) for name in (SFT, REWARD))
    else:
        start = trainings.sft()
        sft, reward = (store.get(course.reference) for course in (start, trainings.reward(start)))
    data = work / f"prompts-{seed}.jsonl"
    asked = examples.prompts(seed=_PROMPTS_FROM + seed, worked=recipe.worked)
    examples.write(data, asked, count=recipe.problems)
    basis = {"recipe": asdict(recipe), "sft": sft.reference, "reward": reward.reference}

    def trained(name: str, judge: str) -> Reinforced:
        def make() -> Reinforced:
            settings = _settings(recipe, name, judge, seed, expert, sft, data, store, work / f"{name}-{seed}")
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
                str(done.metrics["stopped"]),
                curves.read(done.folder / "metrics.jsonl"),
            )

        return once(work / f"{name}.json", Reinforced, basis, make)

    return PpoRun(
        seed, sft, reward, store, trained(BY_REWARD, f"adapter:{reward.reference}"), trained(PPO, GYM)
    )


def _settings(
    recipe: PpoRecipe,
    name: str,
    judge: str,
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
            "reward": (judge,),
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


def bundle(run: PpoRun, expert: Path, folder: Path) -> str:
    """Put the adapter trained against the grader into the store `folder`, beside the three that stand there.

    Returns its version. Raises StoreError, and BenchmarkError if no version was better than the SFT adapter.
    """
    if not run.by_grader.published:
        raise BenchmarkError(
            f"seed {run.seed}: no version of {PPO} was better than {run.sft.reference} on held-out prompts"
        )
    with renewed(folder, keep=NAMES) as store:
        return copy(run.store.get(run.by_grader.reference), store, expert, {}).version
