"""Samplers are started, measured side by side, and taken down; then the loop is measured with either."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from motet_alignment.errors import AlignmentError
from motet_alignment.store import AdapterStore
from motet_alignment.train import PpoSettings, train
from motet_alignment.train.devices import choose_place
from motet_alignment.train.models import open_base
from motet_alignment.train.ppo.actor_critic import ActorCritic
from motet_alignment.train.ppo.prompts import read_prompts
from motet_alignment.train.ppo.rollout import Sampler
from motet_alignment.train.ppo.samplers import make_sampler
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.gym import examples
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.ppo import loop, report, rounds
from motet_benchmarks.ppo.generate import Generate
from motet_benchmarks.ppo.plan import Plan
from motet_benchmarks.ppo.reference import EngineReference, in_training
from motet_benchmarks.ppo.samples import ENGINE, GENERATE, SAMPLERS, TRAINING, TRANSFORMERS, Measured
from motet_benchmarks.progress import Steps, waiting
from motet_benchmarks.results import Grid, check_folder, show
from motet_models import ADAPTERS, EXPERT

#: The policy that answers, and what judges it in the loop.
POLICY, JUDGE = "motet-sft", "motet-reward"

#: What training takes at once where nobody says otherwise, padding included.
_BATCH_TOKENS = 4096
#: Prompts that batches are drawn from; twice as many as the largest may have.
_PROMPTS = 4096


def measure(plan: Plan, *, where: Circumstances, out: Path) -> None:
    """Measure, and write the files after every round; in the end, whatever brings it about, print the tables.

    Args:
        plan: what to measure.
        where: this machine before anything was started.
        out: the folder for the files.

    Raises BenchmarkError for whatever the user can mend.
    """
    check_folder(out)
    written: list[tuple[list[Grid], list[Path]]] = []

    def keep(measured: Measured) -> None:
        written[:] = [report.write(out, plan, measured, where)]

    try:
        with _complaints(), tempfile.TemporaryDirectory(prefix="motet-bench-ppo-") as folder:
            work = Path(folder)
            data = work / "prompts.jsonl"
            drawn = examples.prompts(seed=plan.seed, worked=plan.worked)
            examples.write(data, drawn, count=_PROMPTS)
            measured = _rollouts(plan, data, keep)
            if plan.loop_rounds:
                keep(_with_loop(plan, data, work, measured))
    finally:
        for tables, paths in written:
            show(tables, paths)


def _rollouts(plan: Plan, data: Path, keep: Callable[[Measured], None]) -> Measured:
    settings = {arm: _settings(plan, data, arm) for arm in SAMPLERS}
    base, place = open_base(settings[ENGINE]), choose_place("auto", "auto")
    if place.device == "cpu":
        place = replace(place, precision="fp32")  # as PPO's training has it
    prompts = read_prompts(settings[ENGINE], base).train
    policy = AdapterStore(ADAPTERS).get(POLICY).path
    with ExitStack() as stack:
        with waiting("starting an engine"):
            actor = ActorCritic(settings[ENGINE], base, place, reference=base.start)
            engine = stack.enter_context(closing(EngineReference(settings[ENGINE], base, place)))
        samplers: dict[str, Sampler] = {
            ENGINE: engine,
            TRANSFORMERS: make_sampler(settings[TRANSFORMERS], base, place, actor),
            GENERATE: Generate(actor, base, plan.max_answer),
        }
        references: dict[str, rounds.Reference] = {
            ENGINE: engine.logprobs,
            TRAINING: partial(in_training, actor, tokens=_BATCH_TOKENS, device=place.device),
        }
        with Steps("answering side by side", rounds.steps_of(plan)) as steps:
            return rounds.measure(plan, samplers, policy, prompts, references, steps.next, keep)


def _with_loop(plan: Plan, data: Path, work: Path, measured: Measured) -> Measured:
    def trained(settings: PpoSettings) -> Path:
        return train(settings, progress=False).folder

    with Steps("training", len(SAMPLERS) * plan.loop_rounds) as steps:

        def settings(arm: str) -> PpoSettings:
            return _settings(plan, data, arm, folder=Path(tempfile.mkdtemp(dir=work)) / "run")

        samples, agreement = loop.measure(plan, settings, trained, steps.next)
    return replace(measured, samples=(*measured.samples, *samples), agreement=agreement)


def _settings(plan: Plan, data: Path, arm: str, *, folder: Path | None = None) -> PpoSettings:
    return PpoSettings.model_validate(
        {
            "model": str(EXPERT),
            "from": POLICY,
            "store": ADAPTERS,
            "data": (data,),
            "reward": (f"adapter:{JUDGE}",),
            "rollouts": arm,
            "prompts": plan.prompts,
            "iterations": plan.iterations,
            "max_answer": plan.max_answer,
            # Evaluations are no part of an iteration's time; there is one before the first and one after the last.
            "held_out_prompts": 1,
            "eval_every": plan.iterations,
            "seed": plan.seed,
            "folder": folder,
            "publish": False,
        }
    )


@contextmanager
def _complaints() -> Iterator[None]:
    """What trainer and samplers complain of, as a benchmark says it."""
    try:
        yield
    except AlignmentError as problem:
        raise BenchmarkError(str(problem)) from None
    except ValidationError as problem:
        wrong = problem.errors()[0]
        raise BenchmarkError(f"--{wrong['loc'][0]} {wrong['input']}: {wrong['msg']}") from None
