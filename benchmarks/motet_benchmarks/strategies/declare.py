"""Strategies as a user says them: built-in words, a YAML file, NAME=JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.strategies.records import Strategy

#: What answers where nothing else is said: the likeliest tokens, or with best-of the model's own distribution.
GREEDY: Mapping[str, Any] = {"temperature": 0}
DRAWN: Mapping[str, Any] = {"temperature": 1}

#: Fields of a request that the benchmark itself decides.
OURS = frozenset(
    {"messages", "prompt", "model", "stream", "stream_options", "n", "seed", "contrast", "best_of"}
)

#: Characters of a name.
LONGEST_NAME = 120

#: How the built-in words look, for help and errors.
WORDS = (
    "plain, sampled, contrast, contrast:base, contrast:ADAPTER, layers:low, layers:high, best-of-8 (or another "
    "number), best-of-8:SCORER"
)

_BEST_OF = re.compile(r"best-of-([1-9][0-9]*)(?::(.+))?")


class Declared(BaseModel):
    """One strategy of a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Annotated[str | None, Field(min_length=1)] = None
    sampling: dict[str, Any] = {}
    contrast: dict[str, Any] | bool | None = None
    best_of: dict[str, Any] | int | None = None


def built_in(word: str) -> Strategy | None:
    """The strategy that `word` means without a file; None where it is no such word."""
    if word == "plain":
        return _strategy(word, Declared())
    if word == "sampled":
        return _strategy(word, Declared(sampling=dict(DRAWN)))
    if word == "contrast":
        return _strategy(word, Declared(contrast=True))
    kind, _, voice = word.partition(":")
    if kind == "contrast" and voice:
        against: Any = voice if voice in ("amateur", "base") else {"adapter": voice}
        return _strategy(word, Declared(contrast={"against": against}))
    if kind == "layers" and voice in ("low", "high"):
        return _strategy(word, Declared(contrast={"against": {"layers": voice}}))
    if (found := _BEST_OF.fullmatch(word)) is not None:
        by = {} if found[2] is None else {"by": found[2]}
        return _strategy(word, Declared(best_of={"n": int(found[1]), **by}))
    return None


def read_file(file: Path) -> dict[str, Strategy]:
    """The strategies of a YAML file, `name: {model, sampling, contrast, best_of}`, in its order.

    Raises BenchmarkError naming the file, the strategy and the key.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise BenchmarkError(f"--strategies {file}: {problem.strerror or problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise BenchmarkError(f"--strategies {file}: not YAML: {' '.join(str(problem).split())}") from None
    if not isinstance(content, dict) or not content:
        raise BenchmarkError(
            f"--strategies {file}: must hold strategies by name, such as `mine: {{contrast: {{strength: 1}}}}`"
        )
    for name in content:
        if not isinstance(name, str):
            raise BenchmarkError(f"--strategies {file}: {name!r} must be a text to YAML; put it in quotes")
    return {name: declared(name, value, f"--strategies {file}") for name, value in content.items()}


def read_option(text: str) -> Strategy:
    """The strategy of `--strategy NAME=JSON`. Raises BenchmarkError naming the option and the key."""
    name, equals, content = text.partition("=")
    if not equals or not name.strip():
        raise BenchmarkError(f'--strategy {text}: must be NAME=JSON, such as mine={{"contrast": true}}')
    try:
        value = json.loads(content)
    except ValueError as problem:
        raise BenchmarkError(f"--strategy {name}: not JSON: {problem}") from None
    return declared(name.strip(), value, "--strategy")


def declared(name: str, value: Any, where: str) -> Strategy:
    """A strategy that somebody has written down. Raises BenchmarkError naming `where`, `name` and the key."""
    try:
        read = Declared.model_validate(value, strict=True)
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        if taken := sorted(OURS & read.sampling.keys()):
            raise BenchmarkError(
                f"{where}: {name}.sampling.{taken[0]}: decided by the benchmark; leave it out"
            )
        return _strategy(name, read)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([name, *map(str, first["loc"])])
        raise BenchmarkError(f"{where}: {place}: {first['msg']}") from None
    except (TypeError, ValueError) as problem:
        raise BenchmarkError(f"{where}: {name}: can't be said in JSON: {problem}") from None


def named(words: Sequence[str], known: Mapping[str, Strategy]) -> list[Strategy]:
    """The strategies that `words` name: of `known`, built in, or MODEL/STRATEGY; any other word is a model.

    Which models there are is the endpoint's to say.
    """
    return [_named(word, known) for word in words]


def _named(word: str, known: Mapping[str, Strategy]) -> Strategy:
    if (found := known.get(word) or built_in(word)) is not None:
        return found
    # Models have slashes in their names as well.
    for place in (match.start() for match in re.finditer("/", word)):
        model, rest = word[:place], word[place + 1 :]
        found = known.get(rest) or built_in(rest)
        if model and found is not None:
            return found.model_copy(update={"name": word, "model": model})
    # Candidates of a preset can't be greedy either.
    drawn = _BEST_OF.fullmatch(word.rpartition(":")[2]) is not None
    return _strategy(word, Declared(model=word, sampling=dict(DRAWN if drawn else GREEDY)))


def check_name(name: str) -> None:
    """Raises BenchmarkError for a name that no table has room for."""
    if not 1 <= len(name) <= LONGEST_NAME:
        raise BenchmarkError(
            f"--strategies {name:.40}...: a name of {len(name)} characters; at most {LONGEST_NAME}"
        )


def check_models(
    strategies: Sequence[Strategy], models: Sequence[str], known: Mapping[str, Strategy]
) -> None:
    """Raises BenchmarkError for a word of --strategies that is neither a strategy nor a model of the endpoint.

    A model counts with a preset or a version behind it. Models that a file names are left for the endpoint to refuse.
    """
    for one in strategies:
        if one.model is None or one.name in known or one.model in models:
            continue
        if not {one.model.rpartition(":")[0], one.model.partition("@")[0]} & set(models):
            raise BenchmarkError(
                f"--strategies {one.name}: no strategy, and no model of the endpoint; there are {WORDS}, "
                f"MODEL/STRATEGY, and the models {', '.join(models)}"
            )


def _strategy(name: str, read: Declared) -> Strategy:
    check_name(name)
    drawn = DRAWN if read.best_of is not None else GREEDY
    contrast = None if read.contrast is False else read.contrast
    return Strategy(
        name=name,
        model=read.model,
        sampling={**drawn, **read.sampling},
        contrast=contrast,
        best_of=read.best_of,
    )
