"""Every shape from a hand-written row to what it holds, and every way a row can be wrong, by file and line."""

from __future__ import annotations

import pytest

from motet_alignment.data import Comparison, Demonstration, Prompt, Ranking, Rating, read_examples
from motet_alignment.data.shapes import RowShape, all_shapes, register
from motet_alignment.errors import DataError

Q = {"role": "user", "content": "Ping?"}
A = {"role": "assistant", "content": "Pong."}
B = {"role": "assistant", "content": "Bang."}
S = {"role": "system", "content": "Be brief."}


def said(messages) -> list[str]:
    return [f"{turn.role}: {turn.content}" for turn in messages]


ONE = ["user: Ping?", "assistant: Pong."]
WITH_SYSTEM = ["system: Be brief.", *ONE]

DEMONSTRATIONS = [
    ("chat", {"messages": [S, Q, A]}, WITH_SYSTEM),
    ("chat", {"messages": [{**S, "role": "developer"}, Q, A]}, WITH_SYSTEM),
    ("chat", {"messages": [Q, {"role": "assistant", "content": [{"type": "text", "text": "Pong."}]}]}, ONE),
    (
        "chat",
        {"messages": [Q, A, {"role": "tool", "content": "4"}, B, Q, A]},
        [*ONE, "tool: 4", "assistant: Bang.", *ONE],
    ),
    ("prompt-completion", {"prompt": "Ping?\n\n", "completion": " Pong.\n"}, ONE),
    ("prompt-completion", {"prompt": [S, Q], "completion": [A]}, WITH_SYSTEM),
    ("prompt-completion", {"prompt": [Q], "completion": "Pong."}, ONE),
    ("prompt-completion", {"prompt": "Ping?", "completion": "Pong.", "system": "Be brief."}, WITH_SYSTEM),
    ("question-answer", {"question": "Ping?", "answer": "Pong."}, ONE),
    ("alpaca", {"instruction": "Ping?", "input": "", "output": "Pong."}, ONE),
    (
        "alpaca",
        {"instruction": "Add.", "input": "1, 2", "output": "3", "system": None},
        ["user: Add.\n\n1, 2", "assistant: 3"],
    ),
    (
        "sharegpt",
        {"conversations": [{"from": "human", "value": "Ping?"}, {"from": "gpt", "value": "Pong."}]},
        ONE,
    ),
    (
        "sharegpt",
        {
            "system": "Be brief.",
            "conversations": [{"from": "user", "value": "Ping?"}, {"from": "chatgpt", "value": "Pong."}],
        },
        WITH_SYSTEM,
    ),
]


@pytest.mark.parametrize(("shape", "row", "wanted"), DEMONSTRATIONS)
def test_demonstrations(lines, shape, row, wanted):
    path = lines(row)
    examples = read_examples(path)
    assert (examples.shape, examples.kind, len(examples)) == (shape, "demonstration", 1)
    (item,) = examples.of(Demonstration)
    assert said(item.messages) == wanted
    assert item.source == f"{path}:1"


def test_a_seed_task_is_an_example_for_each_instance(lines):
    row = {
        "id": "t1",
        "instruction": "Add.",
        "instances": [{"input": "1, 2", "output": "3"}, {"input": "", "output": "0"}],
    }
    examples = read_examples(lines(row))
    assert [said(item.messages) for item in examples.of(Demonstration)] == [
        ["user: Add.\n\n1, 2", "assistant: 3"],
        ["user: Add.", "assistant: 0"],
    ]
    assert examples.files[0].unused == {"id": 1}
    assert {item.source for item in examples.items} == {f"{examples.files[0].path}:1"}


def test_an_assistant_turn_may_carry_no_loss(lines):
    (item,) = read_examples(lines({"messages": [Q, {**A, "weight": 0}, Q, B]})).of(Demonstration)
    assert [turn.weight for turn in item.messages] == [1, 0, 1, 1]


