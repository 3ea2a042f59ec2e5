"""The gym's problems put to a server in every setting of every series, each question once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from motet_benchmarks import gym
from motet_benchmarks.endpoint import CHAT, Endpoint, together
from motet_benchmarks.errors import BenchmarkError, Refused
from motet_benchmarks.statistics import Share, share
from motet_benchmarks.voices.plan import Plan
from motet_benchmarks.voices.series import BASE, Series, Setting


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said to one problem."""

    text: str
    right: bool


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting of a series on the validation split."""

    setting: str
    share: Share


@dataclass(frozen=True, slots=True)
class Choice:
    """What the validation split recommends of a series: a setting, or the plain answer where none is better."""

    series: str
    setting: str
    trials: tuple[Trial, ...]


#: What the plain answer is called among a series' settings.
PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Asked:
    """One setting's answers to one set of problems, beside the plain ones of the same model."""

    series: str
    setting: str
    problems: tuple[gym.Instance, ...]
    answers: tuple[Answer, ...]
    plain: tuple[Answer, ...]
    fixed: tuple[Answer, ...] | None = None
    """Those of the setting that the series names to be compared with."""


@dataclass(frozen=True, slots=True)
class Answered:
    """Everything that was said."""

    direct: tuple[Asked, ...]
    """Asked for the answer alone."""
    worked: tuple[Asked, ...]
    """Asked for the steps."""
    choices: tuple[Choice, ...]
    refused: Mapping[str, str]
    """Settings that the server wouldn't answer in, by series and name, and why."""


