"""Runs against an endpoint over real HTTP: killed, refused, resumed, graded again."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.machine import circumstances
from motet_benchmarks.pair import Pair
from motet_benchmarks.strategies.plan import Plan, wanted
from motet_benchmarks.strategies.records import Run, Sample
from motet_benchmarks.strategies.report.writing import write
from motet_benchmarks.strategies.run import measure
from motet_benchmarks.strategies.tasks.named import Choosing, tasks_of
from motet_benchmarks.strategies.testing import StrategiesFake
from motet_benchmarks.testing import running

HERE = circumstances(["bench", "strategies"])


@pytest.fixture
def measured(tmp_path: Path) -> Callable[..., Run]:
    """Asks `words` of a fake about the problems of a file; what is asked first decides the file."""
    problems = tmp_path / "sums.jsonl"
    problems.write_text("".join(f'{{"prompt": "{n} + 1?", "reference": {n + 1}}}\n' for n in range(4)))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    def run(fake: StrategiesFake, words: str, *, grader: str = "number", **more: Any) -> Run:
        plan = Plan(
            wanted=wanted(words.split(","), default=()),
            tasks=tuple(tasks_of([str(problems)], Choosing(count=1, grader=grader))),
            **{"folder": tmp_path / "run", **more},
        )
        # One endpoint, which may have been started anew.
        with running(fake, port):
            return asyncio.run(measure(plan, Pair(), where=HERE, url=fake.url)).run

    return run


def samples_in(folder: Path) -> list[Sample]:
    lines = (folder / "samples.jsonl").read_text().splitlines()
    return [Sample.model_validate_json(line) for line in lines]


def test_the_same_command_goes_on_where_it_stopped(measured: Callable[..., Run], tmp_path: Path):
    with pytest.raises(
        BenchmarkError, match=r"refused with 500: the fake is ill\n5 answers are in .*run; the same"
    ):
        measured(StrategiesFake(fails=7), "plain,contrast", concurrency=1)  # two are attempts
    samples = tmp_path / "run" / "samples.jsonl"
    kept = samples.read_bytes()
    assert len(kept.splitlines()) == 5
    # What a kill may leave of the last line.
    samples.write_bytes(kept[:-40])
    begun = (tmp_path / "run" / "run.json").read_bytes()
    fake = StrategiesFake()
    run = measured(fake, "plain,contrast")
    assert len(fake.bodies) == 5
    assert run.changed == ("concurrency 1, then 16",)
    assert measured(fake, "plain,contrast") == run
    assert len(fake.bodies) == 5
    assert len({(one.strategy, one.problem) for one in samples_in(tmp_path / "run")}) == 8
    found = [one.problem for one in samples_in(tmp_path / "run")]
    assert (found[:4], sorted(found[4:])) == (["1", "2", "3", "4"], ["1", "2", "3", "4"])
    first = Run.model_validate_json(begun)
    assert run.model_copy(update={"changed": ()}) == first


def test_a_folder_of_another_configuration_is_refused_and_left_alone(
    measured: Callable[..., Run], tmp_path: Path
):
    measured(StrategiesFake(), "plain")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    differing = (
        "seed 0 there, 4 here; tokens None there, 9 here; strategy sampled only here; task sums has changed"
    )
    with pytest.raises(
        BenchmarkError, match=f"holds a run of another configuration .{differing}.; name another"
    ):
        measured(StrategiesFake(), "plain,sampled", tokens=9, seed=4, grader="exact")
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_what_is_asked_is_seeded_bounded_and_the_same_for_all(measured: Callable[..., Run], tmp_path: Path):
    fake = StrategiesFake(gathers=3)
    measured(fake, "plain,sampled,best-of-2", draws=2, concurrency=3, seed=7, tokens=9)
    assert fake.busiest == 3
    assert {body["max_tokens"] for body in fake.bodies} == {9}
    plain, drawn, best = (
        [body for body in fake.bodies if body["temperature"] == temperature and ("best_of" in body) == best]
        for temperature, best in ((0, False), (1, False), (1, True))
    )
    assert (len(plain), len(drawn), len(best)) == (1 + 4, 1 + 8, 1 + 8), "an attempt each"
    assert all("seed" not in body for body in plain)
    seeds = {(json.dumps(body["messages"]), body["seed"]) for body in drawn}
    assert len({seed for _, seed in seeds}) == 8
    assert seeds == {(json.dumps(body["messages"]), body["seed"]) for body in best}
    again = StrategiesFake()
    measured(again, "sampled", draws=2, seed=7, folder=tmp_path / "again")
    assert seeds == {(json.dumps(body["messages"]), body["seed"]) for body in again.bodies}
    other = StrategiesFake()
    measured(other, "sampled", draws=2, seed=8, folder=tmp_path / "other")
    assert not {body["seed"] for body in other.bodies} & {seed for _, seed in seeds}


def test_no_strategy_finds_anothers_prompts_in_vllms_cache(measured: Callable[..., Run], tmp_path: Path):
    salts: list[dict[str, set[str | None]]] = []
    for owner in ("vllm", "motet", "somebody"):
        fake = StrategiesFake(owner=owner)
        measured(fake, "plain,contrast", folder=tmp_path / owner)
        salts.append(
            {
                name: {body.get("cache_salt") for body in fake.bodies if ("contrast" in body) == contrasted}
                for name, contrasted in (("plain", False), ("contrast", True))
            }
        )
    vllm, motet, somebody = salts
    assert somebody == {"plain": {None}, "contrast": {None}}
    assert [len(each) for each in (*vllm.values(), *motet.values())] == [2] * 4, (
        "its answers', and its attempt's"
    )
    both = set().union(*vllm.values(), *motet.values())
    assert len(both) == 8
    # What vLLM takes: no slashes, which names of strategies have, and at most 128 characters.
    assert all(salt is not None and salt.isalnum() and len(salt) <= 128 for salt in both)


def test_strategies_that_are_refused_cost_few_requests_and_are_tried_again(measured: Callable[..., Run]):
    def refuses(body: dict[str, Any]) -> str | None:
        return "best_of: no reward here" if body.get("best_of") else None

    fake = StrategiesFake(refuses=refuses)
    run = measured(fake, "plain,best-of-8,contrast")
    assert list(run.refused) == ["best-of-8"]
    assert "refused with 400: best_of: no reward here" in run.refused["best-of-8"]
    tried = [body["messages"][0]["content"] for body in fake.bodies if "best_of" in body]
    assert tried == ["0 + 1?", "3 + 1?"], "it may have been the problem's fault"
    # Another server of the same model does serve it.
    fake = StrategiesFake()
    assert measured(fake, "plain,best-of-8,contrast").refused == {}
    assert len(fake.bodies) == 1 + 4


@pytest.mark.parametrize("long", [0, 2, 3])
def test_a_problem_that_is_refused_is_an_empty_answer_and_is_asked_again(
    measured: Callable[..., Run], tmp_path: Path, long: int
):
    def refuses(body: dict[str, Any]) -> str | None:
        told = f"{long} + 1?" in body["messages"][0]["content"]
        return "messages: too long" if told and body.get("contrast") else None

    assert measured(StrategiesFake(refuses=refuses), "plain,contrast").refused == {}
    samples = {(one.strategy, one.problem): one for one in samples_in(tmp_path / "run")}
    assert len(samples) == 8
    refused = [key for key, one in samples.items() if one.refusal is not None]
    assert refused == [("contrast", str(long + 1))]
    one = samples[refused[0]]
    assert (one.text, one.score, one.finish, one.forwards) == ("", 0.0, "refused", 0)
    assert one.refusal is not None
    assert one.refusal.startswith(f"sums, problem {long + 1}: ")
    assert one.refusal.endswith("refused with 400: messages: too long")
    # The same server refuses it again, and nothing is lost.
    for _ in range(2):
        assert measured(StrategiesFake(refuses=refuses), "plain,contrast").refused == {}
        kept = {(one.strategy, one.problem): one.refusal is None for one in samples_in(tmp_path / "run")}
        assert (len(kept), [key for key, answered in kept.items() if not answered]) == (8, refused)
    # It may have been started anew with a longer context.
    fake = StrategiesFake()
    measured(fake, "plain,contrast")
    assert [body["messages"][0]["content"] for body in fake.bodies] == [f"{long} + 1?"] * 2, (
        "an attempt first"
    )
    assert [one.refusal for one in samples_in(tmp_path / "run")] == [None] * 8


def test_a_strategy_that_is_gone_in_the_middle_is_refused_and_its_answers_stay(
    measured: Callable[..., Run], tmp_path: Path
):
    class Forgetful(StrategiesFake):
        async def answer(self, request: Request) -> Response:
            if (await request.json()).get("contrast") and len(self.bodies) > 7:
                return JSONResponse({"error": {"message": "no such model"}}, status_code=404)
            return await super().answer(request)

    run = measured(Forgetful(), "plain,contrast", concurrency=1)
    assert "refused with 404: no such model" in run.refused["contrast"]
    kept = [(one.strategy, one.refusal) for one in samples_in(tmp_path / "run")]
    assert kept == [("plain", None)] * 4 + [("contrast", None)] * 2
    # With all but a part answered, a strategy that isn't served is told from problems that are too long.
    again = measured(
        StrategiesFake(refuses=lambda body: body.get("contrast") and "no voice"), "plain,contrast"
    )
    assert "no voice" in again.refused["contrast"]
    assert measured(StrategiesFake(), "plain,contrast").refused == {}
    assert len(samples_in(tmp_path / "run")) == 8


def test_a_grader_is_shown_answers_alone_and_each_once(measured: Callable[..., Run], tmp_path: Path):
    shown = tmp_path / "shown"
    shown.touch()
    grader = tmp_path / "mine.py"
    grader.write_text(
        "import pathlib\n\n\ndef graded(text, fields):\n"
        f"    with pathlib.Path({str(shown)!r}).open('a') as lines:\n        lines.write(text + '\\n')\n    return 1\n"
    )

    def refuses(body: dict[str, Any]) -> str | None:
        return "messages: too long" if "1 + 1?" in body["messages"][0]["content"] else None

    measured(StrategiesFake(refuses=refuses), "plain,contrast", grader=f"python:{grader}:graded")
    assert shown.read_text() == "words\n" * 6
    assert [one.score for one in samples_in(tmp_path / "run") if one.refusal is not None] == [0.0, 0.0]


def test_answers_that_warm_up_come_at_once_and_are_not_kept(measured: Callable[..., Run], tmp_path: Path):
    def refuses(body: dict[str, Any]) -> str | None:
        return "messages: too long" if "1 + 1?" in body["messages"][0]["content"] else None

    fake = StrategiesFake(refuses=refuses, gathers=3, owner="vllm")
    run = measured(fake, "plain,contrast", warm_up=6, concurrency=3)
    assert (run.warm_up, fake.busiest) == (6, 3)
    # Either strategy: one by itself, five at once, and all that count.
    assert len(fake.bodies) == 2 * (1 + 5 + 4)
    assert len(samples_in(tmp_path / "run")) == 8
    salts = [body["cache_salt"] for body in fake.bodies]
    assert not set(salts[:6]) & set(salts[6:10])


def test_a_strategys_own_bound_comes_before_the_runs_and_that_before_the_tasks(
    measured: Callable[..., Run], tmp_path: Path
):
    def bounds(words: str, **more: Any) -> set[tuple[int | None, int | None]]:
        fake = StrategiesFake()
        measured(fake, words, folder=tmp_path / f"{words} {more}".replace("/", ""), **more)
        return {(body.get("max_tokens"), body.get("max_completion_tokens")) for body in fake.bodies}

    file = tmp_path / "own.yaml"
    file.write_text("short: {sampling: {max_completion_tokens: 3}}\n")
    assert bounds("plain") == {(512, None)}
    assert bounds("plain", tokens=9) == {(9, None)}
    assert bounds(str(file), tokens=9) == {(None, 3)}


def test_an_endpoint_that_ignores_what_is_asked_for_is_no_better_than_one_that_refuses(
    measured: Callable[..., Run], tmp_path: Path
):
    run = measured(StrategiesFake(ignores=True), "plain,contrast,best-of-8")
    assert {name: said.partition(": ")[2] for name, said in run.refused.items()} == {
        "contrast": "answered without the contrast that it was asked for",
        "best-of-8": "answered without the best_of that it was asked for",
    }
    with pytest.raises(BenchmarkError, match=r"serves none of the strategies:\n  contrast: "):
        measured(StrategiesFake(ignores=True), "contrast", folder=tmp_path / "none")


@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_what_is_no_refusal_of_a_strategy_ends_the_run(measured: Callable[..., Run], status: int):
    with pytest.raises(BenchmarkError, match=f"refused with {status}: the fake refuses"):
        measured(StrategiesFake(status=status), "plain,contrast")


def test_a_grader_that_raises_loses_nothing_and_can_be_mended(measured: Callable[..., Run], tmp_path: Path):
    grader = tmp_path / "mine.py"
    named = f"python:{grader}:graded"
    grader.write_text("def graded(text, fields):\n    return 0.5 if fields['reference'] != 3 else 1 / 0\n")
    fake = StrategiesFake()
    told = r"sums\.jsonl: line 3: the grader python:.*:graded failed on an answer \(ZeroDivisionError"
    with pytest.raises(BenchmarkError, match=told):
        measured(fake, "plain", grader=named, concurrency=1)
    assert [one.score for one in samples_in(tmp_path / "run")] == [0.5, 0.5, None, 0.5]
    with pytest.raises(BenchmarkError, match=told):
        measured(fake, "plain", grader=named, concurrency=1)
    grader.write_text("def graded(text, fields):\n    return fields['reference'] / 4\n")
    measured(fake, "plain", grader=named, concurrency=1)
    assert len(fake.bodies) == 1 + 4
    assert [one.score for one in samples_in(tmp_path / "run")] == [0.25, 0.5, 0.75, 1.0]


def test_nobody_judges_or_grades_while_answers_are_timed(measured: Callable[..., Run], tmp_path: Path):
    order: list[str] = []

    class Ordered(StrategiesFake):
        async def judge(self, request: Request) -> JSONResponse:
            order.append("judge")
            return await super().judge(request)

    grader = tmp_path / "mine.py"
    grader.write_text(
        "import pathlib\n"
        f"def graded(text, fields):\n    return len(pathlib.Path({str(tmp_path / 'run' / 'samples.jsonl')!r})"
        ".read_text().splitlines()) / 8\n"
    )
    fake = Ordered(reply=lambda body: order.append("answer") or "words")  # type: ignore[func-returns-value]
    measured(fake, "plain,contrast", judge="fake-reward", grader=f"python:{grader}:graded")
    # A trial of the judge; then for either strategy an attempt, all answers, and their rewards.
    parts = [(name, len(list(part))) for name, part in groupby(order)]
    assert [name for name, _ in parts] == ["judge", "answer", "judge", "answer", "judge"]
    assert [count for name, count in parts if name == "answer"] == [5, 5]
    scores = {(one.strategy, one.score) for one in samples_in(tmp_path / "run")}
    assert scores == {("plain", 0.5), ("contrast", 1.0)}, (
        "all of a strategy's answers lie there before one is graded"
    )


def test_answers_that_are_under_way_when_one_fails_are_kept(measured: Callable[..., Run], tmp_path: Path):
    class Failing(StrategiesFake):
        async def answer(self, request: Request) -> Response:
            if len(self.bodies) >= 1 and "2 + 1" in str(await request.json()):
                while self.busiest < 3:
                    await asyncio.sleep(0.005)
                return JSONResponse({"error": {"message": "the fake is ill"}}, status_code=500)
            return await super().answer(request)

    with pytest.raises(BenchmarkError, match="the fake is ill\n3 answers are in"):
        measured(Failing(seconds=lambda body: 0.2, gathers=3), "plain")
    assert {one.problem for one in samples_in(tmp_path / "run")} == {"1", "2", "4"}


def test_another_endpoint_or_server_is_another_run(measured: Callable[..., Run], tmp_path: Path):
    measured(StrategiesFake(), "plain")
    plan = Plan(
        wanted=wanted(["plain"], default=()),
        tasks=tuple(tasks_of([str(tmp_path / "sums.jsonl")], Choosing(count=1, grader="number"))),
        folder=tmp_path / "run",
    )
    with (
        running(StrategiesFake()) as other,
        pytest.raises(BenchmarkError, match=rf"url 'http://.*' there, '{other.url}' here"),
    ):
        asyncio.run(measure(plan, Pair(), where=HERE, url=other.url))
    assert not other.bodies


def test_answers_have_rewards_and_those_the_judge_cannot_read_have_none(
    measured: Callable[..., Run], tmp_path: Path
):
    fake = StrategiesFake(reply=lambda body: "long " * 30 if "2 + 1" in str(body) else "short")
    measured(fake, "plain", judge="fake-reward")
    rewards = {one.text[:5]: one.reward for one in samples_in(tmp_path / "run")}
    assert rewards == {"long ": None, "short": 5.0}
    with pytest.raises(BenchmarkError, match=r"--judge nobody: .*refused with 404: no such reward"):
        measured(StrategiesFake(), "plain", judge="nobody", folder=tmp_path / "other")


def test_every_configuration_has_a_folder_of_its_own(
    measured: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MOTET_HOME", str(tmp_path / "home"))
    fake = StrategiesFake()
    for words in ("plain", "sampled", "plain"):
        measured(fake, words, folder=None)
    assert len(fake.bodies) == 1 + 4 + 1 + 4
    assert len(list((tmp_path / "home" / "runs").iterdir())) == 2


def test_no_file_of_a_run_holds_a_password(measured: Callable[..., Run], tmp_path: Path):
    plan = Plan(
        wanted=wanted(["plain", "contrast"], default=()),
        tasks=tuple(tasks_of(["gym"], Choosing(count=1, families=["addition"]))),
        folder=tmp_path / "run",
    )
    with running(StrategiesFake(refuses=lambda body: "no voice" if body.get("contrast") else None)) as fake:
        url = fake.url.replace("http://", "http://me:geheim@")
        here = circumstances(["bench", "strategies", "--url", url])
        run = asyncio.run(measure(plan, Pair(), where=here, url=url)).run
    assert run.refused
    write(tmp_path / "run")
    files = [path for path in (tmp_path / "run").iterdir() if path.is_file()]
    assert len(files) >= 5
    assert not [path.name for path in files if "geheim" in path.read_text()]


def test_a_run_that_is_stopped_keeps_its_answers_and_says_so(tmp_path: Path):
    fake = StrategiesFake(seconds=lambda body: 0.01)
    begun = threading.Event()

    def reply(body: dict[str, Any]) -> str:
        if len(fake.bodies) > 40:  # so that two dozen have their answers
            begun.set()
        return "words"

    fake.reply = reply
    with running(fake):
        command = [sys.executable, "-c", "from motet_server.cli import app; app()", "bench", "strategies"]
        words = [
            "--url",
            fake.url,
            "--strategies",
            "sampled",
            "--draws",
            "1000",
            "--run",
            str(tmp_path / "run"),
        ]
        with subprocess.Popen([*command, *words], stderr=subprocess.PIPE, text=True) as process:
            assert begun.wait(60)
            process.terminate()
            _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    kept = len(samples_in(tmp_path / "run"))
    assert kept > 0
    assert f"{kept:,} answers are in {tmp_path / 'run'}; the same command goes on from there" in told
