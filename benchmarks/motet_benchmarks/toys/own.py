"""Pairs of answers that an adapter itself gives, right and wrong.

The gym's systematic mistakes are few and of known kinds. A policy that answers at temperature 1 goes wrong in many
other ways, and the best of many answers by a judge that has seen none of those is the one that fools it best.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from motet_benchmarks.gym.examples import Example, comparison
from motet_benchmarks.gym.instance import Instance
from motet_benchmarks.toys.settings import Own
from motet_benchmarks.toys.slips import Slip, slips


def own_mistakes(expert: Path, adapter: Path, asked: Sequence[Instance]) -> list[Example]:
    """The problems that the expert with `adapter` gets wrong, each with the right answer and its own."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from motet_benchmarks.toys.answers import answers

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(expert), str(adapter)).eval()
    said = answers(asked, AutoTokenizer.from_pretrained(expert), model)
    # An empty answer, or one that begins or ends in blanks, is none that a data file may hold.
    return [
        comparison(problem, text)
        for problem, text in zip(asked, said, strict=True)
        if text and text == text.strip() and not problem.grade(text)
    ]


def merged(expert: Path, adapter: Path) -> tuple[Any, Any]:
    """The expert with `adapter` in one piece, which answers the same in less time, and its tokenizer."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(expert), str(adapter))
    return tuned.merge_and_unload().eval(), AutoTokenizer.from_pretrained(expert)


def own_pairs(expert: Path, adapter: Path, asked: Sequence[Instance], how: Own, seed: int) -> list[Example]:
    """What there is to learn from the answers that the expert with `adapter` gives, or might give, to the problems."""
    from motet_benchmarks.toys import drawing

    model, tokenizer = merged(expert, adapter)
    said = drawing.drawn(asked, tokenizer, model, each=how.each, seed=seed)
    slipped = slips(asked, tokenizer, model, each=how.slips, seed=seed)
    rng = random.Random(f"{seed} own answers")
    found = pairs(asked, said, tokenizer, most=how.most, beginnings=how.beginnings, rng=rng)
    found += slip_pairs(asked, slipped, tokenizer, rng=rng)
    rng.shuffle(found)
    return found


def pairs(
    asked: Sequence[Instance],
    said: Sequence[Sequence[str]],
    tokenizer: Any,
    *,
    most: int,
    beginnings: float,
    rng: random.Random,
) -> list[Example]:
    """Comparisons of a right answer and a wrong one of those `said` to each problem.

    Each problem gives at most so many, with different wrong answers; where none was right, the gym's stands in.
    To so large a part of them comes one of their `beginnings`, cut at the same number of tokens: early rejection asks
    for the reward of answers that aren't complete.
    """
    found: list[Example] = []
    for problem, texts in zip(asked, said, strict=True):
        spoken = sorted({text for text in texts if _holdable(text)})
        right = [text for text in spoken if problem.grade(text)] or [problem.target]
        wrong = [text for text in spoken if not problem.grade(text)]
        for text in rng.sample(wrong, min(most, len(wrong))):
            pair = rng.choice(right), text
            found.append(_comparison(problem, *pair))
            if rng.random() < beginnings and (begun := beginning(*pair, tokenizer, rng)):
                found.append(_comparison(problem, *begun))
    return found


def beginning(right: str, wrong: str, tokenizer: Any, rng: random.Random) -> tuple[str, str] | None:
    """Both cut after the same number of tokens, drawn from those that tell them apart; None where there is none."""
    tokens = [tokenizer.encode(text, add_special_tokens=False) for text in (right, wrong)]
    # Neither is complete, or the other would be judged by its length.
    shorter = min(map(len, tokens))
    differ = next((at for at in range(shorter) if tokens[0][at] != tokens[1][at]), shorter)
    return _cut(tokens[0], tokens[1], range(differ + 1, shorter), tokenizer, rng)


def slip_pairs(
    asked: Sequence[Instance], slipped: Sequence[Sequence[Slip]], tokenizer: Any, *, rng: random.Random
) -> list[Example]:
    """Comparisons of each problem's target with its slips, as far as the slip made it wrong.

    Where the answer at the end is right all the same, a step before it isn't: there the beginnings are compared.
    """
    found: list[Example] = []
    for problem, ones in zip(asked, slipped, strict=True):
        known = set()
        for slip in ones:
            text = tokenizer.decode(slip.other)
            if not _holdable(text) or text in known:
                continue
            known.add(text)
            if not problem.grade(text):
                found.append(_comparison(problem, problem.target, text))
            elif problem.worked:
                cuts = range(slip.place + 1, len(slip.right))
                if begun := _cut(slip.right, slip.other, cuts, tokenizer, rng):
                    found.append(_comparison(problem, *begun))
    return found


def _cut(
    right: Sequence[int], wrong: Sequence[int], cuts: Sequence[int], tokenizer: Any, rng: random.Random
) -> tuple[str, str] | None:
    if not cuts:
        return None
    cut = rng.choice(cuts)
    texts = tokenizer.decode(right[:cut]), tokenizer.decode(wrong[:cut])
    return texts if all(map(_holdable, texts)) and texts[0] != texts[1] else None


def _holdable(text: str) -> bool:
    """Whether a data file may hold it as an answer: blanks alone are none, and null bytes are refused."""
    return bool(text.strip()) and "\0" not in text


def _comparison(problem: Instance, chosen: str, rejected: str) -> Example:
    said = {"chosen": chosen, "rejected": rejected}
    return {
        "prompt": problem.messages(),
        **{key: [{"role": "assistant", "content": text}] for key, text in said.items()},
    }