HUMAN = "\n\nHuman: Ping?\n\nAssistant: Pong.\n\nHuman: Again?\n\nAssistant:"
PAIRS = [
    ("pairs", {"prompt": "Ping?", "chosen": "Pong.", "rejected": "Bang."}, ["user: Ping?"]),
    ("pairs", {"prompt": [S, Q], "chosen": [A], "rejected": [B]}, ["system: Be brief.", "user: Ping?"]),
    ("pairs", {"prompt": "Ping?", "chosen": [Q, A], "rejected": [Q, B]}, ["user: Ping?"]),
    ("pairs", {"prompt": [Q], "chosen": "Pong.", "rejected": [B]}, ["user: Ping?"]),
    ("pairs", {"prompt": HUMAN, "chosen": " Pong.", "rejected": " Bang."}, [*ONE, "user: Again?"]),
    ("transcripts", {"chosen": HUMAN + " Pong.", "rejected": HUMAN + " Bang."}, [*ONE, "user: Again?"]),
    ("transcripts", {"chosen": [Q, A, Q, A], "rejected": [Q, A, Q, B]}, [*ONE, "user: Ping?"]),
    (
        "openai-dpo",
        {"input": {"messages": [S, Q]}, "preferred_output": [A], "non_preferred_output": [B]},
        ["system: Be brief.", "user: Ping?"],
    ),
]


@pytest.mark.parametrize(("shape", "row", "prompt"), PAIRS)
def test_comparisons(lines, shape, row, prompt):
    examples = read_examples(lines({**row, "margin": 1.5, "confidence": 0.9}))
    assert (examples.shape, examples.kind) == (shape, "comparison")
    (item,) = examples.of(Comparison)
    assert said(item.prompt) == prompt
    assert (said(item.chosen), said(item.rejected)) == (["assistant: Pong."], ["assistant: Bang."])
    assert (item.margin, item.confidence) == (1.5, 0.9)
    (plain,) = read_examples(lines(row)).of(Comparison)
    assert (plain.margin, plain.confidence) == (None, None)


@pytest.mark.parametrize(
    ("row", "score"),
    [
        ({"messages": [Q, A], "score": -2.5}, -2.5),
        ({"messages": [Q, A], "label": True}, 1.0),
        ({"prompt": "Ping?", "completion": "Pong.", "score": 4}, 4.0),
        ({"prompt": [Q], "completion": [A], "label": 0}, 0.0),
    ],
)
def test_ratings(lines, row, score):
    examples = read_examples(lines(row))
    (item,) = examples.of(Rating)
    assert (examples.shape, said(item.messages), item.score) == ("ratings", ONE, score)


@pytest.mark.parametrize(
    ("row", "order"),
    [
        ({"answers": ["a", "b", "c"]}, "abc"),
        ({"completions": ["a", "b", "c"], "scores": [0.1, 3, -1]}, "bac"),
        ({"answers": ["a", "b", "c"], "ranks": [3, 1, 2]}, "bca"),
        ({"answers": [[{"role": "assistant", "content": letter}] for letter in "ab"]}, "ab"),
    ],
)
def test_rankings(lines, row, order):
    examples = read_examples(lines({"prompt": "Ping?", **row}))
    (item,) = examples.of(Ranking)
    assert (examples.shape, said(item.prompt)) == ("rankings", ["user: Ping?"])
    assert "".join(answer[0].content for answer in item.answers) == order


PROMPTS = [
    ({"messages": [S, Q, A, Q]}, ["system: Be brief.", *ONE, "user: Ping?"]),
    ({"messages": [Q, A, {"role": "tool", "content": "4"}]}, [*ONE, "tool: 4"]),
    ({"prompt": "Ping?\n"}, ["user: Ping?"]),
    ({"prompt": [Q], "system": "Be brief."}, ["system: Be brief.", "user: Ping?"]),
    ({"question": "Ping?"}, ["user: Ping?"]),
    ({"instruction": "Add.", "input": "1, 2"}, ["user: Add.\n\n1, 2"]),
]


@pytest.mark.parametrize(("row", "wanted"), PROMPTS)
def test_prompts(lines, row, wanted):
    examples = read_examples(lines({**row, "truth": "Pong."}))
    (item,) = examples.of(Prompt)
    assert (examples.shape, examples.kind, said(item.prompt)) == ("prompts", "prompt", wanted)
    assert examples.files[0].unused == {"truth": 1}


def test_what_ends_with_the_user_is_a_prompt_unless_more_of_the_file_is_answered(lines):
    asked, answered = {"messages": [Q]}, {"messages": [Q, A]}
    for rows, kind in (
        ([asked, asked, answered], "prompt"),
        ([asked, answered, answered], "demonstration"),
        ([asked, answered], "demonstration"),
    ):
        examples = read_examples(lines(*rows), on_bad="skip")
        assert (examples.kind, len(examples.problems)) == (kind, 1)
        assert "messages: the last turn must be the" in examples.problems[0].reason
    with pytest.raises(DataError, match="the last turn must be the assistant's"):
        read_examples(lines(asked), kind="demonstration")
    # Not told from the columns alone, and told apart by them as before.
    assert read_examples(lines({"prompt": "Ping?", "completion": "Pong."})).kind == "demonstration"
    with pytest.raises(DataError, match=r"columns prompt, truth.*prompt-completion: completion, prompt"):
        read_examples(lines({"prompt": "Ping?", "truth": "Pong."}), kind="demonstration")


