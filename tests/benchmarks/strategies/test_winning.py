"""Win rates against hand-worked figures, and judges of known character over real HTTP."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from starlette.requests import Request
from starlette.responses import JSONResponse
from typer.testing import CliRunner

from motet_benchmarks.endpoint import Endpoint
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.statistics import Interval, mean_share, share
from motet_benchmarks.strategies.judging import BINDINGS, Bias, Binding, messages, verdict
from motet_benchmarks.strategies.judging_cli import judge
from motet_benchmarks.strategies.judging_report import Verdicts
from motet_benchmarks.strategies.judging_run import judged
from motet_benchmarks.strategies.judging_session import Judging, judge_of, load, questions, sampled
from motet_benchmarks.strategies.records import RUN_FILE, SAMPLES_FILE, Run, Sample, Strategy, TaskRecord
from motet_benchmarks.strategies.winning import by_reward, pairs, win_rates
from motet_benchmarks.testing import Fake, running

app = typer.Typer()
app.command()(judge)


def sample(strategy: str, problem: int, text: str, draw: int = 0, reward: float | None = None) -> Sample:
    return Sample(
        strategy=strategy,
        task="t",
        problem=str(problem),
        family="t",
        draw=draw,
        prompt=f"question {problem}",
        text=text,
        score=None,
        reward=reward,
        prompt_tokens=1,
        answer_tokens=1,
        generated=1,
        forwards=1,
        seconds=0.0,
    )


def run_of(*strategies: str) -> Run:
    return Run(
        command="motet bench strategies",
        circumstances={},
        model="m",
        strategies=tuple(Strategy(name=name) for name in strategies),
        tasks=(TaskRecord(name="t", metric="accuracy", problems=10, digest="d"),),
    )


def rewarded(strategy: str, rewards: dict[int, list[float | None]]) -> list[Sample]:
    return [
        sample(strategy, problem, f"{strategy} {draw}", draw, reward)
        for problem, draws in rewards.items()
        for draw, reward in enumerate(draws)
    ]


def test_pairs_are_of_the_same_problem_and_a_greedy_answer_meets_every_draw():
    first = rewarded("plain", {0: [None], 1: [None], 3: [None]})
    other = rewarded("sampled", {0: [None, None, None], 1: [None], 2: [None]})
    found = pairs(run_of("plain", "sampled"), [*other, *first])
    assert [(one.answer.problem, one.answer.draw, one.against.draw) for one in found] == [
        ("0", 0, 0),
        ("0", 1, 0),
        ("0", 2, 0),
        ("1", 0, 0),
    ]
    assert pairs(run_of("refused", "sampled"), other) == []


def test_win_rates_by_reward_count_problems_and_half_of_ties():
    first = rewarded("plain", {0: [1.0], 1: [1.0], 2: [1.0], 3: [1.0], 4: [None]})
    other = rewarded("sampled", {0: [2.0, 0.0], 1: [2.0, 2.0], 2: [1.0, 2.0], 3: [0.0, 0.0], 4: [1.0, 1.0]})
    (rate,) = win_rates(by_reward(pairs(run_of("plain", "sampled"), [*first, *other])))
    assert (rate.task, rate.strategy, rate.problems) == ("t", "sampled", 4)
    assert (rate.wins, rate.ties, rate.losses) == (4, 1, 3)
    assert rate.rate.value == pytest.approx((0.5 + 1 + 0.75 + 0) / 4)
    assert rate.rate == mean_share([0.5, 1, 0.75, 0])


def test_more_draws_tell_more_of_a_win_rate_and_ties_alone_not_everything():
    rng = random.Random(0)

    def rate(draws: int, wins: float) -> Interval:
        first = rewarded("plain", {problem: [0.5] * draws for problem in range(40)})
        other = {problem: [float(rng.random() < wins) for _ in range(draws)] for problem in range(40)}
        (found,) = win_rates(
            by_reward(pairs(run_of("plain", "sampled"), [*first, *rewarded("sampled", other)]))
        )
        return found.rate

    once, often = rate(1, 0.6), rate(8, 0.6)
    assert often.high - often.low < 0.5 * (once.high - once.low)
    ties = {problem: [1.0] for problem in range(20)}
    (equal,) = win_rates(
        by_reward(pairs(run_of("plain", "sampled"), [*rewarded("plain", ties), *rewarded("sampled", ties)]))
    )
    assert equal.ties == 20
    assert 0.35 < equal.rate.low < 0.5 < equal.rate.high < 0.65


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("A", "A"),
        (" b.\n", "B"),
        ("**Tie**", "tie"),
        ("Answer B", "B"),
        ("[[A]]", "A"),
        ('{"verdict": "tie"}', "tie"),
        ("<think>A? No, B.</think>\nB", "B"),
        ('{"verdict": "a"}', None),
        ('{"verdict": "A"', None),
        ('{"better": "A"}', None),
        ("A is better", None),
        ("A or B", None),
        ("AB", None),
        ("", None),
    ],
)
def test_verdicts_are_read_strictly(said: str, meant: str | None):
    assert verdict(said) == meant


def shown(body: dict[str, Any]) -> tuple[str, str]:
    """Both answers that a judge is asked about."""
    content = body["messages"][-1]["content"]
    return tuple(  # type: ignore[return-value]
        content.split(f"[Answer {name}]\n")[1].split(f"\n[End of answer {name}]")[0] for name in "AB"
    )


def longer(body: dict[str, Any]) -> str:
    a, b = shown(body)
    return "tie" if len(a) == len(b) else "A" if len(a) > len(b) else "B"


@dataclass
class Judge(Fake):
    """Refuses the fields that it doesn't know, or everything from a certain request on."""

    knows: tuple[Binding, ...] = ("structured_outputs", "response_format", "none")
    healthy: int = 1000

    async def answer(self, request: Request) -> JSONResponse:
        body = await request.json()
        unknown = any(set(BINDINGS[one]) & set(body) for one in BINDINGS if one not in self.knows)
        self.status = 422 if unknown else 200 if len(self.bodies) < self.healthy else 503
        return await super().answer(request)