@dataclass
class Questions:
    """Asks, and remembers what was answered: settings of several series may be the same."""

    plan: Plan
    endpoint: Endpoint
    done: Callable[[], None] = lambda: None
    _known: dict[tuple[str, int], tuple[Answer, ...]] = field(default_factory=dict)
    _refusals: dict[str, Refused] = field(default_factory=dict)
    _sets: dict[tuple[object, ...], tuple[gym.Instance, ...]] = field(default_factory=dict)
    _refused: dict[str, str] = field(default_factory=dict)

    async def ask(self) -> Answered:
        """First what the recommendations are chosen by, then the test problems.

        Raises BenchmarkError where the endpoint doesn't answer as it should.
        """
        choices = tuple([await self._choose(series) for series in self.plan.series if series.chosen])
        recommended = {choice.series: choice.setting for choice in choices}
        direct: list[Asked] = []
        worked: list[Asked] = []
        for series in self.plan.series:
            direct += await self._asked(series, self._problems("test", series), list(series.settings))
        for series in self.plan.series if self.plan.worked else ():
            if not series.worked:
                continue
            chosen = [recommended[series.name]] if series.chosen else list(series.settings)
            names = [name for name in chosen if name != PLAIN]
            worked += await self._asked(series, self._stepwise(), names)
        return Answered(tuple(direct), tuple(worked), choices, dict(self._refused))

    async def _choose(self, series: Series) -> Choice:
        """The most right answers on the validation split; of equals the plain answer, then the setting named first."""
        problems = self._problems("validation", series)
        trials: list[Trial] = []
        for name, setting in _plain_first(series).items():
            answers = await self._answers(setting, problems, f"{series.name}, {name}")
            if answers is not None:
                trials.append(Trial(name, share([answer.right for answer in answers])))
        best = max(trials, key=lambda trial: trial.share.right)
        return Choice(series.name, best.setting, tuple(trials))

    async def _asked(
        self, series: Series, problems: tuple[gym.Instance, ...], names: Sequence[str]
    ) -> list[Asked]:
        found = []
        for name in names:
            setting = series.settings[name]
            label = f"{series.name}, {name}"
            answers = await self._answers(setting, problems, label)
            if answers is None:
                continue
            plain = await self._answers(setting.plain, problems, f"{series.name}, {PLAIN}")
            fixed = None
            if series.fixed is not None and name != series.fixed:
                fixed = await self._answers(
                    series.settings[series.fixed], problems, f"{series.name}, {series.fixed}"
                )
            if plain is None:
                raise BenchmarkError(f"{self.endpoint.url}: {setting.model} gives no plain answers")
            found.append(Asked(series.name, name, problems, answers, plain, fixed))
        return found

    async def _answers(
        self, setting: Setting, problems: tuple[gym.Instance, ...], label: str
    ) -> tuple[Answer, ...] | None:
        """None where the server refuses the setting: that is told, and the others are still asked."""
        key = setting.key, id(problems)
        if setting.key not in self._refusals and key not in self._known:
            try:
                # Alone, so that a setting that is refused costs one request.
                first = await self._one(setting, problems[0])
                places = asyncio.Semaphore(self.plan.concurrency)

                async def placed(problem: gym.Instance) -> Answer:
                    async with places:
                        return await self._one(setting, problem)

                self._known[key] = first, *await together([placed(problem) for problem in problems[1:]])
            except Refused as refusal:
                if refusal.status >= 500 or setting.formula is None:
                    raise
                self._refusals[setting.key] = refusal
        if setting.key in self._refusals:
            self._refused[label] = str(self._refusals[setting.key])
            return None
        return self._known[key]

    async def _one(self, setting: Setting, problem: gym.Instance) -> Answer:
        contrast = setting.contrast(problem)
        answer = await self.endpoint.post(
            CHAT,
            {
                "model": self.endpoint.model if setting.model == BASE else setting.model,
                "messages": problem.messages(),
                "max_tokens": self.plan.longest,
                "temperature": 0,
                **({} if contrast is None else {"contrast": contrast}),
            },
        )
        try:
            text = str(answer["choices"][0]["message"]["content"] or "")
            applied = (answer.get("motet") or {}).get("contrast")
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise BenchmarkError(f"{CHAT}: not an OpenAI answer: {error!r}") from None
        if contrast is not None and not applied:
            raise BenchmarkError(f"{CHAT}: answered without the contrast that it was asked for")
        self.done()
        return Answer(text, problem.grade(text))

    def _problems(self, split: gym.Split, series: Series) -> tuple[gym.Instance, ...]:
        return self._kept((split, series.families), lambda: self.plan.problems(split, series.families))

    def _stepwise(self) -> tuple[gym.Instance, ...]:
        return self._kept(("worked",), self.plan.stepwise)

    def _kept(
        self, key: tuple[object, ...], draw: Callable[[], list[gym.Instance]]
    ) -> tuple[gym.Instance, ...]:
        if key not in self._sets:
            self._sets[key] = tuple(draw())
        return self._sets[key]


def questions_of(plan: Plan) -> int:
    """How many answers the plan wants at most: fewer where settings are refused, or plain answers recommended."""
    sizes: dict[tuple[object, gym.Split], int] = {}
    wanted: set[tuple[str, object, gym.Split]] = set()
    for series in plan.series:
        asked: dict[gym.Split, dict[str, Setting]] = {"test": {**_plain_first(series), **series.settings}}
        if series.chosen:
            asked["validation"] = _plain_first(series)
        for split, settings in asked.items():
            place = series.families, split
            if place not in sizes:
                sizes[place] = len(plan.problems(split, series.families))
            wanted |= {(setting.key, *place) for setting in settings.values()}
    direct = sum(sizes[families, split] for _, families, split in wanted)
    worked = [series for series in plan.series if series.worked]
    stepwise = {one.plain.key for series in worked for one in series.settings.values()}
    stepwise |= {one.key for series in worked if not series.chosen for one in series.settings.values()}
    recommended = sum(series.chosen for series in worked)
    return direct + (len(stepwise) + recommended) * len(plan.stepwise())


def _plain_first(series: Series) -> dict[str, Setting]:
    """The plain answer, then every setting that can differ from it."""
    settings = {
        name: one for name, one in series.settings.items() if one.formula is not None and one.formula.strength
    }
    return {PLAIN: next(iter(settings.values())).plain, **settings}
