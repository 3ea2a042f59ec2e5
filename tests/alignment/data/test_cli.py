"""`motet data`, as people call it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from motet_alignment.data import read_examples
from motet_alignment.data.cli import app

GOOD = {"prompt": "Ping?", "completion": "Pong."}
LONG = {"prompt": "Ping?", "completion": "Pong, " * 50}


@pytest.fixture
def motet():
    def run(*arguments: object):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


def test_inspect_for_people_and_for_programs(motet, lines):
    path = lines(GOOD, {**GOOD, "note": "x"})
    result = motet("inspect", path)
    assert result.exit_code == 0
    assert "prompt-completion (demonstrations)" in result.stdout
    assert "⟦Pong.<|im_end|>⟧" in result.stdout
    result = motet(
        "inspect", path, path, "--json", "--context", 100, "--near-duplicates", 0.9, "--max-answer", 3
    )
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert [one["path"] for one in found] == [str(path), str(path)]
    assert found[0]["fit"]["context"] == 100
    assert found[0]["unused"] == {"note": 1}
    assert found[0]["filters"] == {"answer too long": 2}


def test_inspect_says_by_its_exit_code_whether_training_would_refuse(motet, lines):
    bad = lines(GOOD, "{", name="bad.jsonl")
    result = motet("inspect", bad)
    assert result.exit_code == 1
    assert f"{bad}:2: no valid JSON" in result.stdout
    assert motet("inspect", lines(LONG), "--context", 30).exit_code == 0
    assert motet("inspect", lines(LONG), "--context", 5).exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "nothing.jsonl"], "nothing.jsonl does not exist"),
        (["inspect", "FILE", "--shape", "csv"], "no shape is called 'csv'"),
        (["inspect", "FILE", "--sample", "9"], "--sample 9: "),
        (["inspect", "FILE", "--tokenizer", "/no/such/model"], "--tokenizer /no/such/model: "),
        (["inspect", "FILE", "--near-duplicates", "2"], "--near-duplicates: Input should be less than 1"),
        (
            ["inspect", "FILE", "--min-answer", "9", "--max-answer", "3"],
            "min_answer 9 is more than max_answer 3",
        ),
        (["inspect", "FILE", "--phrasing", "no.yaml"], "no.yaml can't be read"),
        (["convert", "FILE", "--to", "pairs", "-o", "out.jsonl"], "--to pairs holds comparisons"),
        (["kappa", "FILE", "--a", "x", "--b", "y"], "key 'x' is missing or null"),
        (["kappa", "FILE", "FILE", "--a", "x", "--b", "y"], "two files are joined by --id"),
        (["kappa", "FILE", "FILE", "FILE", "--a", "x", "--b", "y"], "one file, or two"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(motet, lines, arguments, message):
    path = lines(GOOD)
    result = motet(*[path if argument == "FILE" else argument for argument in arguments])
    assert result.exit_code == 2
    assert result.stderr.startswith("motet data: error: ")
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_convert_varies_phrasings_and_reports_what_it_left_out(motet, lines, tmp_path):
    rows = [{"instruction": f"Do {n}.", "output": "x", "id": n} for n in range(20)]
    path, out = lines(*rows, "{"), tmp_path / "out.jsonl"
    assert motet("convert", path, "--to", "chat", "-o", out).exit_code == 2
    assert not out.exists()
    result = motet("convert", path, "--to", "chat", "-o", out, "--on-bad", "skip", "--phrasing", "default")
    assert (result.exit_code, result.stdout) == (0, f"{out}: 20 lines from alpaca\n")
    assert f"left out 1 bad line:\n  {path}:21: no valid JSON" in result.stderr
    assert "columns without use: id" in result.stderr
    prompts = [item.messages[0].content for item in read_examples(out).items]
    assert all(f"Do {n}." in prompt for n, prompt in enumerate(prompts))
    assert len({prompt.replace(str(n), "N") for n, prompt in enumerate(prompts)}) > 2


def test_kappa(motet, lines):
    rows = [("x", "x")] * 20 + [("x", "y")] * 5 + [("y", "x")] * 10 + [("y", "y")] * 15
    path = lines(*[{"ann": one, "bob": other} for one, other in rows])
    result = motet("kappa", path, "--a", "ann", "--b", "bob")
    assert result.stdout.startswith("kappa 0.400 [0.")
    assert "(agreement 0.700, by chance 0.500, 50 examples, 2 labels)" in result.stdout
    found = json.loads(motet("kappa", path, "--a", "ann", "--b", "bob", "--json").stdout)
    assert found["kappa"] == pytest.approx(0.4)
    same = lines(*[{"ann": "x", "bob": "x"}] * 3, name="same.jsonl")
    result = motet("kappa", same, "--a", "ann", "--b", "bob")
    assert result.exit_code == 0
    assert result.stdout.startswith(
        "kappa undefined: both gave the same label to every example (agreement 1.000"
    )


def test_two_files_for_kappa(motet, lines):
    one = lines({"k": 1, "v": "x"}, {"k": 2, "v": "y"}, name="one.jsonl")
    two = lines({"k": 2, "v": "y"}, {"k": 1, "v": "x"}, name="two.jsonl")
    assert motet("kappa", one, two, "--a", "v", "--b", "v", "--id", "k").stdout.startswith("kappa 1.000 ")


def test_in_a_process_of_its_own(lines):
    command = Path(sys.executable).with_name("motet")
    ran = subprocess.run(
        [command, "data", "inspect", lines(GOOD), "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)[0]["examples"] == 1
    ran = subprocess.run(
        [command, "data", "inspect", lines("{", name="bad.jsonl")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("motet data: error: ")


def test_help_and_reading_load_no_trainer():
    code = (
        "import sys, motet_alignment.data, motet_alignment.data.cli; "
        "print([name for name in ('torch', 'transformers', 'trl', 'peft', 'datasets') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "[]"
