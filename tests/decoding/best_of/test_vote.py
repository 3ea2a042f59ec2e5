"""What a candidate answers: numbers however they are written, and regular expressions that can't do harm."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet_decoding.best_of.scorer import ScorerError
from motet_decoding.best_of.vote import Extractor

NUMBERS = Extractor(None)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("17 + 25 = 42", "42"),
        ("It is 42.", "42"),
        ("It is 1,234!", "1234"),
        ("1,234,567.50 in all", "1234567.5"),
        ("the values 1,2,3", "3"),
        ("3.0", "3"),
        ("007", "7"),
        (".5", "0.5"),
        ("-.50", "-0.5"),
        ("-0.0", "0"),
        ("minus −7", "-7"),
        ("x=-12", "-12"),
        ("10-5", "5"),
        ("10 - 5", "5"),
        ("f(3)-4", "4"),
        ("- 7", "7"),
        ("+5", "5"),
        ("$1,234.00", "1234"),
        ("-$5", "-5"),
        ("€-3", "-3"),
        ("50%", "50"),
        ("3/4", "0.75"),
        ("6/8 of it", "0.75"),
        ("4/2", "2"),
        ("-2/6", "-1/3"),
        ("on 12/11/2024", "2024"),
        ("3/0", "0"),
        ("version 1.2.3", "3"),
        ("1e5", "100000"),
        ("1.5e-3", "0.0015"),
        ("the 3rd", "3"),
        ("no number", None),
        ("٣", None),
        ("$ , . - /", None),
        ("", None),
    ],
)
def test_the_last_number_is_read(text, answer):
    assert NUMBERS.answer(text) == answer


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=4), st.booleans())
def test_however_a_number_is_written_it_is_one_answer(value, grouped):
    plain = f"{value:f}"
    written = f"so it is {value:,f}." if grouped else f"so it is {plain}"
    answer = NUMBERS.answer(written)
    assert answer == NUMBERS.answer(plain)
    assert Fraction(answer) == Fraction(value)
    assert NUMBERS.answer(answer) == answer


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**6))
def test_a_fraction_keeps_its_value(over, under):
    assert Fraction(NUMBERS.answer(f"{over}/{under}")) == Fraction(over, under)


@given(st.text(alphabet="0123456789,.-+/eE$% x", max_size=60))
def test_any_text_has_an_answer_or_none(text):
    answer = NUMBERS.answer(text)
    assert (answer is None) == (not any(letter.isdigit() for letter in text))
    if answer is not None:
        assert NUMBERS.answer(answer) == answer


def test_any_amount_of_digits_is_read():
    # More digits than Python turns into a number.
    assert NUMBERS.answer("0" * 50 + "1" * 100_000 + ".0") == "1" * 100_000


@pytest.mark.parametrize(
    ("pattern", "text", "answer"),
    [
        (r"(?i)answer:\s*(\w+)", "Answer: B. No, answer:  C", "C"),
        (r"[A-E]", "A or B", "B"),
        (r"answer: (.*)", "answer:   spaced out  ", "spaced out"),
        (r"is (\d+)|are (\d+)", "there are 4", "4"),
        (r"(\d+)( apples)?", "3 apples and 5", "5"),
        (r"\d*", "12 apples", "12"),
        (r"()", "whatever", None),
        (r"\\boxed\{([^}]*)\}", r"so \boxed{x+1}", "x+1"),
        (r"z", "none here", None),
        (r"ß(.)", "Straße und ßü", "ü"),
        (r"42", "42 and 42.0", "42"),
    ],
)
def test_the_last_match_or_its_group_is_the_answer(pattern, text, answer):
    assert Extractor(pattern).answer(text) == answer


@pytest.mark.parametrize(
    "pattern", ["(", "(?<=x)a", "a(?!b)", r"(a)\1", "[z-a]", "a{2000}", "(a{30}){1,30}{50}"]
)
def test_what_does_not_compile_says_that_the_syntax_is_re2s(pattern):
    with pytest.raises(ValueError, match=r"^isn't a regular expression in RE2's syntax: .+"):
        Extractor(pattern)


@pytest.mark.parametrize("pattern", [r"\pL{500}", r"(?:\pL{10}){50}", r"[\pL\pN]{0,60}"])
def test_what_is_too_large_is_refused(pattern):
    with pytest.raises(ValueError, match="too large"):
        Extractor(pattern)


def test_half_of_a_character_is_no_pattern_and_no_matter_in_a_text():
    with pytest.raises(ValueError, match="half of a character"):
        Extractor("\ud800")
    assert Extractor("[0-9]+").answer("\ud800 12") == "12"


@pytest.mark.parametrize("pattern", [r"(a*)*b", r"(a|aa)+$", r"(a+)+c", r"(.*)*x"])
def test_nested_repetitions_are_matched_in_linear_time(pattern):
    # Each takes Python's own `re` longer than there is time: 2^10000 ways to be tried.
    assert Extractor(pattern).answer("a" * 10_000 + "d") in (None, "a")


@pytest.mark.anyio
async def test_a_pattern_that_reads_to_the_end_for_each_match_is_stopped():
    extractor = Extractor(r"(?s)a.*z|a", seconds=0.02)
    texts = ["a" * 40_000] * 3
    with pytest.raises(ScorerError, match="takes too long"):
        extractor.answer(texts[0])
    with pytest.raises(ScorerError, match="takes too long"):
        await extractor.answers(texts)


@pytest.mark.anyio
async def test_answers_are_in_the_texts_order():
    assert await NUMBERS.answers(["1", "none", "3"]) == ["1", None, "3"]
    assert await Extractor("b+").answers(["abb", "", "b"]) == ["bb", None, "b"]
