"""Answers worked out again from nothing but the text, by another way than the families use."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta
from math import prod

import pytest

from motet_benchmarks.gym import FAMILIES, Instance
from motet_benchmarks.gym.words import OPPOSITES

Oracle = Callable[[Instance], object]
PLACES = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4}


def text(problem: Instance) -> str:
    return problem.messages()[-1]["content"]


def numbers(problem: Instance) -> list[int]:
    """The numbers of all turns, in order."""
    said = " ".join(message["content"] for message in problem.messages())
    return [int(number) for number in re.findall(r"(?<![\d-])-?\d+", said)]


def data_words(problem: Instance) -> list[str]:
    """The words that the key says the problem is about."""
    return [word for word in re.findall(r"\w+", problem.key) if word in re.findall(r"\w+", text(problem))]


def difference(problem: Instance) -> int:
    a, b = sorted(numbers(problem))
    return len(range(b, a)) if b < a else len(range(a, b))


def in_order(items: list[str], value: Callable[[str], object]) -> str:
    (right,) = (
        order
        for order in itertools.permutations(items)
        if all(value(a) < value(b) for a, b in itertools.pairwise(order))  # type: ignore[operator]
    )
    return ", ".join(right)


def count_of_letter(problem: Instance) -> int:
    letter, word = problem.key.split()
    assert f"letter {letter}" in text(problem)
    assert word in text(problem)
    return Counter(word)[letter]


def nth_letter(problem: Instance) -> str:
    (place,) = (PLACES[word] for word in re.findall(r"\w+", text(problem)) if word in PLACES)
    return list(problem.key.split()[-1])[place]


def without(problem: Instance) -> str:
    word, letter = problem.key.split()
    return re.sub(letter, "", word)


def replaced(problem: Instance) -> str:
    word, old, new = problem.key.split()
    return word.translate(str.maketrans({old: new}))


def swapped(problem: Instance) -> str:
    first, second = sorted(problem.key.split(), key=text(problem).rindex)
    return f"{second} {first}"


def direction(problem: Instance) -> int:
    return {"later": 1, "earlier": -1}[re.findall("later|earlier", text(problem))[0]]


def day_count(problem: Instance) -> int:
    return direction(problem) * int(re.findall(r"\d+(?= (?:days|months|hours))", text(problem))[0])


def weekday(problem: Instance) -> str:
    some_week = [date(2024, 5, day) for day in range(1, 8)]
    (start,) = (day for day in some_week if f"{day:%A}" in text(problem))
    return f"{start + timedelta(days=day_count(problem)):%A}"


def month(problem: Instance) -> str:
    (start,) = (number for number in range(1, 13) if f"{date(2024, number, 1):%B}" in text(problem))
    there = date(2024, start, 15) + timedelta(days=round(day_count(problem) * 365.25 / 12))
    return f"{there:%B}"


def hour(problem: Instance) -> str:
    start = datetime(2024, 5, 1, int(re.findall(r"(\d+):00", text(problem))[0]))
    there = start + timedelta(hours=day_count(problem))
    return f"{there.hour}:00"


def seconds(problem: Instance) -> int:
    count, rest = numbers(problem)
    if "hours" in text(problem):
        return int(timedelta(hours=count, minutes=rest).total_seconds()) // 60
    return int(timedelta(minutes=count, seconds=rest).total_seconds())


def coins(problem: Instance) -> int:
    a, x, b, y = numbers(problem)
    return sum([x] * a + [y] * b)


def looked_up(problem: Instance) -> str:
    rows = dict(line.split(": ") for line in problem.input.splitlines())
    (name,) = (name for name in rows if name in problem.instruction)
    return rows[name]


def looked_up_name(problem: Instance) -> str:
    rows = {colour: name for name, colour in (line.split(": ") for line in problem.input.splitlines())}
    (colour,) = (colour for colour in rows if colour in problem.instruction.replace("colour", ""))
    return rows[colour]


def read(problem: Instance) -> str:
    (thing,) = re.findall(r"(?:the |has the )(\w+)[.?]$", problem.instruction)
    (colour,) = re.findall(rf"(\w+) {thing}\.", problem.input)
    return colour


def closed(problem: Instance) -> str:
    (closing,) = re.findall(r"with (\w+)\.|say (\w+) after", problem.system)
    return f"{problem.input.split()[0]} {''.join(closing)}"


def coded(problem: Instance) -> str:
    colour, code, code_first, colour_last = re.fullmatch(
        r"If the colour is (\w+), say (\w+)\.|Say (\w+) for the colour (\w+)\.", problem.system
    ).groups()  # type: ignore[union-attr]
    _, shown = problem.input.split(": ")
    return (code or code_first) if shown == (colour or colour_last) else shown


def recalled(problem: Instance) -> str:
    return re.findall(r"like (\w+)", problem.history[0].content)[0]


def next_number(problem: Instance) -> int:
    a, _, c = numbers(problem)
    return c + (c - a) // 2


def opposites(problem: Instance) -> str:
    others = {word: other for pair in OPPOSITES for word, other in (pair, pair[::-1])}
    return ", ".join(others[word] for word in re.findall(r"\w+", text(problem)) if word in others)


ORACLES: dict[str, Oracle] = {
    "addition": lambda problem: sum(numbers(problem)),
    "subtraction": difference,
    "product": lambda problem: prod(numbers(problem)),
    "missing-number": difference,
    "larger": lambda problem: sorted(numbers(problem))[-1],
    "smallest": lambda problem: sorted(numbers(problem))[0],
    "longer-word": lambda problem: sorted(data_words(problem), key=len)[-1],
    "odd-even": lambda problem: "odd" if str(numbers(problem)[0])[-1] in "13579" else "even",
    "sort-numbers": lambda problem: in_order(problem.input.split(", "), int),
    "sort-words": lambda problem: in_order(problem.input.split(", "), str),
    "count-words": lambda problem: problem.input.count(" ") + 1,
    "count-letters": lambda problem: sum(1 for _ in data_words(problem)[0]),
    "count-letter": count_of_letter,
    "backwards": lambda problem: "".join(reversed(data_words(problem)[0])),
    "nth-letter": nth_letter,
    "last-word": lambda problem: problem.input.rpartition(" ")[2],
    "dashes": lambda problem: re.sub(r"(?<=.)(?=.)", "-", data_words(problem)[0]),
    "capitals": lambda problem: "".join(chr(ord(letter) - 32) for letter in data_words(problem)[0]),
    "remove-letter": without,
    "replace-letter": replaced,
    "double-word": lambda problem: " ".join(data_words(problem) * 2),
    "swap-words": swapped,
    "centimetres": lambda problem: int("{}{:02}".format(*numbers(problem))),
    "minutes": seconds,
    "coins": coins,
    "weekday": weekday,
    "month": month,
    "hour": hour,
    "table": looked_up,
    "table-name": looked_up_name,
    "passage": read,
    "rule-capitals": lambda problem: problem.input.partition(" ")[0].swapcase(),
    "rule-closing": closed,
    "rule-backwards": lambda problem: "".join(reversed(data_words(problem)[0])),
    "rule-code": coded,
    "then-add": lambda problem: sum(numbers(problem)[index] for index in (2, 3)),
    "then-longer": lambda problem: sorted(problem.history[0].content.split(": ")[1].split(", "), key=len)[-1],
    "then-recall": recalled,
    "then-backwards": lambda problem: "".join(reversed(problem.history[1].content)),
    "next-number": next_number,
    "opposites": opposites,
}


def test_every_family_has_an_oracle() -> None:
    assert list(ORACLES) == list(FAMILIES)


@pytest.mark.parametrize("name", ORACLES)
def test_the_answer_can_be_worked_out_from_the_text(name: str) -> None:
    rng = random.Random(name)
    for _ in range(300):
        problem = FAMILIES[name].draw(rng)
        assert problem.answer == str(ORACLES[name](problem)), problem.messages()
