"""A PPO training from settings to a published adapter."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from motet_alignment.store import Adapter, check_name
from motet_alignment.train.checkpoints import write_json
from motet_alignment.train.devices import Place
from motet_alignment.train.estimates import Estimate, as_json
from motet_alignment.train.evaluation import Evaluation as Measurement
from motet_alignment.train.evaluation import find_evaluation, greedy
from motet_alignment.train.models import Base, open_base
from motet_alignment.train.ppo.actor_critic import ActorCritic
from motet_alignment.train.ppo.beginning import (
    check_held_out,
    check_rewards,
    describe,
    find_reference,
    first_state,
    shared_place,
    value_start,
)
from motet_alignment.train.ppo.learner import Learner
from motet_alignment.train.ppo.prompts import Prompts, read_prompts
from motet_alignment.train.ppo.rewards import make_rewards, reward_references
from motet_alignment.train.ppo.rounds import Rounds
from motet_alignment.train.ppo.samplers import make_sampler
from motet_alignment.train.ppo.settings import PpoSettings
from motet_alignment.train.ppo.state import State, load, save
from motet_alignment.train.ppo.stopping import best, ending, outcome, too_far
from motet_alignment.train.ppo.together import Together
from motet_alignment.train.ppo.watching import Watch
from motet_alignment.train.session import ADAPTER, RESULT, Trained, default_folder, held, publish, troubles
from motet_alignment.train.settings import check

#: The best version so far, as PEFT saves it.
BEST = "best"
_SAVE_EVERY = 5


def train(settings: PpoSettings, *, progress: bool = True) -> Trained:
    """Trains, evaluates and publishes. Raises AlignmentError for all that its caller can mend."""
    console = Console(stderr=True, quiet=not progress)
    check(settings)
    check_name(settings.adapter_name)
    measurements = {name: find_evaluation(name) for name in settings.evaluate}
    check_rewards(settings)
    place = shared_place(settings)
    if not place.leads:
        console = Console(stderr=True, quiet=True)
    base = open_base(settings)
    prompts = read_prompts(settings, base)
    for note in prompts.notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False)
    check_held_out(settings, prompts)
    reference = find_reference(settings, base)
    identity = describe(settings, base, prompts, place, reference)
    folder = settings.folder or default_folder(settings, identity)
    with ExitStack() as stack:
        stack.enter_context(troubles(settings, folder))
        checkpoint = stack.enter_context(held(folder, identity, settings, place))
        actor = ActorCritic(settings, base, place, reference=reference, reward=value_start(settings, base))
        learner = Learner(actor, settings, Together(place), place.device)
        state = load(checkpoint, learner) if checkpoint else first_state(settings, base, reference)
        if checkpoint:
            console.print(
                f"going on after iteration {state.iteration:,} of {settings.iterations:,}, from {folder}",
                soft_wrap=True,
                markup=False,
            )
        run = Run(settings, base, place, prompts, folder, learner, actor)
        title = f"ppo {settings.adapter_name}"
        with Watch(folder if place.leads else None, settings, state.iteration, console, title) as watch:
            state = run.go_on(state, watch)
        return run.finish(state, measurements, console)


class Run:
    """A training in its folder: rounds, checkpoints, evaluations, and the best version so far."""

    def __init__(
        self,
        settings: PpoSettings,
        base: Base,
        place: Place,
        prompts: Prompts,
        folder: Path,
        learner: Learner,
        actor: ActorCritic,
    ) -> None:
        self._settings, self._base, self._place, self._prompts = settings, base, place, prompts
        self._folder, self._learner, self._actor = folder, learner, actor
        self._reward_adapters = reward_references(settings, base)
        #: The iteration of the latest checkpoint that this process wrote.
        self._saved = 0

    def go_on(self, state: State, watch: Watch) -> State:
        """From `state` to the run's end. Everything is checked before the first answer is asked for."""
        settings = self._settings
        if state.evaluations and best(state.evaluations).iteration == state.iteration:
            self._keep_best(state)  # a kill may have come after its checkpoint, and before
        if state.stopped is not None or state.iteration == settings.iterations:
            return state
        with self._rounds(watch) as rounds:
            before = time.monotonic() - state.seconds
            if state.iteration == 0 and not state.evaluations:
                state = self._evaluated(state, rounds, watch)
            while state.iteration < settings.iterations and state.stopped is None:
                state, kl = rounds.one(state)
                state = replace(state, seconds=time.monotonic() - before, stopped=too_far(kl, settings))
                if settings.evaluates(state.iteration) or state.stopped is not None:
                    state = self._evaluated(state, rounds, watch)
                ends = state.stopped is not None or state.iteration == settings.iterations
                if ends or state.iteration % (settings.save_every or _SAVE_EVERY) == 0:
                    self._save(state)
                self._learner.together.wait()
        return state

    @contextmanager
    def _rounds(self, watch: Watch) -> Iterator[Rounds]:
        settings, base, actor = self._settings, self._base, self._actor
        with ExitStack() as stack:
            rewards = stack.enter_context(
                closing(make_rewards(settings.reward, settings.weights, settings, base, actor))
            )
            gold = None
            if settings.gold is not None:
                gold = stack.enter_context(
                    closing(
                        make_rewards(
                            (settings.gold,), (1.0,), settings, base, actor, option="--gold", penalised=False
                        )
                    )
                )
            rewards.check([*self._prompts.train, *self._prompts.held_out])
            if gold is not None and self._prompts.held_out:
                gold.check(self._prompts.held_out)
            with watch.phase("starting"):
                sampler = stack.enter_context(closing(make_sampler(settings, base, self._place, actor)))
            policies = self._folder / "policy"
            yield Rounds(
                settings,
                self._place,
                self._prompts,
                actor,
                self._learner,
                sampler,
                rewards,
                gold,
                policies,
                watch,
            )
            if self._place.leads:
                shutil.rmtree(policies, ignore_errors=True)

    def _evaluated(self, state: State, rounds: Rounds, watch: Watch) -> State:
        """With held-out prompts answered, and the version kept and published where it is the best so far."""
        if not self._prompts.held_out:
            return state
        evaluation = rounds.evaluate(state)
        state = state.with_evaluation(evaluation)
        state = replace(state, stopped=state.stopped or ending(state.evaluations, self._settings))
        watch.evaluation(state.iteration, evaluation.figures())
        if best(state.evaluations) is evaluation and state.iteration:
            # First the checkpoint: whatever a run goes on from, the best version it knows of is there, or is its own.
            self._save(state)
            self._keep_best(state)
        return state

    def _save(self, state: State) -> None:
        """A checkpoint, where there is none of this iteration yet."""
        if self._place.leads and self._saved != state.iteration:
            save(self._folder, state, self._learner)
            self._saved = state.iteration

    def _keep_best(self, state: State) -> None:
        """The policy as it is now becomes the best version, in the store too, where a running server finds it.

        The run may go on to a better one.
        """
        if self._place.leads:
            beside, kept = self._folder / f"{BEST}.new", self._folder / BEST
            shutil.rmtree(beside, ignore_errors=True)
            self._actor.save_policy(beside)
            shutil.rmtree(kept, ignore_errors=True)
            beside.replace(kept)
            if self._settings.publish:
                self._publish(kept, state)
        self._learner.together.wait()

    def _publish(self, folder: Path, state: State) -> Adapter:
        # A version stays as it was published, so it tells nothing that a run that goes on will change.
        changing = ("iterations", "seconds", "stopped")
        told = {name: value for name, value in self._metrics(state).items() if name not in changing}
        return publish(
            self._settings,
            self._base,
            self._place,
            folder,
            metrics=told,
            data=self._prompts.files,
            also={"reward_adapters": self._reward_adapters},
        )

    def _metrics(self, state: State) -> dict[str, Estimate | float | int | str]:
        if not state.evaluations:
            return {
                "iterations": state.iteration,
                "best_iteration": state.iteration,
                "seconds": round(state.seconds, 1),
                "kl": round(state.kl or 0.0, 4),
                "stopped": state.stopped or "all iterations are made",
            }
        return outcome(
            state.evaluations, iterations=state.iteration, seconds=state.seconds, stopped=state.stopped
        )

    def finish(self, state: State, measurements: Mapping[str, Measurement], console: Console) -> Trained:
        """Measures the best version, and leaves it in the run's folder and in the store."""
        settings, folder = self._settings, self._folder
        metrics = self._metrics(state)
        chosen = best(state.evaluations).iteration if state.evaluations else state.iteration
        if not self._place.leads:
            return Trained(None, folder, metrics)
        home = folder / ADAPTER
        shutil.rmtree(home, ignore_errors=True)
        if not state.evaluations:
            self._actor.save_policy(home)
        elif chosen:
            shutil.copytree(folder / BEST, home)
            self._actor.load_policy(home)
        adapter = None
        if chosen:
            for name, measurement in measurements.items():
                console.print(f"evaluating on {name}", soft_wrap=True)
                with self._actor.as_policy() as policy:
                    said = measurement.evaluate(greedy(policy, self._base.tokenizer, self._base.context))
                metrics |= {f"{name}_{figure}": estimate for figure, estimate in said.items()}
            if settings.publish:
                # The same content again where it was published on the way: the same version, made current.
                adapter = self._publish(home, state)
        write_json(
            folder / RESULT,
            {
                "adapter": adapter and adapter.reference,
                "metrics": as_json(metrics),
                "notes": self._prompts.notes,
            },
        )
        return Trained(adapter, folder, metrics)
