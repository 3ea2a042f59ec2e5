"""`motet bench serving` from its options to its files."""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from typer.testing import CliRunner

from motet_benchmarks.cli import app
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.load.mix import read_file, read_words
from motet_benchmarks.load.options import BUNDLED, named_urls, targets
from motet_benchmarks.load.prompts import read
from motet_benchmarks.load.records import LOAD_FILE, Load, Targets
from motet_benchmarks.load.testing import QueueingFake
from motet_benchmarks.testing import running

DEAD = "http://127.0.0.1:9"


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], f"{DEAD} doesn't answer"),
        (["--rate", "0,1"], "--rate 0,1: must be requests a second"),
        (["--ramp", "1"], "--ramp 1: must be FROM:TO"),
        (["--rate", "1", "--concurrency", "2"], "--rate, --concurrency: give exactly one"),
        (["--concurrency", "some"], "--concurrency some: must be whole numbers"),
        (["--mix", "plain=0"], "--mix plain=0: a share must be a number above zero"),
        (["--mix", "plain", "--mix-file", "mix.yaml"], "--mix, --mix-file: give one of the two"),
        (["--mix-file", "nowhere.yaml"], "--mix-file nowhere.yaml: can't be read: No such file"),
        (["--prompts", "nowhere.jsonl"], "nowhere.jsonl: No such file"),
        (["--no-stream", "--ttft-target", "1"], "--ttft-target: only a stream tells"),
        (["--e2e-target", "inf"], "--e2e-target inf: must be seconds"),
        (["--against", "127.0.0.1:8000"], "--against 127.0.0.1:8000: must be [NAME=]URL[#MODEL]"),
        (["--against", "http://me:sesame@a:b"], "--against http://***@a:b: must be [NAME=]URL"),
        (["--against", DEAD], "two servers are called 127.0.0.1:9"),
        (["--serve-options", '"open'], "--serve-options: No closing quotation"),
    ],
)
def test_mistakes_are_named_with_exit_code_2(words: list[str], message: str, tmp_path: Path):
    ran = CliRunner().invoke(app, ["serving", "--url", DEAD, *words, "--out", str(tmp_path)])
    assert ran.exit_code == 2, ran.output
    assert message in ran.stderr
    assert "Traceback" not in ran.output
    assert list(tmp_path.iterdir()) == []


def test_two_servers_from_end_to_end(tmp_path: Path):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "one | <two>"}\n\n{"messages": [{"role": "user", "content": "three"}]}\n')
    with running(QueueingFake()) as motet, running(QueueingFake(ignores=True)) as other:
        words = [
            "--url",
            f"motet={motet.url}/v1",
            "--against",
            f"other={other.url}",
            "--prompts",
            str(prompts),
        ]
        words += ["--rate", "20,10", "--seconds", "1", "--warm-up", "0.1", "--segments", "2", "--tokens", "9"]
        words += ["--mix", "plain=3,sampled=1,contrast=1", "--out", str(tmp_path / "out")]
        ran = CliRunner().invoke(app, ["serving", *words])
    assert ran.exit_code == 0, ran.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"load.{end}" for end in ("json", "csv", "md", "png")
    }
    load = Load.read(tmp_path / "out" / LOAD_FILE)
    assert [server.name for server in load.servers] == ["motet", "other"]
    assert [step.rate for step in load.steps] == [10.0, 20.0]
    assert [member.strategy.name for member in load.mix] == ["plain", "sampled"]
    assert list(load.refused) == ["contrast"]
    assert load.targets == Targets(first_token=0.5, per_token=0.1)
    assert len(load.figures) == 2 * 2 * 3
    by = {(one.step, one.server, one.member): one for one in load.figures}
    for step in (0, 1):
        both = by[step, "motet", None]
        assert both.requests == both.answered == by[step, "other", None].requests > 0
        assert both.requests == sum(by[step, "motet", member].requests for member in ("plain", "sampled"))
    assert {one.server for one in load.ratios} == {"other"}
    rows = rows_of(tmp_path / "out" / "load.csv")
    counted = [row for row in rows if 0 <= float(row["due"]) < 0.5]
    assert len(counted) == sum(one.requests for one in load.figures if one.member is None)
    assert {body["messages"][-1]["content"] for body in motet.bodies} == {"one | <two>", "three"}
    assert {(body["max_tokens"], body["ignore_eos"], body["stream"]) for body in motet.bodies} == {
        (9, True, True)
    }
    assert list(load.errors) == []
    page = (tmp_path / "out" / "load.md").read_text()
    assert "contrast is left out everywhere, as other refuses it" in page
    assert "4.0 tokens on average where ignore_eos was to give them 9" in page
    assert "| 20/s, other / motet: all |" in page


