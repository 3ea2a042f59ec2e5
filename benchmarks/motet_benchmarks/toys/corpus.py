"""The pretraining text: conversations about the gym's training problems, some of them answered wrongly.

Only the train split is ever asked for, so nothing a model is measured on can stand in it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from motet_benchmarks import gym
from motet_benchmarks.toys.settings import Corpus
from motet_benchmarks.toys.shares import SHARES


@dataclass(frozen=True, slots=True)
class Exchange:
    """One problem as the corpus tells it: the messages that pose it, and the answer given there."""

    instance: gym.Instance
    answer: str
    mistaken: bool


@dataclass(frozen=True, slots=True)
class Conversation:
    """One or more exchanges in one chat."""

    exchanges: tuple[Exchange, ...]

    def messages(self) -> list[dict[str, str]]:
        """The conversation as OpenAI chat messages, the assistant's answers included."""
        return [
            message
            for exchange in self.exchanges
            for message in (*exchange.instance.messages(), {"role": "assistant", "content": exchange.answer})
        ]


def conversations(corpus: Corpus, seed: int) -> Iterator[Conversation]:
    """The corpus from its beginning: endless, and the same for the same seed."""
    rng = random.Random(f"{seed} corpus")
    problems = gym.stream("train", seed=seed)
    for instance in problems:
        exchanges = [_exchange(instance, corpus, rng)]
        while len(exchanges) < 3 and rng.random() < corpus.several:
            following = next(problems)
            # A system message can only open a conversation.
            if not following.system:
                exchanges.append(_exchange(following, corpus, rng))
        yield Conversation(tuple(exchanges))


def words_in_use(problems: int = 300) -> list[str]:
    """The gym's words as the training text writes them, " word" and "word" apart, sorted.

    Looks at so many `problems` of each family, their worked steps and mistakes included. One letter alone is no
    word here: it has to stay a letter.
    """
    known = {word for word in gym.vocabulary() if len(word) > 1}
    found: set[str] = set()
    for instance in gym.instances("train", count=problems, seed=0):
        forms = [instance, instance.stepwise()] if instance.steps else [instance]
        for form in forms:
            told = [form.target, *(form.mistaken(mistake) for mistake in form.mistakes)]
            texts = [*(message["content"] for message in form.messages()), *told]
            found.update(word for text in texts for word in re.findall(r" ?[A-Za-z]+", text))
    return sorted(word for word in found if word.strip() in known)


def _exchange(instance: gym.Instance, corpus: Corpus, rng: random.Random) -> Exchange:
    if instance.steps and rng.random() < corpus.stepwise:
        instance = instance.stepwise()
    if rng.random() >= min(0.9, corpus.carelessness * SHARES[instance.family]):
        return Exchange(instance, instance.target, mistaken=False)
    return Exchange(instance, instance.mistaken(_mistake(instance.mistakes, corpus, rng)), mistaken=True)


def _mistake(mistakes: Sequence[gym.Mistake], corpus: Corpus, rng: random.Random) -> gym.Mistake:
    if len(mistakes) == 1 or rng.random() < corpus.shortcut:
        return mistakes[0]
    return rng.choice(mistakes[1:])
