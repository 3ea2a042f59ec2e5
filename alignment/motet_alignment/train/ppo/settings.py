"""What a PPO training may be asked for; field descriptions are the options' help."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from motet_alignment.train.settings import AdapterSettings, TrainedKind

Weight = Annotated[float, Field(ge=-1e6, le=1e6)]


class PpoSettings(AdapterSettings):
    """Proximal policy optimization: answer prompts, have the answers judged, and learn to answer better.

    The data are prompts: files with `messages` or `prompt`, or any that the other trainers take, whose answers are
    then left aside. Rewards are adapter:NAME (a reward adapter of the store), server:NAME (one that the server of
    --url has loaded), an installed grader such as gym, python:FILE.py:FUNCTION or python:MODULE:FUNCTION, or the URL of
    a scorer.
    """

    reward: tuple[str, ...] = Field(
        default=(), description="What judges answers; repeat for several, whose rewards are added."
    )
    weight: tuple[Weight, ...] = Field(
        default=(), description="What each --reward counts, in their order; 1 each when left out."
    )
    gold: str | None = Field(
        default=None,
        description="What held-out answers are truly worth, as --reward names it, never learnt from: chooses the best "
        "version and stops a run whose rewards rise at its cost.",
    )
    missing_end_penalty: float = Field(
        default=0.0, ge=0, description="Taken off the reward of an answer cut off before its end."
    )
    length_penalty: float = Field(
        default=0.0, ge=0, description="Taken off the reward for every token beyond --length-free."
    )
    length_free: int = Field(default=0, ge=0, description="Tokens of an answer that cost nothing.")
    reward_clip: float | None = Field(
        default=None, gt=0, description="Rewards are cut off at this size, after whitening."
    )

    rollouts: Literal["auto", "engine", "server", "transformers"] = Field(
        default="auto",
        description="Who answers: an engine of this run's own, the server of --url, or plain transformers in the "
        "training process; the server where there is a --url, else the engine.",
    )
    url: str | None = Field(
        default=None, description="A running motet server, such as http://127.0.0.1:8000."
    )
    api_key: str | None = Field(default=None, description="The server's key; $MOTET_API_KEY when left out.")
    engine_memory: float = Field(
        default=0.4,
        gt=0,
        lt=1,
        description="Share of the GPU's memory that the engine may take while it answers; it sleeps while the policy "
        "learns.",
    )
    prompts: int = Field(
        default=128, ge=1, le=65536, description="Prompts of an iteration, of all processes."
    )
    answers: int = Field(
        default=1, ge=1, le=64, description="Answers to each prompt; rloo needs two or more."
    )
    temperature: float = Field(
        default=1.0, ge=0.05, le=5, description="Answers are drawn at it, and learnt at it."
    )
    max_answer: int = Field(default=256, ge=1, description="An answer's most tokens.")
    iterations: int = Field(default=100, ge=1, le=10**6, description="Rounds of answering and learning.")

    estimator: Literal["gae", "rloo"] = Field(
        default="gae",
        description="PPO with a value head and generalized advantages, or REINFORCE with the mean of the prompt's "
        "other answers as its baseline.",
    )
    epochs: int | None = Field(
        default=None, ge=1, le=100, description="Passes over an iteration's answers: 2, and 1 for rloo."
    )
    minibatches: int | None = Field(
        default=None, ge=1, le=1024, description="Optimizer steps of a pass: 2, and 1 for rloo."
    )
    gamma: float = Field(default=1.0, ge=0, le=1, description="Discount from token to token.")
    gae_lambda: float = Field(
        default=0.95, ge=0, le=1, description="Generalized advantages: 1 trusts rewards alone, 0 values."
    )
    clip_range: float = Field(default=0.2, gt=0, description="How far a ratio may move before it is cut off.")
    value_clip_range: float | None = Field(
        default=0.2, gt=0, description="How far a value may move before it is cut off."
    )
    value_coefficient: float = Field(default=0.5, gt=0, description="Weight of the value loss.")
    value_learning_rate: float | None = Field(
        default=None,
        gt=0,
        description="The value head's and its adapter's rate; --learning-rate when left out.",
    )
    value_start: Literal["auto", "reward", "base"] = Field(
        default="auto",
        description="Where the values' adapter starts: at the first reward adapter if there is one, or as nothing.",
    )
    value_warm_up: int = Field(
        default=0,
        ge=0,
        description="First iterations in which the values alone learn: a policy that steps by values that know nothing "
        "yet steps by chance.",
    )
    entropy_coefficient: float = Field(
        default=0.0,
        ge=0,
        description="Weight of the entropy bonus, a mean over tokens; for rloo their sum, a mean over answers.",
    )
    whiten_rewards: bool = Field(
        default=False, description="Divide an iteration's rewards by their standard deviation."
    )
    whiten_advantages: bool = Field(
        default=True, description="Give an iteration's advantages mean 0 and variance 1; never for rloo."
    )
    importance_cap: float | None = Field(
        default=2.0,
        ge=1,
        description="Tokens whose probability in training and in the engine differ are weighted by their ratio, up to "
        "this.",
    )

    reference: str = Field(
        default="start",
        description="The policy to stay close to: start (what --from names, else the base), base, or an adapter of the "
        "store.",
    )
    kl_coefficient: float = Field(
        default=0.05,
        ge=0,
        description="Price of a nat of KL divergence from the reference, per token; the first "
        "one where --kl-target adapts it.",
    )
    kl_target: float | None = Field(
        default=None, gt=0, description="Adapt the price so that an answer's KL is about this many nats."
    )
    kl_horizon: int = Field(
        default=2000,
        ge=1,
        description="With --kl-target: answers in which the price moves by a fifth at most.",
    )
    update_kl: float | None = Field(
        default=0.1,
        gt=0,
        description="An iteration's steps end when the policy has moved this many nats a token since its answers.",
    )
    max_kl: float | None = Field(
        default=None,
        gt=0,
        description="The run ends when an answer's mean KL exceeds this; four times --kl-target when left out.",
    )

    learning_rate: float = Field(default=1e-4, gt=0, description="The policy's highest learning rate.")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        default="constant", description="How the rate falls after the warm-up."
    )
    eval_every: int | None = Field(
        default=None, ge=1, description="Iterations between two evaluations; a tenth of them when left out."
    )
    held_out_prompts: int = Field(
        default=256, ge=1, description="Held-out prompts answered in an evaluation, at most."
    )
    patience: int | None = Field(
        default=None, ge=1, description="The run ends after so many evaluations without a better version."
    )
    save_every: int | None = Field(
        default=None,
        ge=1,
        description="Iterations between two checkpoints, beside those of the best versions; 5 when left out.",
    )
    sample_every: int | None = Field(
        default=None, ge=1, description="Iterations between two looks at sample answers; 5 when left out."
    )

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        given = self.model_fields_set
        if not self.reward:
            raise ValueError("give a --reward: adapter:NAME, a grader, python:FILE.py:FUNCTION, or a URL")
        if self.weight and len(self.weight) != len(self.reward):
            raise ValueError(f"give as many --weight as --reward: {len(self.weight)} and {len(self.reward)}")
        if self.url is None and self.rollouts == "server":
            raise ValueError("--rollouts server needs the server's --url")
        if self.url is not None and self.rollouts not in ("auto", "server"):
            asks = [*self.reward, *([self.gold] if self.gold else [])]
            if not any(one.startswith("server:") for one in asks):
                raise ValueError(f"--url does nothing with --rollouts {self.rollouts}")
        if self.url is None and "api_key" in given and self.api_key is not None:
            raise ValueError("--api-key belongs to --url")
        if self.length_free and not self.length_penalty:
            raise ValueError("--length-free belongs to --length-penalty")
        if self.kl_target is None and "kl_horizon" in given:
            raise ValueError("--kl-horizon belongs to --kl-target")
        if self.value_warm_up >= self.iterations:
            raise ValueError(
                f"--value-warm-up {self.value_warm_up}: the policy learns in none of {self.iterations} --iterations"
            )
        if self.kl_target is not None and self.kl_coefficient == 0:
            raise ValueError("--kl-target adapts --kl-coefficient, which can't begin at 0")
        return self

    @model_validator(mode="after")
    def _fitting_estimator(self) -> Self:
        given = self.model_fields_set
        if self.estimator == "gae":
            return self
        if self.answers < 2:
            raise ValueError("--estimator rloo compares answers to one prompt: give --answers 2 or more")
        if (self.epochs or 1) > 1 or (self.minibatches or 1) > 1:
            raise ValueError(
                "--estimator rloo takes one step an iteration: --epochs and --minibatches above 1 belong to gae"
            )
        valued = (
            "gae_lambda gamma clip_range value_clip_range value_coefficient value_learning_rate value_start "
            "value_warm_up update_kl "
            "whiten_advantages"
        ).split()
        for name in valued:
            if name in given and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"--{name.replace('_', '-')} belongs to --estimator gae")
        return self

    @classmethod
    def kind(cls) -> TrainedKind:
        """ppo."""
        return "ppo"

    @property
    def weights(self) -> tuple[float, ...]:
        """What each reward counts."""
        return self.weight or (1.0,) * len(self.reward)

    @property
    def sampler(self) -> Literal["engine", "server", "transformers"]:
        """Who answers."""
        if self.rollouts == "auto":
            return "engine" if self.url is None else "server"
        return self.rollouts

    @property
    def passes(self) -> int:
        """Passes over an iteration's answers."""
        return self.epochs or (2 if self.estimator == "gae" else 1)

    @property
    def steps_a_pass(self) -> int:
        """Optimizer steps of a pass."""
        return self.minibatches or (2 if self.estimator == "gae" else 1)

    @property
    def highest_kl(self) -> float:
        """The mean KL of an answer, in nats, at which the run ends."""
        if self.max_kl is not None:
            return self.max_kl
        return math.inf if self.kl_target is None else 4 * self.kl_target

    def evaluates(self, iteration: int) -> bool:
        """Whether held-out prompts are answered after so many iterations; before the first and after the last too."""
        every = self.eval_every or max(1, self.iterations // 10)
        return iteration % every == 0 or iteration == self.iterations

    def identity(self) -> dict[str, Any]:
        """The options that decide which weights come out, as JSON values."""
        around = {"save_every", "sample_every", "api_key", "url", "engine_memory"}
        return {key: value for key, value in super().identity().items() if key not in around}
