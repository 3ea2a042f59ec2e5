"""Tasks of lm_eval: its program run for real where it is installed, and a stand-in of it everywhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from motet_benchmarks.cli import app
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.strategies import lm_eval_process
from motet_benchmarks.strategies.asking import Asker
from motet_benchmarks.strategies.folder import RunFolder, key_of
from motet_benchmarks.strategies.grading import grade
from motet_benchmarks.strategies.lm_eval import LmEvalTask
from motet_benchmarks.strategies.lm_eval_process import INSTALL, Harness, find
from motet_benchmarks.strategies.lm_eval_proxy import proxy
from motet_benchmarks.strategies.lm_eval_rows import Choice, chosen, read
from motet_benchmarks.strategies.records import Run, Sample, Strategy
from motet_benchmarks.strategies.session import Session
from motet_benchmarks.strategies.streaming import StreamingEndpoint
from motet_benchmarks.strategies.tasks.of_gym import GymTask
from motet_benchmarks.strategies.tasks.task import Task, record_of
from motet_benchmarks.strategies.testing import PROMPT_TOKENS, TOKENS, StrategiesFake
from motet_benchmarks.strategies.testing_lm_eval import install
from motet_benchmarks.testing import running

PROBLEMS = [{"question": f"What is {one} + 1?", "answer": str(one + 1)} for one in range(4)]
PLAIN = Strategy(name="plain", sampling={"temperature": 0})
CONTRAST = Strategy(
    name="contrast",
    model="motet-sft",
    sampling={"temperature": 0.7, "top_p": 0.9},
    contrast={"strength": 2.0},
)


def adding(body: dict[str, Any]) -> str:
    number = int(body["messages"][-1]["content"].split()[2])
    return f"it is {number + 1}" if number % 2 else str(number + 1)


@pytest.fixture
def task(tmp_path: Path) -> LmEvalTask:
    file = tmp_path / "sums.jsonl"
    file.write_text("".join(json.dumps(problem) + "\n" for problem in PROBLEMS))
    return LmEvalTask(f"lm-eval:{file}", program=install(tmp_path))


def asked(
    fake: StrategiesFake,
    tasks: Sequence[Task],
    folder: Path,
    *strategies: Strategy,
    draws: int = 1,
    done: Callable[[int], None] = lambda count: None,
) -> dict[tuple[str, str, str, int], Sample]:
    """All samples of a run to its end."""
    run = Run(
        command="motet bench strategies",
        circumstances={},
        model="motet-toy",
        strategies=strategies,
        tasks=tuple(map(record_of, tasks)),
        draws=draws,
    )

    async def ask() -> dict[tuple[str, str, str, int], Sample]:
        with RunFolder(folder, run) as kept:
            await grade(kept, tasks)
            async with StreamingEndpoint(fake.url) as endpoint:
                asker = Asker(endpoint, run)
                await Session(asker, kept, tasks, concurrency=2, done=done).ask()
            return dict(kept.samples)

    return asyncio.run(ask())


def test_problems_are_listed_without_asking_anybody(task: LmEvalTask):
    record = record_of(task)
    assert (record.name, record.metric, record.problems) == (task.name, "exact_match", 4)
    assert [problem.reference for problem in task.problems] == ["1", "2", "3", "4"]
    assert task.problems[0].messages == ({"role": "user", "content": "What is 0 + 1?"},)
    program = task.harness.program
    others = [
        LmEvalTask(task.name, limit=2, program=program),
        LmEvalTask(task.name, options=("--system_instruction", "Add."), program=program),
        LmEvalTask(f"{task.name}:exact_match:last-word", program=program),
    ]
    assert [len(each.problems) for each in others] == [2, 4, 4]
    assert len({record.digest, *(record_of(each).digest for each in others)}) == 4


def test_every_request_gets_the_strategys_fields_and_keeps_lm_evals_own(task: LmEvalTask, tmp_path: Path):
    settled: list[int] = []
    with running(StrategiesFake(reply=adding)) as fake:
        found = asked(fake, [task], tmp_path / "run", PLAIN, CONTRAST, draws=2, done=settled.append)
    (first, *plain), (second, *drawn) = fake.bodies[:5], fake.bodies[5:]
    assert (first["max_tokens"], second["max_tokens"]) == (128, 128), (
        "an attempt, which lm_eval doesn't ask for"
    )
    assert len(drawn) == 8, "greedy answers are drawn once, others twice"
    assert all((body["max_tokens"], body["stop"]) == (16, ["\n"]) for body in plain + drawn)
    assert {(body["model"], body["temperature"], "seed" in body) for body in plain} == {
        ("motet-toy", 0, False)
    }
    for body in drawn:
        assert (body["model"], body["temperature"], body["top_p"]) == ("motet-sft", 0.7, 0.9)
        assert body["contrast"] == {"strength": 2.0}
    assert len({body["seed"] for body in drawn}) == 8
    assert sum(settled) == len(found) == 12
    one = found["contrast", task.name, "sums/1", 1]
    assert (one.family, one.prompt, one.reference) == ("sums", "What is 1 + 1?", "2")
    assert (one.text, one.score) == ("it is 2", 0.0)
    assert one.forwards == 2 * (PROMPT_TOKENS + TOKENS), "prompt and answer, by the model and the amateur"
    assert one.first_token is not None
    scores = [found["plain", task.name, f"sums/{number}", 0].score for number in range(4)]
    assert scores == [1.0, 0.0, 1.0, 0.0]


def test_a_metric_and_a_filter_can_be_named(task: LmEvalTask, tmp_path: Path):
    named = LmEvalTask(f"{task.name}:exact_match:last-word", program=task.harness.program)
    with running(StrategiesFake(reply=adding)) as fake:
        found = asked(fake, [named], tmp_path / "run", PLAIN)
    assert [(sample.score, sample.text) for sample in found.values()][1] == (1.0, "it is 2")
    assert {sample.score for sample in found.values()} == {1.0}


def test_a_run_that_broke_off_goes_on_where_it_stopped(task: LmEvalTask, tmp_path: Path):
    folder = tmp_path / "run"
    with running(StrategiesFake(reply=adding, fails=3)) as fake:
        with pytest.raises(BenchmarkError, match="refused with 500: the fake is ill"):
            asked(fake, [task], folder, PLAIN)
        samples = folder / "samples.jsonl"
        lines = [json.loads(line) for line in samples.read_text().splitlines()]
        assert [line["score"] for line in lines] == [None, None], "answered, and not graded yet"
        samples.write_text(samples.read_text() + '{"strategy": "pl')
        fake.fails = None
        fake.bodies.clear()
        found = asked(fake, [task], folder, PLAIN)
        assert len(fake.bodies) == 1 + 2
        assert sorted((sample.text, sample.score) for sample in found.values()) == [
            ("1", 1.0),
            ("3", 1.0),
            ("it is 2", 0.0),
            ("it is 4", 0.0),
        ]
        assert task.harness.program is not None
        task.harness.program.unlink()  # nothing is left to be graded
        assert asked(fake, [task], folder, PLAIN) == found
        assert len(fake.bodies) == 1 + 2


def test_a_strategy_that_the_endpoint_refuses_is_recorded_and_the_rest_goes_on(
    task: LmEvalTask, tmp_path: Path
):
    def refuses(body: dict[str, Any]) -> str | None:
        return "no such voice" if "contrast" in body else None

    gym = GymTask(count=1, seed=0, families=["addition"])
    settled: list[int] = []
    for tasks, wanted in (([task], 8), ([gym, task], 10)):
        settled.clear()
        folder = tmp_path / f"run-{len(tasks)}"
        with running(StrategiesFake(reply=lambda body: "3", refuses=refuses)) as fake:
            found = asked(fake, tasks, folder, CONTRAST, PLAIN, done=settled.append)
        assert {sample.strategy for sample in found.values()} == {"plain"}
        assert sum(settled) == wanted
        run = json.loads((folder / "run.json").read_text())
        assert "no such voice" in run["refused"]["contrast"]


def test_a_problem_that_the_endpoint_refuses_is_graded_as_an_empty_answer(task: LmEvalTask, tmp_path: Path):
    def refuses(body: dict[str, Any]) -> str | None:
        return "too long" if "What is 2 + 1?" in body["messages"][-1]["content"] else None

    with running(StrategiesFake(reply=adding, refuses=refuses)) as fake:
        found = asked(fake, [task], tmp_path / "run", PLAIN)
    assert [(one.text, one.score, one.refusal is None) for one in found.values() if not one.text] == [
        ("", 0.0, False)
    ]
    assert len(found) == 4


def test_problems_of_the_same_prompt_share_an_answer(tmp_path: Path):
    file = tmp_path / "sums.jsonl"
    file.write_text("".join(json.dumps({**PROBLEMS[0], "answer": right}) + "\n" for right in "121"))
    task = LmEvalTask(f"lm-eval:{file}", program=install(tmp_path))
    with running(StrategiesFake(reply=adding)) as fake:
        found = asked(fake, [task], tmp_path / "run", PLAIN)
    assert len(fake.bodies) == 1 + 1
    assert [(sample.problem, sample.reference, sample.score) for sample in found.values()] == [
        ("sums/0", "1", 1.0),
        ("sums/1", "2", 0.0),
        ("sums/2", "1", 1.0),
    ]
    assert all(key == key_of(sample) for key, sample in found.items())


def test_what_wasnt_listed_is_refused(task: LmEvalTask, tmp_path: Path):
    (tmp_path / "sums.jsonl").write_text('{"question": "What is 9 + 1?", "answer": "10"}\n')
    with (
        running(StrategiesFake(reply=adding)) as fake,
        pytest.raises(BenchmarkError, match="asks what it hasn't listed"),
    ):
        asked(fake, [task], tmp_path / "run", PLAIN)


def test_the_proxy_answers_only_those_who_know_its_path():
    async def run() -> list[int]:
        async def answering(body: dict[str, Any]) -> str:
            return str(body["words"])

        async with proxy(answering) as local, httpx.AsyncClient(trust_env=False) as client:
            assert not local.failed.done()
            host = local.url.split("/")[2]
            known = await client.post(local.url, json={"words": "hello"})
            assert known.json()["choices"] == [
                {"index": 0, "message": {"role": "assistant", "content": "hello"}}
            ]
            other = await client.post(f"http://{host}/v1/chat/completions", json={"words": "hello"})
            return [known.status_code, other.status_code]

    assert asyncio.run(run()) == [200, 404]


def test_the_command_from_its_options_to_its_report(
    task: LmEvalTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    program = task.harness.program
    assert program is not None
    monkeypatch.setattr(lm_eval_process, "find", lambda: program)
    words = [
        "strategies",
        "--tasks",
        task.name,
        "--limit",
        "3",
        "--strategies",
        "plain,contrast",
        "--tokens",
        "9",
    ]
    words += ["--lm-eval-options", "--system_instruction 'Add them.'", "--run", str(tmp_path / "run")]
    with running(StrategiesFake(reply=adding)) as fake:
        ran = CliRunner().invoke(app, [*words, "--url", fake.url])
        assert ran.exit_code == 0, ran.output
    assert [body["messages"][0] for body in fake.bodies] == [{"role": "system", "content": "Add them."}] * 8
    assert {(body["max_tokens"], *body.get("stop", ["attempt"])) for body in fake.bodies} == {
        (9, "\n"),
        (9, "attempt"),
    }, "--tokens counts"
    facts = json.loads((tmp_path / "run" / "report.json").read_text())
    assert facts["answers"] == facts["expected"] == 6
    assert task.name in (tmp_path / "run" / "report.md").read_text()


def test_an_lm_eval_that_fails_is_quoted(tmp_path: Path):
    program = install(tmp_path)
    with pytest.raises(
        BenchmarkError, match=r"no-such-task: lm_eval says FileNotFoundError: .*'no-such-task'"
    ):
        LmEvalTask("lm-eval:no-such-task", program=program)
    with pytest.raises(BenchmarkError, match=r"(?s)exit code 2:.* unrecognized arguments: --no-such-option"):
        LmEvalTask("lm-eval:x", options=["--no-such-option"], program=program)
    (tmp_path / "choices.jsonl").write_text('{"question": "1 + 1?", "answer": "2", "choices": ["1", "2"]}\n')
    with pytest.raises(BenchmarkError, match="likelihoods of given answers, which chat endpoints don't tell"):
        LmEvalTask(f"lm-eval:{tmp_path / 'choices.jsonl'}", program=program)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lm-eval:", (), "--tasks lm-eval:: name a task"),
        ("lm-eval:a:b:c:d", (), "must be lm-eval:TASK:METRIC:FILTER"),
        ("lm-eval:a", ("--gen_kwargs", "n=2"), "--gen_kwargs is decided by motet bench"),
        ("lm-eval:a", ("--trust_remote",), "--trust_remote_code is decided"),
        ("lm-eval:a", ("-mhf", "-Mhf"), "-M is decided by motet bench; leave -Mhf out"),
    ],
)
def test_names_and_options_are_checked_before_anything_starts(
    name: str, options: tuple[str, ...], message: str
):
    with pytest.raises(BenchmarkError) as told:
        Harness(name, options=options)
    assert message in str(told.value)
    Harness("lm-eval:gsm8k:exact_match", options=("--num_fewshot", "5", "--seed=3", "--include_path", "-1"))


def test_without_lm_eval_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(BenchmarkError, match=r"lm_eval isn't installed; pipx install 'lm-eval\[api\]'"):
        find(which=lambda name: None)
    assert find(which=lambda name: f"/elsewhere/{name}") == Path("/elsewhere/lm_eval")
    beside = install(tmp_path)
    assert find(which=lambda name: None) == beside


def line(**changes: Any) -> dict[str, Any]:
    """A line of a samples file as lm_eval 0.4.13 writes it."""
    return {
        "doc_id": 0,
        "target": "2",
        "arguments": {"gen_args_0": {"arg_0": ['[{"role": "user", "content": "1 + 1?"}]'], "arg_1": {}}},
        "resps": [["2"]],
        "filter": "none",
        "metrics": ["exact_match", "ter"],
        "exact_match": 1.0,
        "ter": 0.0,
    } | changes


@pytest.mark.parametrize(
    ("changes", "choice", "message"),
    [
        ({}, Choice("bleu"), "t has no metric bleu, but exact_match, ter"),
        ({}, Choice("exact_match", "strict"), "t has no filter strict, but none"),
        ({}, Choice("ter"), "t's ter is the better the lower it is; choose another: lm-eval:t:exact_match"),
        ({"exact_match": 17.5}, Choice(), "exact_match of t/0 is 17.5 and no number from 0 to 1"),
        ({"exact_match": ["2", "2"]}, Choice(), "exact_match of t/0 is ['2', '2'] and no number"),
        ({"exact_match": float("nan")}, Choice(), "exact_match of t/0 is nan"),
        ({"metrics": []}, Choice(), "t has no metric, so that nothing can be graded"),
        ({"resps": [["2", "3"]]}, Choice(), "t/0 is asked several times by the task itself"),
        (
            {"arguments": {"gen_args_0": {"arg_0": ['[{"role": "user", "content": [{}]}]'], "arg_1": {}}}},
            Choice(),
            "t/0 shows more than text",
        ),
        ({"arguments": {"gen_args_0": {"arg_0": "1 + 1?", "arg_1": " 2"}}}, Choice(), "t/0 isn't a chat"),
    ],
)
def test_what_cant_be_a_score_is_refused(
    changes: dict[str, Any], choice: Choice, message: str, tmp_path: Path
):
    (tmp_path / "samples_t_2026-01-01T00-00-00.1.jsonl").write_text(json.dumps(line(**changes)) + "\n")
    higher = {"higher_is_better": {"t": {"exact_match": True, "ter": False}}}
    (tmp_path / "results_2026-01-01T00-00-00.1.json").write_text(json.dumps(higher))
    with pytest.raises(BenchmarkError) as told:
        chosen("lm-eval:t", read("lm-eval:t", tmp_path), choice)
    assert message in str(told.value)


def test_a_groups_tasks_are_its_families(tmp_path: Path):
    for name in ("mmlu_law", "mmlu_a_2"):
        (tmp_path / f"samples_{name}_2026-01-01T00-00-00.1.jsonl").write_text(json.dumps(line()) + "\n")
    rows = chosen("lm-eval:mmlu", read("lm-eval:mmlu", tmp_path), Choice())
    assert sorted((row.family, row.problem) for row in rows) == [
        ("mmlu_a_2", "mmlu_a_2/0"),
        ("mmlu_law", "mmlu_law/0"),
    ]
    with pytest.raises(BenchmarkError, match="has written no samples"):
        read("lm-eval:mmlu", tmp_path / "elsewhere")


def test_separators_in_a_text_end_no_line(tmp_path: Path):
    text = "a\u2028b\u2029c\u0085d"
    lines = [json.dumps(line(doc_id=number, resps=[[text]]), ensure_ascii=False) for number in range(2)]
    file = tmp_path / "samples_t_2026-01-01T00-00-00.1.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = chosen("lm-eval:t", read("lm-eval:t", tmp_path), Choice())
    assert [row.text for row in rows] == [text, text]


def real_program() -> Path | None:
    try:
        return find()
    except BenchmarkError:
        return None


@pytest.mark.skipif(real_program() is None, reason=f"lm_eval isn't installed; {INSTALL}")
def test_the_real_lm_eval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    data = tmp_path / "sums.jsonl"
    data.write_text("".join(json.dumps(problem) + "\n" for problem in PROBLEMS))
    taker = {"function": "take_first"}
    (tmp_path / "task.yaml").write_text(
        yaml.safe_dump(
            {
                "task": "toy_sums",
                "dataset_path": "json",
                "dataset_kwargs": {"data_files": {"test": str(data)}},
                "test_split": "test",
                "output_type": "generate_until",
                "doc_to_text": "{{question}}",
                "doc_to_target": "{{answer}}",
                "generation_kwargs": {"until": ["\n"], "max_gen_toks": 16, "temperature": 0.3},
                "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
                "filter_list": [
                    {"name": "whole", "filter": [taker]},
                    {"name": "number", "filter": [{"function": "regex", "regex_pattern": r"(\d+)"}, taker]},
                ],
            }
        )
    )
    task = LmEvalTask(f"lm-eval:{tmp_path / 'task.yaml'}:exact_match:number")
    assert (task.name, len(task.problems), task.metric) == (
        "lm-eval:task:exact_match:number",
        4,
        "exact_match",
    )
    with running(StrategiesFake(reply=adding)) as fake:
        found = list(asked(fake, [task], tmp_path / "run", CONTRAST).values())
    assert [sample.score for sample in found] == [1.0] * 4
    assert sorted(sample.text for sample in found) == ["1", "3", "it is 2", "it is 4"]
    assert {sample.family for sample in found} == {"toy_sums"}
    assert {(body["temperature"], body["max_tokens"], *body["stop"]) for body in fake.bodies[1:]} == {
        (0.7, 16, "\n")
    }
    assert all(body["contrast"] == {"strength": 2.0} for body in fake.bodies)
    assert len({body["seed"] for body in fake.bodies}) == 4