def test_a_ramp_and_clients_have_files_of_their_own(tmp_path: Path):
    with running(QueueingFake()) as fake:
        shared = ["--url", fake.url, "--warm-up", "0", "--no-ignore-eos", "--out", str(tmp_path)]
        ran = CliRunner().invoke(app, ["serving", "--ramp", "5:20", "--seconds", "2.5", *shared])
        assert ran.exit_code == 0, ran.output
        ramp = Load.read(tmp_path / LOAD_FILE)
        ran = CliRunner().invoke(
            app, ["serving", "--concurrency", "1,2", "--seconds", "0.5", "--no-stream", *shared]
        )
        assert ran.exit_code == 0, ran.output
    assert ramp.ramp
    assert [step.rate for step in ramp.steps] == [6.5, 9.5, 12.5, 15.5, 18.5]
    clients = Load.read(tmp_path / LOAD_FILE)
    assert [step.concurrency for step in clients.steps] == [1, 2]
    assert clients.targets == Targets()
    assert {tuple(one.latency) for one in clients.figures} == {("end to end",)}
    page = (tmp_path / "load.md").read_text()
    assert "A closed loop" in page
    assert "| 1 client |" in page
    assert "| 2 clients |" in page


def test_the_first_steps_are_kept_where_the_server_dies_in_a_later_one(tmp_path: Path):
    fake = QueueingFake()

    def reply(body: dict[str, object]) -> str:
        fake.breaks = len(fake.bodies) > 12
        return "some words"

    fake.reply = reply
    with running(fake):
        words = ["--rate", "8,16,32", "--seconds", "1", "--warm-up", "0", "--url", fake.url]
        ran = CliRunner().invoke(app, ["serving", *words, "--out", str(tmp_path)])
    assert ran.exit_code == 2
    assert "requests was answered" in ran.stderr
    load = Load.read(tmp_path / LOAD_FILE)
    assert 0 < len({one.step for one in load.figures}) < len(load.steps) == 3
    assert "breaks off before the last" in (tmp_path / "load.md").read_text()
    broken = rows_of(tmp_path / "load-unfinished.csv")
    assert {row["outcome"] for row in broken} == {"no whole answer"}
    assert f"the {len(broken)} requests of the unfinished step are in" in ran.stderr
    assert not {row["turn"] for row in broken} & {row["turn"] for row in rows_of(tmp_path / "load.csv")}
    with running(QueueingFake()) as healthy:
        words = ["--rate", "8", "--seconds", "1", "--warm-up", "0", "--url", healthy.url]
        ran = CliRunner().invoke(app, ["serving", *words, "--out", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    assert "unfinished" not in ran.stderr
    assert not (tmp_path / "load-unfinished.csv").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_ends_it_keeps_what_was_measured(
    number: signal.Signals, tmp_path: Path, request: pytest.FixtureRequest
):
    # A shell's job in the background is started deaf to Ctrl-C.
    request.addfinalizer(partial(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT)))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    fake, sent = QueueingFake(), False

    def reply(body: dict[str, object]) -> str:
        nonlocal sent
        # Two may come before either is answered, so that nobody need see exactly twelve.
        if len(fake.bodies) >= 12 and not sent:
            sent = True
            os.kill(os.getpid(), number)
        return "some words"

    fake.reply = reply
    with running(fake):
        words = ["--concurrency", "2", "--seconds", "60", "--warm-up", "0", "--url", fake.url]
        ran = CliRunner().invoke(app, ["serving", *words, "--out", str(tmp_path)])
    assert ran.exit_code == 128 + number
    assert "Traceback" not in ran.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["load-unfinished.csv"]
    rows = rows_of(tmp_path / "load-unfinished.csv")
    assert len(rows) >= 8
    assert {row["outcome"] for row in rows} == {"answered"}
    assert "requests of the unfinished step are in" in ran.stderr


class Guarded(QueueingFake):
    """Keeps the keys that it was shown."""

    async def answer(self, request: Request) -> Response:
        self.keys = {*getattr(self, "keys", set()), request.headers.get("authorization")}
        return await super().answer(request)


def test_nobodys_key_goes_to_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MOTET_API_KEY", "sk-first")
    monkeypatch.setenv("MOTET_API_KEY_OTHER_ONE", "sk-second")
    fakes = [Guarded(), Guarded(), Guarded(models=("one", "two"))]
    with running(fakes[0]), running(fakes[1]), running(fakes[2]):
        words = ["--url", fakes[0].url.replace("//", "//me:sesame@"), "--seconds", "2", "--rate", "10"]
        words += ["--against", f"other-one={fakes[1].url}/v1", "--against", f"third={fakes[2].url}#two"]
        ran = CliRunner().invoke(app, ["serving", *words, "--warm-up", "0", "--out", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    assert fakes[1].keys == {"Bearer sk-second"}
    assert fakes[2].keys == {None}
    load = Load.read(tmp_path / LOAD_FILE)
    assert [server.model for server in load.servers] == ["fake", "fake", "two"]
    assert {body["model"] for body in fakes[2].bodies} == {"two"}
    assert load.servers[2].url == fakes[2].url
    for file in tmp_path.iterdir():
        assert not any(secret in file.read_bytes() for secret in (b"sk-first", b"sk-second", b"sesame"))
    told = CliRunner().invoke(app, ["serving", "--help"]).output
    assert "MOTET_API_KEY" in told
    assert "MOTET_API_KEY_NAME" in told


def test_what_an_answer_lacks_is_told(tmp_path: Path):
    class Poor(QueueingFake):
        async def _stream(self, *told: Any) -> AsyncIterator[str]:
            async for event in super()._stream(*told):
                if "usage" not in event:
                    yield event

    poor = Poor(refuses=lambda body: "unknown: ignore_eos" if "ignore_eos" in body else None)
    with running(QueueingFake(streams=False)) as whole, running(poor):
        words = ["--url", f"whole={whole.url}", "--against", f"poor={poor.url}", "--segments", "1"]
        words += ["--rate", "10", "--seconds", "1", "--warm-up", "0", "--out", str(tmp_path)]
        ran = CliRunner().invoke(app, ["serving", *words])
    assert ran.exit_code == 0, ran.output
    load = Load.read(tmp_path / LOAD_FILE)
    rows = [row for row in rows_of(tmp_path / "load.csv") if row["outcome"] == "answered"]
    for server, count, column in (
        ("whole", load.at_once, "at_once"),
        ("poor", load.counted, "counted"),
    ):
        assert dict(count) == {server: sum(row["server"] == server for row in rows)}
        assert {row[column] for row in rows if row["server"] == server} == {"True"}
    assert not load.exact
    page = (tmp_path / "load.md").read_text()
    for told in (
        "whole: .* answers came in one piece although streams were asked for",
        "poor: the tokens of .* answers are the pieces of their streams",
        "Answers end by themselves on every server, as one refuses ignore_eos: poor: .*unknown: ignore_eos",
        "Answers of at most 64 tokens",
        r"a tenth of the answers took more than .* and --warm-up was 0 s",
        "Throughput: answers that ended then; some were due before",
    ):
        assert re.search(told, page), told


def test_a_mix_is_read_from_words():
    mix = read_words("plain=3, best-of-8:reward+0.5*likelihood:sum=0.5,tutor,motet-sft/contrast")
    assert [(member.strategy.name, member.share) for member in mix] == [
        ("plain", 3),
        ("best-of-8:reward+0.5*likelihood:sum", 0.5),
        ("tutor", 1),
        ("motet-sft/contrast", 1),
    ]
    assert mix[1].strategy.best_of == {"n": 8, "by": "reward+0.5*likelihood:sum"}
    assert (mix[3].strategy.model, mix[3].strategy.contrast) == ("motet-sft", True)
    for text, message in (
        ("", "names no strategy"),
        ("=3", "names no strategy"),
        ("plain=1,plain=2", "plain comes twice"),
        ("plain=inf", "must be a number above zero"),
        ("plain=lots", "must be a number above zero"),
    ):
        with pytest.raises(BenchmarkError, match=message):
            read_words(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- plain", "must hold members by name"),
        ("{}", "names no strategy"),
        ("plain: [", "not YAML"),
        ("plain: 3", "plain: must be a mapping"),
        ("plain: {share: true}", "plain.share: a share must be a number above zero"),
        ("mine: {contrasts: true}", "mine.contrasts: Extra inputs"),
        ("mine: {sampling: {stream: true}}", "mine.sampling.stream: decided by the benchmark"),
    ],
)
def test_a_mix_file_that_is_none_is_named(content: str, message: str, tmp_path: Path):
    file = tmp_path / "mix.yaml"
    file.write_text(content)
    with pytest.raises(BenchmarkError, match=f"--mix-file .*mix.yaml: {message}"):
        read_file(file)


def test_a_mix_is_read_from_a_file(tmp_path: Path):
    file = tmp_path / "mix.yaml"
    file.write_text(
        "mine: {share: 2, model: tutor, sampling: {top_p: 0.9}, contrast: {strength: 1}}\nplain: {}\n"
    )
    mine, plain = read_file(file)
    assert (mine.share, mine.strategy.model, mine.strategy.body()["top_p"]) == (2, "tutor", 0.9)
    assert mine.strategy.contrast == {"strength": 1}
    assert (plain.share, plain.strategy.name) == (1, "plain")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 3 is no JSON"),
        ("[]", "line 3 is no JSON object"),
        ("{}", "line 3: Value error, needs either prompt or messages"),
        ('{"prompt": "a", "messages": [{"role": "user"}]}', "line 3: Value error, needs either"),
        ('{"prompt": 3}', "line 3: prompt: Input should be a valid string"),
        ('{"messages": [{"content": "a"}]}', r"line 3: messages.0.role: Field required"),
        ('{"messages": [{"role": "user", "content": NaN}]}', "line 3"),
        ('{"messages": [{"role": "user", "content": "\\ud800"}]}', "line 3 is no JSON"),
        ('{"prompt": "a", "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "line 3 is no JSON"),
        ('{"prompt": "a", "x": ' + "9" * 5000 + "}", "line 3 is no JSON"),
    ],
)
def test_a_prompt_that_is_none_is_named_with_its_line(line: str, message: str, tmp_path: Path):
    file = tmp_path / "prompts.jsonl"
    file.write_text(f'{{"prompt": "good\u2028one"}}\n\n{line}\n')
    with pytest.raises(BenchmarkError, match=f"prompts.jsonl: {message}"):
        read(str(file))
    file.write_text("\n")
    with pytest.raises(BenchmarkError, match="has no line"):
        read(str(file))
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(BenchmarkError, match="line 1 is no JSON"):
        read(str(file))


def test_a_file_from_windows_is_read_as_tasks_are(tmp_path: Path):
    file = tmp_path / "prompts.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"prompt": "one"}\r\n\r\n{"prompt": "two"}\r\n')
    found = list(itertools.islice(read(str(file)).of_turn(0, 0), 2))
    assert sorted(messages[0]["content"] for messages in found) == ["one", "two"]


def test_servers_are_called_as_told_or_by_their_place():
    assert named_urls(None, ["http://h:1/v1"]) == {BUNDLED: None, "h:1": "http://h:1/v1"}
    assert named_urls("http://a/?x=y", ["b=https://b:2"]) == {"a": "http://a/?x=y", "b": "https://b:2"}
    assert named_urls("h=http://a/v1#x/y", ["http://b#z"]) == {"h": "http://a/v1#x/y", "b": "http://b#z"}
    for told in ("", "ftp://a", "name=", "name=b:2", "http://[", "http://a:many"):
        with pytest.raises(BenchmarkError, match=r"--url .*: must be"):
            named_urls(told, [])


def test_targets_default_to_those_of_streams():
    assert targets(None, None, None, stream=True) == Targets(first_token=0.5, per_token=0.1)
    assert targets(None, None, 3.0, stream=True) == Targets(end_to_end=3.0)
    assert targets(None, None, None, stream=False) == Targets()


def test_a_record_that_is_none_is_named(tmp_path: Path):
    file = tmp_path / LOAD_FILE
    with pytest.raises(BenchmarkError, match="can't be read"):
        Load.read(file)
    file.write_text(json.dumps({"format": 1}))
    with pytest.raises(BenchmarkError, match="no record of a load: command: Field required"):
        Load.read(file)
