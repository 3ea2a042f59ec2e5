"""Several ways to put an instruction: chosen by seed, checked when read."""

from __future__ import annotations

from collections import Counter

import pytest

from motet_alignment.data import Demonstration, read_examples, read_phrasings
from motet_alignment.errors import DataError


def prompts(path, phrase) -> list[str]:
    return [item.messages[0].content for item in read_examples(path, phrase=phrase).of(Demonstration)]


def test_motets_own_phrasings_are_all_used_and_keep_every_word(lines):
    path = lines(*[{"instruction": f"Do {n}.", "input": f"In {n}", "output": "x"} for n in range(200)])
    phrasings = read_phrasings()
    found = prompts(path, phrasings.phrase(1))
    assert all(f"Do {n}." in prompt and f"In {n}" in prompt for n, prompt in enumerate(found))
    used = Counter(
        next(
            template
            for template in phrasings.input
            if template.replace("{instruction}", f"Do {n}.").replace("{input}", f"In {n}") == prompt
        )
        for n, prompt in enumerate(found)
    )
    assert set(used) == set(phrasings.input)


def test_the_choice_depends_on_the_text_and_the_seed_alone(lines):
    rows = [{"prompt": f"Do {n}.", "completion": "x"} for n in range(30)]
    phrase = read_phrasings().phrase
    forward = prompts(lines(*rows), phrase(1))
    assert prompts(lines(*rows[::-1]), phrase(1)) == forward[::-1]
    assert prompts(lines(*rows), phrase(2)) != forward


def test_a_persons_own_phrasings(lines, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "instruction: ['Q: {instruction}']\ninput: ['{input} | {instruction}']\n", encoding="utf-8"
    )
    phrase = read_phrasings(path).phrase(0)
    assert prompts(lines({"question": "Why {input}?", "answer": "x"}), phrase) == ["Q: Why {input}?"]
    row = {"instruction": "Do {input}.", "instances": [{"input": "{instruction}", "output": "x"}]}
    assert prompts(lines(row), phrase) == ["{instruction} | Do {input}."]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "instruction: ['a']\ninput: ['{instruction}{input}']",
            "instruction: 'a' must hold {instruction} once",
        ),
        (
            "instruction: ['{instruction}']\ninput: ['{instruction}']",
            "input: '{instruction}' must hold {instruction} and {input} once",
        ),
        ("instruction: ['{instruction} {x}']\ninput: ['{instruction}{input}']", "and no other placeholder"),
        (
            "instruction: []\ninput: ['{instruction}{input}']",
            "instruction: Tuple should have at least 1 item",
        ),
        (
            "instruction: ['{instruction}', '{instruction}']\ninput: ['{instruction}{input}']",
            "a template twice",
        ),
        ("instruction: ['{instruction}']", "input: Field required"),
        ("instruction: ['{instruction}']\ninput: ['{instruction}{input}']\nmore: 1", "more: Extra inputs"),
        ("- a", "the file: Input should be a valid dictionary"),
        ("a: [", "is no valid YAML"),
    ],
)
def test_phrasings_are_checked(tmp_path, content, message):
    path = tmp_path / "bad.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as refused:
        read_phrasings(path)
    assert str(refused.value).startswith(str(path))
    assert message in str(refused.value)


def test_missing_phrasings(tmp_path):
    with pytest.raises(DataError, match=r"no\.yaml can't be read"):
        read_phrasings(tmp_path / "no.yaml")
