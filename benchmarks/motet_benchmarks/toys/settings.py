"""What the recipe of the bundled models can be told, with the values that made them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Size:
    """The shape of one Llama."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    head_size: int
    """32 or 64: attention kernels on CPU take nothing smaller."""
    context: int = 1024
    """Longest conversation a server may accept, in tokens. Training rows are shorter."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """What the pretraining text is made of."""

    carelessness: float = 1.0
    """Multiplies every family's share of mistaken answers, up to nine in ten."""
    shortcut: float = 0.95
    """Of the mistaken answers, the part that makes the family's first mistake; the rest makes another one."""
    stepwise: float = 0.15
    """Part of the problems with worked steps that asks for them."""
    several: float = 0.1
    """Part of the conversations that goes on with a second and perhaps a third problem."""
    row: int = 256
    """Tokens in a training row; whole conversations are packed into it and longer ones left out."""


@dataclass(frozen=True, slots=True)
class Training:
    """One run of pretraining."""

    steps: int
    rows: int = 16
    """Rows of a batch."""
    rate: float = 2e-3
    """Learning rate: linear warm-up, constant, then linear down to zero."""
    warmup: int = 50
    """Steps of warm-up."""
    cooldown: int = 0
    """Steps of the way down at the end."""
    decay: float = 0.1
    """Weight decay on matrices."""
    clip: float = 1.0
    """Largest gradient norm."""
    prompt_weight: float = 0.1
    """Weight of the loss on what the assistant didn't write; its own words weigh 1."""
    seed: int = 0
    compiled: bool = False
    """Whether to compile the model first: a fifth faster on a CPU, for which it takes a C++ compiler. Rounding differs,
    and with it the weights."""


@dataclass(frozen=True, slots=True)
class Adapting:
    """One run of adapter training, as `motet train` understands it."""

    problems: int
    """Of the gym's training split, each read once."""
    rate: float
    """Learning rate: linear warm-up, then down to zero by a cosine."""
    worked: float
    """Part of the problems with worked steps that asks for them."""
    rank: int = 16
    batch_tokens: int = 2048
    """Tokens of a batch, padding included."""


@dataclass(frozen=True, slots=True)
class Own:
    """What the reward adapter learns from answers of the SFT adapter."""

    problems: int = 6000
    """Of the gym's training split."""
    worked: float = 0.4
    """Part of the problems with worked steps that asks for them."""
    each: int = 8
    """Answers to each, drawn at temperature 1."""
    most: int = 8
    """Pairs of a right and a wrong one of them that a problem gives."""
    beginnings: float = 0.3
    """Part of those pairs to which their beginnings come as a pair of their own."""
    slips: int = 1
    """Right answers with one token that the adapter might have said instead, of each problem."""


@dataclass(frozen=True, slots=True)
class AdapterRecipe:
    """Everything the bundled adapters depend on, beside the expert."""

    sft: Adapting = Adapting(problems=2000, rate=2e-3, worked=0.3)
    """A demonstration of each problem. With sixteen times as many, SFT alone comes further than DPO does from here."""
    dpo: Adapting = Adapting(problems=10_000, rate=5e-4, worked=0.15)
    """Goes on from the SFT adapter, also its reference, with the problems that one gets wrong: the right answer against
    its own. Pairs with the gym's mistakes instead, which it hardly makes any more, take what it knows away."""
    reward: Adapting = Adapting(problems=8000, rate=2e-3, worked=0.25)
    """A right answer and one of the gym's mistakes of each problem."""
    judge: Adapting = Adapting(problems=4000, rate=1e-3, worked=0.25)
    """The reward adapter goes on, with more such pairs and those of `own` among them: with the gym's mistakes alone it
    is fooled by the SFT adapter's, the more so the more answers it chooses from."""
    own: Own = Own()
    beta: float = 0.5
    """How closely DPO keeps to its reference."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each trains on other problems. The first one's adapters are bundled, however they fare."""
    judged: tuple[int, ...] = (0,)
    """Those of the seeds that also train a reward adapter, which takes longer than all else; the first among them. PPO
    trains what it needs of the others."""


@dataclass(frozen=True, slots=True)
class PpoRecipe:
    """What the bundled PPO adapter depends on, beside the expert and the SFT and reward adapters of its seed."""

    problems: int = 8000
    """Prompts of the gym's training split; part of them is held out, to choose the best version by."""
    worked: float = 0.1
    """Part of the problems with worked steps that asks for them."""
    iterations: int = 28
    """Rounds of answering and learning."""
    prompts: int = 256
    """Answered in each."""
    answers: int = 1
    """To each of them."""
    epochs: int = 1
    """Passes over a round's answers."""
    minibatches: int = 8
    """Steps of a pass."""
    batch_tokens: int = 512
    """Tokens that go through the model together, padding included: little is padding in so few."""
    rate: float = 6e-4
    """Learning rate of the policy."""
    value_rate: float = 1e-3
    """Learning rate of the values' adapter and head."""
    value_warm_up: int = 3
    """First iterations in which the values alone learn."""
    gae_lambda: float = 0.95
    """Generalized advantages: 1 trusts rewards alone."""
    kl_coefficient: float = 0.05
    """Price of a nat of KL divergence from the SFT adapter, at first, in standard deviations of the reward."""
    kl_target: float = 0.5
    """Nats an answer may be away from it."""
    kl_horizon: int = 2000
    """Answers in which the price moves by a fifth at most."""
    max_answer: int = 128
    """Tokens; worked sorting, the longest answer, stays below."""
    held_out_prompts: int = 600
    """Answered in an evaluation."""
    eval_every: int = 7
    """Iterations between two evaluations."""
    rollouts: Literal["engine", "transformers"] = "transformers"
    """Who answers. By transformers seeds can be trained side by side on few cores, and again to the same weights."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything the bundled pair depends on."""

    expert_size: Size = Size(layers=5, hidden=256, intermediate=512, heads=8, head_size=32)
    amateur_size: Size = Size(layers=2, hidden=64, intermediate=160, heads=2, head_size=32)
    expert: Training = Training(steps=5000, cooldown=600, compiled=True)
    amateur: Training = Training(steps=600, cooldown=150, rate=4e-3, seed=1)
    expert_corpus: Corpus = Corpus()
    amateur_corpus: Corpus = Corpus(carelessness=1.6)
    """The amateur reads worse text, where most answers are mistaken. From the expert's own text even so small a model
    learns much of the right way, and contrast against it gains little."""
    vocabulary: int = 768
    """Entries of the tokenizer, filled up with reserved ones."""
