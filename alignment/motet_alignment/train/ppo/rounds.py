"""The rounds of a PPO training: prompts are drawn, answered, judged, weighed and learnt from."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from motet_alignment.train.devices import Place
from motet_alignment.train.ppo.actor_critic import ActorCritic
from motet_alignment.train.ppo.bar import Phase
from motet_alignment.train.ppo.equations import KlController
from motet_alignment.train.ppo.experience import gather_experience
from motet_alignment.train.ppo.learner import Learner
from motet_alignment.train.ppo.prompts import Prompts
from motet_alignment.train.ppo.rewards import Judged, Rewards
from motet_alignment.train.ppo.rollout import PolicyFiles, Prompt, Rollout, Sampler
from motet_alignment.train.ppo.settings import PpoSettings
from motet_alignment.train.ppo.state import State
from motet_alignment.train.ppo.stopping import Evaluation
from motet_alignment.train.ppo.watching import IterationReport, SampleAnswer, Watch


class Rounds:
    """Everything that takes part in an iteration."""

    def __init__(
        self,
        settings: PpoSettings,
        place: Place,
        prompts: Prompts,
        actor: ActorCritic,
        learner: Learner,
        sampler: Sampler,
        rewards: Rewards,
        gold: Rewards | None,
        policies: Path,
        watch: Watch,
    ) -> None:
        """`policies`: a folder for versions of the policy while the sampler needs them."""
        self._settings, self._place, self._prompts, self._policies = settings, place, prompts, policies
        self._actor, self._learner, self._sampler = actor, learner, sampler
        self._rewards, self._gold, self._watch = rewards, gold, watch
        self._together = learner.together
        self._followed: int | None = None
        self._seconds: dict[str, float] = {}

    def one(self, state: State) -> tuple[State, float]:
        """One iteration: the state after it, and the answers' mean KL from the reference in nats."""
        settings, iteration = self._settings, state.iteration
        self._seconds = {}
        mine = self._drawn(iteration)
        with self._phase("answering", "rollout", len(mine)):
            self._follow(iteration)
            seeds = [seed_of(settings.seed, iteration, place) for place, _ in mine]
            rollouts = self._sampler.sample([prompt for _, prompt in mine], seeds)
        # Rewards and learning have the whole of the GPU.
        self._sampler.rest()
        with self._phase("judging", "reward", len(mine)):
            judged = self._rewards(rollouts)
        with self._phase("weighing", "experience", len(mine)) as phase:
            experience = gather_experience(
                self._actor,
                rollouts,
                [one.total for one in judged],
                settings,
                state.kl_coefficient,
                self._together,
                device=self._place.device,
                after=phase.advance,
            )
        with self._phase("learning", "update", settings.passes * settings.steps_a_pass) as phase:
            figures = self._learner.update(experience, iteration, after=phase.advance)
        kl = experience.figures["kl"]
        controller = KlController(state.kl_coefficient, settings.kl_target, settings.kl_horizon)
        answers = settings.prompts * settings.answers
        after = replace(
            state,
            iteration=iteration + 1,
            kl=kl,
            kl_coefficient=controller.updated(kl, answers).coefficient,
        )
        told = {
            **experience.figures,
            **self._parts(judged),
            **figures,
            "kl_coefficient": state.kl_coefficient,
        }
        self._watch.iteration(
            IterationReport(iteration + 1, told | self._speeds(rollouts), _samples(rollouts, judged))
        )
        return after, kl

    def evaluate(self, state: State) -> Evaluation:
        """Greedy answers to the held-out prompts, judged."""
        asked = self._prompts.held_out
        share = [asked[place] for place in self._together.share(len(asked))]
        with self._watch.phase("evaluating", len(share)):
            self._follow(state.iteration)
            rollouts = self._sampler.sample(share, [0] * len(share), greedy=True)
            self._sampler.rest()
            rewards = [one.total for one in self._rewards(rollouts)]
            gold = None if self._gold is None else [one.total for one in self._gold(rollouts)]
        lengths = self._together.gather([float(len(rollout.ids)) for rollout in rollouts])
        ended = self._together.gather([float(rollout.ended) for rollout in rollouts])
        return Evaluation(
            iteration=state.iteration,
            rewards=tuple(self._together.gather(rewards)),
            gold=None if gold is None else tuple(self._together.gather(gold)),
            kl=state.kl,
            length=sum(lengths) / len(lengths),
            ended=sum(ended) / len(ended),
        )

    def _follow(self, iteration: int) -> None:
        """Answers come from the policy as it is after so many iterations, until the next call."""
        if self._followed == iteration:
            return
        folder = self._policies / str(iteration)
        if self._place.leads:
            self._actor.save_policy(folder)
        self._together.wait()
        self._sampler.follow(PolicyFiles(folder, iteration))
        self._followed = iteration
        if self._place.leads:
            # The sampler may look at the followed version's files again; at those before it has no reason to.
            for path in self._policies.iterdir():
                if path != folder:
                    for file in path.iterdir():
                        file.unlink()
                    path.rmdir()

    def _drawn(self, iteration: int) -> list[tuple[int, Prompt]]:
        """This process's prompts, each as often as it is to be answered, with their places among all processes'."""
        settings = self._settings
        chosen = drawn(len(self._prompts.train), settings.prompts, iteration, settings.seed)
        return [
            (place * settings.answers + copy, self._prompts.train[chosen[place]])
            for place in self._together.share(settings.prompts)
            for copy in range(settings.answers)
        ]

    @contextmanager
    def _phase(self, name: str, key: str, total: int) -> Iterator[Phase]:
        with self._watch.phase(name, total) as phase:
            yield phase
        self._seconds[key] = phase.seconds

    def _parts(self, judged: Sequence[Judged]) -> dict[str, float]:
        """Each reward's and penalty's mean over all processes' answers."""
        every = self._together.gather([dict(one.parts) for one in judged])
        return {f"reward/{name}": sum(parts[name] for parts in every) / len(every) for name in every[0]}

    def _speeds(self, rollouts: Sequence[Rollout]) -> dict[str, float]:
        tokens = sum(self._together.gather([len(rollout.ids) for rollout in rollouts]))
        whole = sum(self._seconds.values())
        answers = self._settings.prompts * self._settings.answers
        return {f"seconds_{key}": round(value, 4) for key, value in self._seconds.items()} | {
            "rollout_tokens_per_second": round(tokens / max(self._seconds["rollout"], 1e-9), 1),
            "answers_per_second": round(answers / max(whole, 1e-9), 2),
        }


def _samples(rollouts: Sequence[Rollout], judged: Sequence[Judged]) -> list[SampleAnswer]:
    return [
        SampleAnswer.of(rollout, one.total, one.parts) for rollout, one in zip(rollouts, judged, strict=True)
    ]


def drawn(count: int, number: int, iteration: int, seed: int) -> list[int]:
    """Which `number` of `count` prompts iteration `iteration` asks: each once a pass, passes in another order each."""
    first = iteration * number
    return [_order(count, seed, place // count)[place % count] for place in range(first, first + number)]


@lru_cache(maxsize=4)
def _order(count: int, seed: int, number: int) -> tuple[int, ...]:
    order = list(range(count))
    random.Random(f"prompts {seed} {number}").shuffle(order)
    return tuple(order)


def seed_of(seed: int, iteration: int, place: int) -> int:
    """The seed of one answer, below 2^31: the same whoever draws it, and however many processes there are."""
    digest = blake2b(f"{seed} {iteration} {place}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1