CHAT, PAIR = {"messages": [Q, A]}, {"prompt": "Ping?", "chosen": "Pong.", "rejected": "Bang."}
RANKING = {"prompt": "Ping?", "answers": ["a", "b"]}
BAD = [
    (CHAT, {"messages": [A, Q, A]}, "messages[0]: roles out of order, assistant at the beginning"),
    (CHAT, {"messages": [Q, Q, A]}, "messages[1]: roles out of order, user after user"),
    (CHAT, {"messages": [Q, A, A]}, "messages[2]: roles out of order, assistant after assistant"),
    (CHAT, {"messages": [Q, S, A]}, "messages[1]: a system message may only stand first"),
    (CHAT, {"messages": [Q, A, Q]}, "messages: the last turn must be the assistant's, not the user's"),
    (CHAT, {"messages": [Q, {**A, "content": " \n"}]}, "messages[1] (assistant) is empty"),
    (CHAT, {"messages": []}, "messages is an empty list"),
    (
        {"messages": [Q]},
        {"messages": [Q, A]},
        "messages: the last turn must be the user's, not the assistant's",
    ),
    ({"messages": [Q]}, {"messages": [Q, Q]}, "messages[1]: roles out of order, user after user"),
    ({"messages": [Q]}, {"messages": [Q], "tools": [{}]}, "tools can't be trained with"),
    ({"prompt": "a"}, {"prompt": "a", "question": "b"}, "has both prompt and question"),
    ({"prompt": "a"}, {"prompt": " "}, "prompt is empty"),
    (CHAT, {"messages": "Ping?"}, "messages must be a list of messages, not text"),
    (CHAT, {"messages": [Q, "Pong."]}, "messages[1] must be an object, not text"),
    (CHAT, {"messages": [Q, {"role": "assistant"}]}, "key 'messages[1].content' is missing or null"),
    (CHAT, {"messages": [Q, {**A, "content": 4}]}, "messages[1].content must be text, not a number"),
    (
        CHAT,
        {"messages": [{**Q, "role": "bot"}, A]},
        "messages[0].role must be one of system, developer, user",
    ),
    (
        CHAT,
        {"messages": [Q, {**A, "content": [{"type": "image_url"}]}]},
        "messages[1].content[0] must be of type text",
    ),
    (CHAT, {"messages": [Q, {**A, "tool_calls": [{}]}]}, "messages[1].tool_calls can't be trained on"),
    (CHAT, {"messages": [Q, A], "tools": [{}]}, "tools can't be trained with"),
    (CHAT, {"messages": [Q, {**A, "weight": 0}]}, "messages: every assistant turn has weight 0"),
    (CHAT, {"messages": [Q, {**A, "weight": 0.5}]}, "messages[1].weight must be 0 or 1"),
    (CHAT, {"messages": None}, "key 'messages' is missing or null (chat)"),
    (CHAT, {"messages": [{**Q, "content": "a\0b"}, A]}, "messages[0].content has a null byte at character 2"),
    (CHAT, '{"messages": "\\ud800"}', "messages is no valid Unicode: half a surrogate pair at character 1"),
    (CHAT, '{"messages": [], "messages": []}', "key 'messages' stands twice in one object"),
    (CHAT, '{"messages": [NaN]}', "NaN is no JSON number"),
    (CHAT, '{"messages": [', "no valid JSON: Expecting value at column 15"),
    (CHAT, "[1]", "the row must be an object, not a list"),
    (CHAT, "[" * 100_000, "no valid JSON: "),
    (
        {"prompt": "a", "completion": "b"},
        {"prompt": "a", "completion": "\n"},
        "completion is empty",
    ),
    ({"instruction": "a", "output": "b"}, {"instruction": "a"}, "key 'output' is missing or null (alpaca)"),
    (
        {"instruction": "a", "output": "b"},
        {"instruction": "a", "input": 3, "output": "b"},
        "input must be text",
    ),
    (
        {"instruction": "a", "instances": [{"output": "b"}]},
        {"instruction": "a", "instances": [{"output": "b"}, {"output": ""}]},
        "instances[1].output is empty",
    ),
    (PAIR, {**PAIR, "rejected": "Pong. "}, "the two answers are equal"),
    (PAIR, {**PAIR, "chosen": ""}, "chosen is empty"),
    (PAIR, {**PAIR, "chosen": [{**Q, "content": "Other"}, A]}, "chosen does not begin with the prompt"),
    (PAIR, {**PAIR, "chosen": [Q]}, "chosen is empty"),
    (PAIR, {**PAIR, "prompt": [Q, A]}, "the prompt must end with the user's turn"),
    (PAIR, {**PAIR, "confidence": 0.3}, "confidence must be between 0.5 and 1, not 0.3"),
    (PAIR, {**PAIR, "margin": -1}, "margin must be at least 0, not -1"),
    (PAIR, {**PAIR, "margin": "big"}, "margin must be a number, not text"),
    (
        PAIR,
        '{"prompt": "a", "chosen": "b", "rejected": "c", "margin": 1e999}',
        "margin must be a finite number",
    ),
    (RANKING, {"prompt": "a", "answers": ["b"]}, "answers must hold at least two answers"),
    (RANKING, {"prompt": "a", "answers": ["b", "c", "b "]}, "answers[0] and answers[2] are equal"),
    (RANKING, {**RANKING, "scores": [1]}, "scores holds 1 numbers for 2 answers"),
    (RANKING, {**RANKING, "ranks": [1, 1]}, "ranks has ties"),
    (RANKING, {**RANKING, "ranks": [1, 2], "scores": [1, 2]}, "has both scores and ranks"),
    ({**CHAT, "score": 1}, {**CHAT, "score": "good"}, "score must be a number, not text"),
    ({**CHAT, "score": 1}, {**CHAT, "score": 1, "label": 1}, "has both score and label"),
    (
        {"chosen": HUMAN + " a", "rejected": HUMAN + " b"},
        {"chosen": HUMAN + " a", "rejected": "\n\nHuman: Other\n\nAssistant: b"},
        "chosen and rejected do not begin with the same prompt",
    ),
    (
        {"chosen": HUMAN + " a", "rejected": HUMAN + " b"},
        {"chosen": HUMAN + " a", "rejected": HUMAN + " a"},
        "the two answers are equal",
    ),
    (
        {"chosen": HUMAN + " a", "rejected": HUMAN + " b"},
        {"chosen": HUMAN + " a", "rejected": HUMAN},
        "one of chosen and rejected is the beginning of the other",
    ),
    (
        {"chosen": HUMAN + " a", "rejected": HUMAN + " b"},
        {
            "chosen": HUMAN + " a\n\nHuman: x\n\nAssistant: c",
            "rejected": HUMAN + " a\n\nHuman: y\n\nAssistant: d",
        },
        "chosen and rejected part at turn 5, which is not the assistant's in both",
    ),
    (
        {"chosen": HUMAN + " a", "rejected": HUMAN + " b"},
        {"chosen": "Pong.", "rejected": "Bang."},
        "chosen must begin with 'Human:'",
    ),
]


