"""Text in blocks, and its share of a mixed loss."""

from __future__ import annotations

import pytest

from motet_alignment.data import IGNORED, mix, pack, read_text, render
from motet_alignment.errors import DataError
from motet_models import EXPERT


def test_documents_follow_each_other_in_whole_blocks(tokenizer, lines, tmp_path):
    book = tmp_path / "book.txt"
    book.write_text("Once upon a time.\nThe end.\n", encoding="utf-8")
    rows = lines({"text": "Second."}, {"text": "Third, and last.", "id": 3})
    blocks = read_text([book, rows], tokenizer, 7)
    end = tokenizer.eos_token_id
    wanted = []
    for document in ("Once upon a time.\nThe end.\n", "Second.", "Third, and last."):
        wanted += [*tokenizer(document, add_special_tokens=False)["input_ids"], end]
    assert [token for block in blocks for token in block] == wanted
    assert {len(block) for block in blocks[:-1]} == {7}
    assert 2 <= len(blocks[-1]) <= 7


def test_a_lone_last_token_is_dropped(tokenizer, lines):
    path = lines({"text": "abc"})
    count = len(tokenizer("abc", add_special_tokens=False)["input_ids"]) + 1
    assert [len(block) for block in read_text([path], tokenizer, count - 1)] == [count - 1]


def test_a_long_text_is_read_in_pieces_without_losing_any(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("motet_alignment.data.text._PIECE", 10)
    path = tmp_path / "long.txt"
    written = "\n".join(f"line {place}" for place in range(40))
    path.write_text(written, encoding="utf-8")
    blocks = read_text([path], tokenizer, 16)
    assert tokenizer.decode([token for block in blocks for token in block][:-1]) == written


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b" \n", "a.txt is empty"),
        ("a.txt", b"a\xff", "a.txt: no valid UTF-8"),
        ("a.txt", b"a\0b", "a.txt: the text has a null byte at character 2"),
        ("a.jsonl", b'{"text": "a"}\n{"text": ""}\n{', "2 bad lines:"),
        ("a.jsonl", b'{"content": "a"}', "a.jsonl:1: key 'text' is missing or null"),
        ("a.jsonl", b"", "a.jsonl is empty"),
    ],
)
def test_bad_text_is_refused(tokenizer, tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as refused:
        read_text([path], tokenizer, 8)
    assert message in str(refused.value)


def test_missing_text_and_too_little_context(tokenizer, tmp_path):
    with pytest.raises(DataError, match=r"no\.txt can't be read: No such file"):
        read_text([tmp_path / "no.txt"], tokenizer, 8)
    with pytest.raises(DataError, match="at least 2 tokens, not 1"):
        read_text([tmp_path / "no.txt"], tokenizer, 1)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_weights_make_the_formula(tokenizer, chat, lines, alpha):
    """sum of weight * nll = alpha * L_instruction + (1 - alpha) * L_LM, each L the library's own mean."""
    import torch
    from torch.nn.functional import cross_entropy
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(EXPERT).eval()
    instructions = pack(
        [render(tokenizer, chat(f"What is {n} + 2?", str(n + 2)), context=64) for n in range(3)], 64
    )
    blocks = read_text([lines({"text": "The sun is warm and the moon is cold. " * 3})], tokenizer, 40)
    mixed = mix(instructions, blocks, alpha)

    def losses(row):
        ids, positions = torch.tensor([row.input_ids]), torch.tensor([row.position_ids])
        with torch.no_grad():
            logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits[0]
        return cross_entropy(
            logits[:-1], torch.tensor(row.labels[1:]), ignore_index=IGNORED, reduction="none"
        )

    weighed = sum(
        (losses(row) * torch.tensor(weights[1:])).sum()
        for row, weights in zip(mixed.rows, mixed.weights, strict=True)
    )
    parts = []
    for rows in (mixed.rows[: len(instructions)], mixed.rows[len(instructions) :]):
        parts.append(sum(losses(row).sum() for row in rows) / sum(row.learnt for row in rows))
    torch.testing.assert_close(weighed, alpha * parts[0] + (1 - alpha) * parts[1], rtol=1e-5, atol=1e-6)
    assert sum(sum(weights) for weights in mixed.weights) == pytest.approx(1)


def test_a_blocks_first_token_has_nothing_to_be_predicted_from(tokenizer, chat):
    rows = pack([render(tokenizer, chat("a", "b"), context=64)], 64)
    mixed = mix(rows, [[5, 6, 7], [8, 9]], 0.25)
    assert [row.labels for row in mixed.rows[1:]] == [[IGNORED, 6, 7], [IGNORED, 9]]
    assert [row.position_ids for row in mixed.rows[1:]] == [[0, 1, 2], [0, 1]]
    assert mixed.weights[1:] == [[0.0, 0.25, 0.25], [0.0, 0.25]]


def test_a_mix_without_one_of_its_parts(tokenizer, chat):
    rows = pack([render(tokenizer, chat("a", "b"), context=64)], 64)
    assert mix(rows, [], 1.0).rows == rows
    with pytest.raises(DataError, match=r"no token to learn in the text, whose share of the mix is 0\.5"):
        mix(rows, [], 0.5)
    with pytest.raises(DataError, match="no token to learn in the instructions"):
        mix([], [[1, 2]], 0.5)
    with pytest.raises(DataError, match=r"alpha must be between 0 and 1, not 1\.5"):
        mix(rows, [], 1.5)