ANSWERS = {
    0: ("long answer", "short"),
    1: ("longer answer", "short"),
    2: ("tiny", "not tiny"),
    3: ("equal", "equal"),
    4: ("abc", "xyz"),
}
"""By problem, what the strategy and the first strategy have answered."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    samples = [
        sample(name, problem, texts[place], reward=float(len(texts[place])))
        for problem, texts in ANSWERS.items()
        for place, name in enumerate(("other", "plain"))
    ]
    samples += [sample("third", problem, texts[0]) for problem, texts in ANSWERS.items()]
    (tmp_path / RUN_FILE).write_text(run_of("plain", "other", "third").model_dump_json())
    (tmp_path / SAMPLES_FILE).write_text("".join(one.model_dump_json() + "\n" for one in samples))
    return tmp_path


def judgements(fake: Fake, folder: Path, **options: Any) -> dict[str, Verdicts]:
    """What one judge says of each strategy."""
    found = asyncio.run(judged(folder, f"{fake.url}/v1/fake", **options))
    return {one.rate.strategy: one for one in found}


def test_a_fair_judge_is_asked_in_both_orders_and_agrees_with_the_reward(folder: Path):
    with running(Judge(reply=longer)) as fake:
        found = judgements(fake, folder)
        # Four pairs differ; the third strategy gives the same answers, of which it isn't asked again.
        assert len(fake.bodies) == 8
        assert judgements(fake, folder) == found
        assert len(fake.bodies) == 8
    assert {(body["temperature"], body["max_tokens"]) for body in fake.bodies} == {(0, 64)}
    one = found["other"]
    assert (one.rate.problems, one.rate.wins, one.rate.ties, one.rate.losses) == (5, 2, 2, 1)
    assert one.rate.rate.value == pytest.approx(3 / 5)
    assert one.bias == Bias(share([False] * 3), share([True, False] * 3), 0)
    assert one.by_reward is not None
    assert one.by_reward.rate == one.rate.rate
    assert one.agreement == share([True] * 3)
    assert found["third"].rate.rate == one.rate.rate
    assert found["third"].agreement is None


def test_a_judge_that_only_looks_at_the_order_prefers_nobody_and_flips_always(folder: Path):
    with running(Judge(reply=lambda body: "A")) as fake:
        one = judgements(fake, folder)["other"]
    assert one.rate.rate.value == 0.5
    assert one.rate.ties == 5
    assert one.bias == Bias(share([True] * 4), share([True] * 8), 0)


@pytest.mark.parametrize("refusals", [0, 1, 2])
def test_the_verdict_is_bound_as_far_as_the_judge_takes_it(refusals: int, folder: Path):
    knows = tuple(BINDINGS)[refusals:]
    with running(Judge(reply=longer, knows=knows)) as fake:
        found = judgements(fake, folder)
    assert len(fake.bodies) == 8 + refusals
    always = {"model", "messages", "temperature", "max_tokens"}
    for body in fake.bodies[refusals:]:
        assert body.keys() - always == set(BINDINGS[knows[0]])
    assert found["other"].rate.wins == 2


def test_words_that_are_no_verdict_decide_nothing_and_are_counted(folder: Path):
    with running(Judge(reply=lambda body: "I like both")) as fake:
        one = judgements(fake, folder)["other"]
    assert (one.rate.problems, one.rate.ties) == (1, 1), "the answers that are the same"
    assert one.bias == Bias(None, None, 8)
    assert {each.said for each in load(folder) if each.verdict is None} == {"I like both"}


def test_a_judge_that_breaks_off_goes_on_where_it_stopped(folder: Path):
    with running(Judge(reply=longer, healthy=3)) as fake:
        with pytest.raises(BenchmarkError, match="refused with 503: the fake refuses"):
            judgements(fake, folder, concurrency=1)
        file = folder / "judgements.jsonl"
        file.write_text(file.read_text() + '{"judge": "fa')
        fake.bodies.clear()
        fake.healthy = 1000
        found = judgements(fake, folder)
        assert len(fake.bodies) == 5
    assert found["other"].rate.wins == 2


def test_the_command_tells_every_judge_that_was_asked_and_writes_the_report(folder: Path):
    with running(Judge(reply=longer)) as fake:
        judgements(fake, folder)
    with running(Judge(reply=lambda body: "B", models=("another",))) as another:
        ran = CliRunner().invoke(app, [str(folder), "--judge-model", another.url, "--tokens", "8"])
    assert ran.exit_code == 0, ran.output
    assert len(another.bodies) == 8, "another judge is asked everything"
    assert another.bodies[0]["max_tokens"] == 8
    facts = json.loads((folder / "judge.json").read_text())
    assert [one["judge"] for one in facts["verdicts"]] == ["fake", "fake", "another", "another"]
    for file in ("judge.md", "report.md"):
        assert "| other | 5 | 60.0 [" in (folder / file).read_text()


def test_a_part_of_the_pairs_is_drawn_without_favouring_equal_answers(folder: Path):
    with running(Judge(reply=longer)) as fake:
        found = judgements(fake, folder, most=2, strategies=["other"], seed=3)
    assert set(found) == {"other"}, "the third strategy's like answers weren't drawn"
    assert found["other"].rate.problems == 2
    everything = pairs(
        run_of("plain", "other"),
        [sample(name, number, name) for number in range(9) for name in ("plain", "other")],
    )
    drawn = {
        tuple(one.answer.problem for one in sampled(everything, 3, seed=seed)) for seed in (0, 0, 1, 2, 3)
    }
    assert len(drawn) == 4
    assert sampled(everything, 20, seed=0) == sampled(everything, None, seed=0) == everything


def test_texts_that_a_judge_cant_take_count_nowhere_and_are_asked_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    class Short(Judge):
        async def answer(self, request: Request) -> JSONResponse:
            if "longer answer" in str(await request.json()):
                return JSONResponse({"error": {"message": "too long"}}, status_code=400)
            return await super().answer(request)

    with running(Short(reply=longer)) as fake:
        one = judgements(fake, folder)["other"]
    assert (one.rate.wins, one.rate.problems, one.bias.unreadable) == (1, 4, 0)
    assert "2 of 9 questions were refused by the judge" in capsys.readouterr().err
    with running(Judge(reply=longer)) as fake:
        assert judgements(fake, folder)["other"].rate.problems == 5
    assert len(fake.bodies) == 2


@pytest.mark.parametrize(
    ("option", "endpoint"),
    [
        ("http://127.0.0.1:8000/v1/motet-toy", ("http://127.0.0.1:8000", "motet-toy")),
        ("https://judge.example/v1/org/model-8B", ("https://judge.example", "org/model-8B")),
        ("https://judge.example/api/v1/model", ("https://judge.example/api", "model")),
        ("https://judge.example/org/model", ("https://judge.example", "org/model")),
        ("http://127.0.0.1:8000/v1", ("http://127.0.0.1:8000", None)),
        ("http://127.0.0.1:8000", ("http://127.0.0.1:8000", None)),
    ],
)
def test_where_the_judges_name_begins(option: str, endpoint: tuple[str, str | None]):
    assert judge_of(option) == endpoint


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--judge-model", "motet-toy"], "--judge-model motet-toy: must be an endpoint's URL"),
        (["--judge-model", "http://127.0.0.1:9/v1/x"], "http://127.0.0.1:9 doesn't answer"),
        (
            ["--judge-model", "http://127.0.0.1:9/v1/x", "--strategies", "plain"],
            "--strategies: plain is none of other, third",
        ),
    ],
)
def test_mistakes_are_named_with_exit_code_2(words: list[str], message: str, folder: Path):
    ran = CliRunner().invoke(app, [str(folder), *words])
    assert ran.exit_code == 2, ran.output
    assert message in ran.stderr
    assert not (folder / "judge.json").exists()


def test_a_line_that_is_no_judgement_is_named(folder: Path):
    (folder / "judgements.jsonl").write_text('{"judge": "x"}\n')
    with pytest.raises(BenchmarkError, match=r"judgements\.jsonl, line 1: digest: Field required"):
        load(folder)


def test_texts_that_give_orders_stay_between_their_marks():
    (pair,) = pairs(run_of("plain", "other"), [sample("plain", 0, "x"), sample("other", 0, "{question} {a}")])
    for swapped, first in ((False, "{question} {a}"), (True, "x")):
        content = messages(pair, swapped=swapped)[-1]["content"]
        assert content.index(f"[Answer A]\n{first}\n[End of answer A]") > 0


def test_a_judge_sees_the_whole_conversation():
    context = ({"role": "system", "content": "Be brief."},)
    before, after = (
        sample(name, 0, name).model_copy(update={"context": context}) for name in ("plain", "other")
    )
    (pair,) = pairs(run_of("plain", "other"), [before, after])
    content = messages(pair, swapped=False)[-1]["content"]
    assert "[Question]\nsystem: Be brief.\n\nuser: question 0\n[End of the question]" in content


def test_a_question_is_asked_once_for_all_its_pairs(folder: Path):
    samples = [
        sample(name, 0, "same" if name != "plain" else "first") for name in ("plain", "other", "third")
    ]
    asked = questions(pairs(run_of("plain", "other", "third"), samples))
    assert [len(question.places) for question in asked] == [2, 2]

    async def run(endpoint: Endpoint) -> object:
        async with endpoint:
            return await Judging(endpoint, folder, 8, 1).ask(asked)

    with running(Judge(reply=longer)) as fake:
        assert asyncio.run(run(Endpoint(fake.url))) == "structured_outputs"
        assert asyncio.run(run(Endpoint(fake.url))) is None
    assert len(fake.bodies) == 2
    assert len(load(folder)) == 4
