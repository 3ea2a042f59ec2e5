"""What the filters leave out, for which reason, and what they must not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from pydantic import ValidationError

from motet_alignment.data import FilterSettings, filter_examples, read_examples
from motet_alignment.data.filters import copies, jaccard, shingles, words

NONE = FilterSettings(copies=None, duplicates=False)
STORY = "the quick brown fox jumps over the lazy dog while seven grey geese fly south for winter"


def outcome(lines, rows, options, tokenizer=None):
    examples = read_examples(lines(*rows))
    kept, report = filter_examples(examples, options, tokenizer)
    assert report.examined == len(rows)
    assert report.kept == len(kept.items) == len(rows) - sum(report.counts.values())
    return [int(item.source.rpartition(":")[2]) for item in kept.items], report


def asked(prompt: str, completion: str) -> dict[str, str]:
    return {"prompt": prompt, "completion": completion}


def test_lengths_in_tokens(lines, tokenizer):
    rows = [asked("7", "7"), asked("7 7 7 7", "7"), asked("7", "7 7 7 7"), asked("7 7", "7 7")]
    assert [len(tokenizer(row["prompt"])["input_ids"]) for row in rows] == [1, 7, 1, 3]
    for options, kept, reason in (
        (FilterSettings(min_prompt=3, copies=None), [2, 4], "prompt too short"),
        (FilterSettings(max_prompt=3, copies=None), [1, 3, 4], "prompt too long"),
        (FilterSettings(min_answer=3, copies=None), [3, 4], "answer too short"),
        (FilterSettings(max_answer=3, copies=None), [1, 2, 4], "answer too long"),
    ):
        places, report = outcome(lines, rows, options, tokenizer)
        assert places == kept
        assert list(report.counts) == [reason]


def test_either_answer_of_a_pair_may_be_too_long(lines, tokenizer):
    row = {"prompt": "7", "chosen": "7", "rejected": "7 7 7 7"}
    assert outcome(lines, [row], FilterSettings(max_answer=3, copies=None), tokenizer)[0] == []


def test_bounds_on_answers_leave_prompts_alone(lines, tokenizer):
    rows = [{"prompt": "7"}, {"prompt": "7 7 7 7"}, {"prompt": "7"}]
    options = FilterSettings(max_prompt=3, min_answer=3, max_answer=5)
    places, report = outcome(lines, rows, options, tokenizer)
    assert (places, report.counts) == ([1], {"prompt too long": 1, "duplicate": 1})


def test_a_bound_on_length_needs_a_tokenizer(lines):
    with pytest.raises(ValueError, match="need a tokenizer"):
        outcome(lines, [asked("a", "b")], FilterSettings(min_answer=1))


def test_answers_that_copy_the_prompt(lines):
    rows = [asked(STORY, STORY.upper() + "!"), asked(STORY, "a fox"), asked("Say hello.", "hello")]
    places, report = outcome(lines, rows, FilterSettings())
    assert places == [2, 3]
    assert [source.rpartition(":")[2] for source in report.dropped["the answer copies the prompt"]] == ["1"]
    assert outcome(lines, rows, NONE)[0] == [1, 2, 3]


def test_duplicates_word_for_word(lines):
    rows = [asked("a", "b"), asked("a", "c"), asked("a", "b"), asked("a", "B")]
    places, report = outcome(lines, rows, FilterSettings())
    assert places == [1, 2, 4]
    assert report.counts == {"duplicate": 1}
    assert outcome(lines, rows, NONE)[0] == [1, 2, 3, 4]


def test_near_duplicates_by_their_true_similarity(lines):
    near, far = STORY.replace("winter", "summer"), STORY.replace("for winter", "in summer")
    rows = [asked("Tell.", text) for text in (STORY, near, far)]
    likeness = [
        jaccard(shingles(words("Tell. " + STORY)), shingles(words("Tell. " + text))) for text in (near, far)
    ]
    # Close enough for MinHash to take it for one, and still another.
    assert likeness[0] > 0.8 > likeness[1] > 0.75
    places, report = outcome(lines, rows, FilterSettings(near_duplicates=0.8))
    assert places == [1, 3]
    assert report.counts == {"near-duplicate": 1}


def test_near_duplicates_are_found_among_many(lines):
    rows = [asked(f"Question {place}.", " ".join(f"w{place}x{n}" for n in range(40))) for place in range(150)]
    again = [asked(row["prompt"], row["completion"] + " indeed") for row in rows[::10]]
    places, report = outcome(lines, rows + again, FilterSettings(near_duplicates=0.7))
    assert places == list(range(1, 151))
    assert report.counts == {"near-duplicate": 15}


def test_filters_are_the_same_every_time(lines):
    rows = [asked(f"Q {place % 7}", f"{STORY} {place % 5}") for place in range(40)]
    options = FilterSettings(near_duplicates=0.6)
    assert outcome(lines, rows, options)[1] == outcome(lines, rows, options)[1]


@settings(deadline=None)
@given(some.text(min_size=1, max_size=40))
def test_a_text_copies_itself(text):
    assert copies(text, text, 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_answer": 5, "max_answer": 4}, "min_answer 5 is more than max_answer 4"),
        ({"near_duplicates": 1.0}, "less than 1"),
        ({"copies": 0}, "greater than 0"),
        ({"min_tokens": 1}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_cannot_be(options, message):
    with pytest.raises(ValidationError, match=message):
        FilterSettings(**options)
