"""What the bundled adapters can do, on the gym's test problems: answers by exact graders, judgements on pairs."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motet_alignment.data import Message, render
from motet_benchmarks import gym
from motet_benchmarks.gym.examples import SHORTCUT, pick
from motet_benchmarks.statistics import Difference, Share, difference, share
from motet_benchmarks.toys.adapters import DPO, REWARD, SFT, Run
from motet_benchmarks.toys.own import merged
from motet_benchmarks.trials import COUNT
from motet_decoding.contrast import Contrast

#: Answers of the SFT adapter to each test problem that the reward adapter's pairs come of.
_DRAWN = 8


@dataclass(frozen=True, slots=True)
class Policy:
    """An adapter's answers on the test problems."""

    plain: Share
    worked: Share
    """When the families that have worked steps are asked to show them."""
    contrast: Share
    """Against the amateur, with the settings that were chosen for the expert without an adapter."""


@dataclass(frozen=True, slots=True)
class Judge:
    """How often the reward adapter puts the right answer above a mistaken one, a pair for each test problem."""

    pairs: Share
    """Mistakes drawn as in its training data, half of them the family's shortcut."""
    shortcut: Share
    """The family's shortcut alone."""
    worked: Share
    """Worked steps: right ones against those with an error in them."""
    own: Share
    """A right and a wrong answer of the SFT adapter's, for each problem where some of eight drawn at temperature 1 are
    right and some wrong."""


@dataclass(frozen=True, slots=True)
class Seed:
    """What one seed's training came to."""

    seed: int
    minutes: Mapping[str, float]
    """Of training, by adapter."""
    pairs: int
    """Problems that SFT got wrong and DPO learnt from."""
    sft: Policy
    dpo: Policy
    reward: Judge | None
    """None where this seed trained none."""


@dataclass(frozen=True, slots=True)
class Family:
    """One family's figures, of the bundled adapters."""

    sft: Share
    dpo: Share
    reward: Share


@dataclass(frozen=True, slots=True)
class Adapted:
    """Everything measured about the adapters."""

    count: int
    """Test problems of each family."""
    strength: float
    plausibility: float
    seeds: tuple[Seed, ...]
    """The first is the one whose adapters are bundled."""
    sft_gain: Difference
    """SFT over the expert alone, every problem counted with its mean over the seeds."""
    dpo_gain: Difference
    """DPO over SFT, likewise."""
    sft_worked_gain: Difference
    dpo_worked_gain: Difference
    families: Mapping[str, Family]


