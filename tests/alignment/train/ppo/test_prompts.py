"""Prompts from files: what is asked, what is held out, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.alignment.train.conftest import write_lines

from motet_alignment.errors import DataError
from motet_alignment.train.models import open_base
from motet_alignment.train.ppo.prompts import Prompts, read_prompts
from motet_alignment.train.ppo.settings import PpoSettings

DATA = Path(__file__).parents[5] / "shared" / "data"


def asked(content: str) -> dict:
    return {"role": "user", "content": content}


def question(number: int) -> dict:
    return {"messages": [asked(f"What is {number} + 1?")], "answer": str(number + 1)}


@pytest.fixture
def read(tiny: Path, tmp_path: Path):
    def read(*rows, evaluation=(), **options) -> Prompts:
        options = {"data": [write_lines(tmp_path / "prompts.jsonl", rows)], **options}
        if evaluation:
            options["eval"] = [write_lines(tmp_path / "held.jsonl", evaluation)]
        settings = PpoSettings(model=str(tiny), reward=["gym"], **options)
        return read_prompts(settings, open_base(settings))

    return read


def sources(prompts) -> list[int]:
    return [int(prompt.source.rpartition(":")[2]) for prompt in prompts]


def test_a_prompt_is_rendered_up_to_its_answer_and_keeps_its_row(read, tiny):
    from transformers import AutoTokenizer

    found = read({**question(4), "extra": [1, {"a": None}]}, question(5), held_out=0)
    first = found.train[0]
    text = AutoTokenizer.from_pretrained(tiny).decode(first.ids)
    assert text == "<|im_start|>user\nWhat is 4 + 1?<|im_end|>\n<|im_start|>assistant\n"
    assert first.row["answer"] == "5"
    assert first.row["extra"] == [1, {}]
    assert first.source.endswith("prompts.jsonl:1")
    assert found.held_out == []
    assert found.files[0]["examples"] == 2


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [asked("Ping?"), {"role": "assistant", "content": "Pong."}]},
        {"prompt": "Ping?", "chosen": "Pong.", "rejected": "Bang."},
        {"prompt": "Ping?", "answers": ["a", "b"]},
        {"question": "Ping?", "answer": "Pong."},
        {"instruction": "Ping?"},
        {"prompt": "Ping?", "truth": "Pong."},
    ],
)
def test_any_file_that_asks_something_will_do(read, row):
    found = read(row, held_out=0)
    assert [turn.content for turn in found.train[0].messages] == ["Ping?"]
    assert found.train[0].row == row


def test_files_of_different_kinds_go_together(read, tmp_path):
    other = write_lines(tmp_path / "other.jsonl", [{"question": "Ping?", "answer": "Pong."}])
    mine = write_lines(tmp_path / "mine.jsonl", [question(4)])
    found = read(data=[other, mine], held_out=0)
    assert [prompt.source for prompt in found.train] == [f"{other}:1", f"{mine}:1"]


def test_what_is_held_out_is_asked_nowhere_else(read):
    rows = [question(number % 40) for number in range(120)]
    found = read(*rows, held_out=0.2)
    assert len(found.train) + len(found.held_out) == 120
    assert 20 <= len(found.held_out) <= 24
    assert {prompt.ids for prompt in found.train}.isdisjoint(prompt.ids for prompt in found.held_out)
    assert sources(found.train) == sorted(sources(found.train))
    again, other = read(*rows, held_out=0.2), read(*rows, held_out=0.2, seed=1)
    assert (again.digest, sources(again.held_out)) == (found.digest, sources(found.held_out))
    assert sources(other.held_out) != sources(found.held_out)
    assert other.digest != found.digest


def test_no_more_are_held_out_than_are_asked(read):
    rows = [question(number) for number in range(100)]
    found = read(*rows, held_out=0.5, held_out_prompts=10)
    assert (len(found.train), len(found.held_out)) == (90, 10)
    drawn = read(*rows[:50], evaluation=rows[50:], held_out_prompts=10)
    assert (len(drawn.train), len(drawn.held_out)) == (50, 10)
    assert sources(drawn.held_out) == sorted(sources(drawn.held_out)) != list(range(1, 11))


def test_what_an_evaluation_asks_is_not_learnt_on(read):
    found = read(question(1), question(2), evaluation=[question(2), question(3)])
    assert (sources(found.train), sources(found.held_out)) == ([1], [1, 2])
    assert found.notes == ["1 prompts ask what an evaluation prompt asks, and were left out of training"]
    assert [file["path"].rpartition("/")[2] for file in found.files] == [
        "prompts.jsonl",
        "held.jsonl (evaluation)",
    ]
    with pytest.raises(DataError, match=r"prompts\.jsonl: no prompt is left to train on; 1 prompts ask what"):
        read(question(1), evaluation=[question(1)])


def test_a_prompt_longer_than_the_context_is_named(read):
    long = {"messages": [asked("1" * 400)]}
    with pytest.raises(
        DataError,
        match=r"prompts\.jsonl:2: the prompt has \d+ tokens; a context of 100 leaves no room for an answer",
    ):
        read(question(1), long, context=100)
    found = read(question(1), long, question(2), context=100, on_bad="skip", held_out=0, max_answer=10)
    assert sources(found.train) == [1, 3]
    assert found.notes[0].startswith("1 prompts left out, the first: ")
    with pytest.raises(DataError, match="no prompt is left to train on; 1 prompts left out"):
        read(long, context=100, on_bad="skip")


def test_the_last_token_of_the_context_is_room_enough(read):
    length = len(read(question(1), held_out=0).train[0].ids)
    assert read(question(1), held_out=0, context=length + 1).train
    with pytest.raises(DataError, match=f"a context of {length} leaves no room"):
        read(question(1), held_out=0, context=length)


def test_answers_that_will_be_cut_off_are_counted(read):
    length = len(read(question(1), held_out=0).train[0].ids)
    found = read(question(1), {"prompt": "a"}, held_out=0, context=length + 20, max_answer=21)
    assert found.notes == [
        f"1 prompts leave less than 21 tokens of the context of {length + 20}: longer answers to them are cut off"
    ]
    assert read(question(1), held_out=0, context=length + 20, max_answer=20).notes == []


def test_an_empty_file_and_bad_lines_are_refused(read):
    with pytest.raises(DataError, match=r"prompts\.jsonl is empty"):
        read()
    with pytest.raises(
        DataError, match=r"1 bad line:\n  .*prompts\.jsonl:2: messages\[0\] \(user\) is empty"
    ):
        read(question(1), {"messages": [asked(" ")]})
    found = read(question(1), {"messages": [asked(" ")]}, on_bad="skip")
    assert "1 bad lines left out, the first: " in found.notes[0]


def test_one_prompt_leaves_none_to_hold_out(read):
    found = read(question(1), question(1))
    assert (len(found.train), found.held_out) == (2, [])
    assert found.notes == ["all prompts are the same, so that none could be held out"]


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("gsm8k/train_300.jsonl", "answer"),
        ("preference/pairs.jsonl", "chosen"),
        ("seed_tasks/seed_tasks.jsonl", "instances"),
    ],
)
def test_real_data_is_asked_without_its_answers(read, name, column):
    file = DATA / name
    if not file.exists():
        pytest.skip(f"needs {name} of the real data sets beside the repository")
    found = read(data=[file], on_bad="skip", held_out=0.1, max_answer=1)
    asked = [*found.train, *found.held_out]
    assert len(asked) > 100
    assert len(found.held_out) > 10
    for prompt in asked:
        assert prompt.row[column]
        assert prompt.messages[-1].role == "user"
        assert len(prompt.ids) < 512