@pytest.mark.parametrize(("good", "bad", "reason"), BAD, ids=[reason[:60] for *_, reason in BAD])
def test_a_bad_line_is_named_with_its_reason(lines, good, bad, reason):
    path, line = lines(good, bad, good), 2
    with pytest.raises(DataError) as refused:
        read_examples(path)
    assert str(refused.value).startswith(f"1 bad line:\n  {path}:{line}: {reason}")
    examples = read_examples(path, on_bad="skip")
    assert [(problem.line, problem.reason.startswith(reason)) for problem in examples.problems] == [
        (line, True)
    ]
    assert len(examples) == 2


def test_every_shape_has_a_test_above(lines):
    shown = {shape for shape, *_ in (*DEMONSTRATIONS, *PAIRS)} | {
        "seed-tasks",
        "ratings",
        "rankings",
        "prompts",
    }
    assert shown == {shape.name for shape in all_shapes()}


def test_a_person_can_add_a_shape(lines, monkeypatch):
    from motet_alignment.data import shapes

    monkeypatch.setattr(shapes, "_SHAPES", dict(shapes._SHAPES))

    def read(row, reading):
        yield Demonstration(
            messages=[{"role": "user", "content": row["q"]}, {"role": "assistant", "content": row["a"]}],
            source=reading.source,
        )

    mine = RowShape("mine", "demonstration", (frozenset({"q", "a"}),), read)
    register(mine)
    (item,) = read_examples(lines({"q": "Ping?", "a": "Pong."})).of(Demonstration)
    assert said(item.messages) == ONE
    with pytest.raises(DataError, match="there is a shape called 'mine' already"):
        register(mine)