class Measuring:
    """Holds the test problems, the models and every run's outcomes."""

    def __init__(
        self, expert: Path, amateur: Path, contrast: Contrast, *, count: int = COUNT, seed: int = 0
    ) -> None:
        """Draws the problems and lets the expert answer them alone."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._expert = expert
        self._contrast = contrast
        self._count = count
        self._tokenizer = AutoTokenizer.from_pretrained(expert)
        self._amateur = AutoModelForCausalLM.from_pretrained(amateur).eval()
        self._plain = gym.instances("test", count=count, seed=seed)
        self._worked = [problem.stepwise() for problem in self._plain if problem.steps]
        alone = AutoModelForCausalLM.from_pretrained(expert).eval()
        self._alone = self._right(alone, self._plain), self._right(alone, self._worked)
        self._outcomes: dict[str, list[tuple[list[bool], list[bool]]]] = {SFT: [], DPO: []}
        self._seeds: list[Seed] = []
        self._families: dict[str, Family] = {}

    def add(self, run: Run, say: Callable[[str], None]) -> None:
        """Measure the adapters of one seed."""
        policies = {name: self._policy(name, run.adapters[name].path) for name in (SFT, DPO)}
        judge: Judge | None = None
        if REWARD in run.adapters:
            judge, right = self._judge(run.adapters[REWARD].path, run.adapters[SFT].path)
            if not self._families:
                self._families = self._by_family(right)
        self._seeds.append(Seed(run.seed, run.minutes, run.pairs, policies[SFT], policies[DPO], judge))
        for name, policy in policies.items():
            say(
                f"seed {run.seed}: {name} {policy.plain.value:.1%}, with steps {policy.worked.value:.1%}, "
                f"against the amateur {policy.contrast.value:.1%}"
            )
        if judge is not None:
            say(
                f"seed {run.seed}: {REWARD} {judge.pairs.value:.1%} of pairs, {judge.shortcut.value:.1%} of shortcuts, "
                f"{judge.worked.value:.1%} of worked steps, {judge.own.value:.1%} of {SFT}'s answers"
            )

    def results(self) -> Adapted:
        """All figures. Raises ValueError before a run was added."""
        sft, dpo = (
            [_mean([outcome[kind] for outcome in self._outcomes[name]]) for kind in (0, 1)]
            for name in (SFT, DPO)
        )
        return Adapted(
            count=self._count,
            strength=self._contrast.strength,
            plausibility=self._contrast.plausibility,
            seeds=tuple(self._seeds),
            sft_gain=difference(sft[0], self._alone[0], shares=True),
            dpo_gain=difference(dpo[0], sft[0], shares=True),
            sft_worked_gain=difference(sft[1], self._alone[1], shares=True),
            dpo_worked_gain=difference(dpo[1], sft[1], shares=True),
            families=self._families,
        )

    def _policy(self, name: str, adapter: Path) -> Policy:
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        model = PeftModel.from_pretrained(
            AutoModelForCausalLM.from_pretrained(self._expert), str(adapter)
        ).eval()
        plain, worked = self._right(model, self._plain), self._right(model, self._worked)
        self._outcomes[name].append((plain, worked))
        return Policy(share(plain), share(worked), share(self._right(model, self._plain, self._contrast)))

    def _right(
        self, model: Any, problems: Sequence[gym.Instance], contrast: Contrast | None = None
    ) -> list[bool]:
        from motet_benchmarks.toys.answers import answers

        said = answers(problems, self._tokenizer, model, amateur=self._amateur, contrast=contrast)
        return [problem.grade(text) for problem, text in zip(problems, said, strict=True)]

    def _judge(self, adapter: Path, sft: Path) -> tuple[Judge, list[bool]]:
        scorer = Scorer(self._expert, adapter)
        rng = random.Random("the mistakes to be judged")
        pairs = self._above(
            scorer, [(one, one.mistaken(pick(one.mistakes, SHORTCUT, rng))) for one in self._plain]
        )
        shortcut = self._above(scorer, [(one, one.mistakes[0].text) for one in self._plain])
        worked = self._above(scorer, [(one, one.mistaken(one.mistakes[-1])) for one in self._worked])
        own = self._own(scorer, sft)
        return Judge(share(pairs), share(shortcut), share(worked), share(own)), pairs

    def _above(self, scorer: Scorer, pairs: Sequence[tuple[gym.Instance, str]]) -> list[bool]:
        right = scorer([(problem, problem.target) for problem, _ in pairs])
        wrong = scorer(pairs)
        return [one > other for one, other in zip(right, wrong, strict=True)]

    def _own(self, scorer: Scorer, sft: Path) -> list[bool]:
        """For each problem with both among the SFT adapter's answers: the first right one above the first wrong one."""
        from motet_benchmarks.toys import drawing

        model, tokenizer = merged(self._expert, sft)
        right, wrong = [], []
        said = drawing.drawn(self._plain, tokenizer, model, each=_DRAWN, seed=0)
        for problem, texts in zip(self._plain, said, strict=True):
            first = {problem.grade(text): (problem, text) for text in reversed(texts)}
            if len(first) == 2:
                right.append(first[True])
                wrong.append(first[False])
        return [one > other for one, other in zip(scorer(right), scorer(wrong), strict=True)]

    def _by_family(self, judged: Sequence[bool]) -> dict[str, Family]:
        names = [problem.family for problem in self._plain]

        def only(family: str, right: Sequence[bool]) -> Share:
            return share([one for name, one in zip(names, right, strict=True) if name == family])

        sft, dpo = (self._outcomes[name][0][0] for name in (SFT, DPO))
        return {
            family: Family(only(family, sft), only(family, dpo), only(family, judged))
            for family in dict.fromkeys(names)
        }


class Scorer:
    """A reward adapter on its base, in plain transformers."""

    def __init__(self, base: Path, adapter: Path) -> None:
        """Load both."""
        from peft import PeftModel
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(base)
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
        self._model = PeftModel.from_pretrained(model, str(adapter)).eval().base_model.model

    def __call__(self, answered: Sequence[tuple[gym.Instance, str]], *, rows: int = 128) -> list[float]:
        """The raw score of each problem with its answer: that of the rendered conversation's last token."""
        import torch

        texts = [self._ids(problem, answer) for problem, answer in answered]
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        scores = [0.0] * len(texts)
        for start in range(0, len(order), rows):
            places = order[start : start + rows]
            width = len(texts[places[-1]])
            # Padding stands on the right, where a causal model's earlier tokens don't see it.
            ids = torch.tensor([texts[place] + [0] * (width - len(texts[place])) for place in places])
            last = torch.tensor([len(texts[place]) - 1 for place in places])
            with torch.inference_mode():
                hidden = self._model.model(input_ids=ids, use_cache=False).last_hidden_state
                found = self._model.score(hidden[torch.arange(len(places)), last]).squeeze(-1)
            for place, score in zip(places, found.tolist(), strict=True):
                scores[place] = score
        return scores

    def _ids(self, problem: gym.Instance, answer: str) -> list[int]:
        said = [*problem.messages(), {"role": "assistant", "content": answer}]
        messages = [Message.model_validate(message) for message in said]
        return render(self._tokenizer, messages, context=self._tokenizer.model_max_length).input_ids


def _mean(outcomes: Sequence[Sequence[bool]]) -> list[float]:
    return [sum(each) / len(each) for each in zip(*outcomes, strict=True)]
