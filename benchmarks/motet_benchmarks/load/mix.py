"""Which requests come, and how often: words with shares, or a file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.load.records import Member
from motet_benchmarks.strategies.declare import declared, named


def read_words(text: str) -> tuple[Member, ...]:
    """The mix of --mix: `STRATEGY=SHARE` with commas between, the share 1 where it isn't said.

    A strategy is a built-in word, a model of the endpoint, or MODEL/STRATEGY. Raises BenchmarkError for a share that
    isn't above zero, and for a strategy that comes twice.
    """
    found = []
    for part in filter(None, map(str.strip, text.split(","))):
        word, _, share = part.rpartition("=") if "=" in part else (part, "", "1")
        if not word.strip():
            raise BenchmarkError(f"--mix {text}: {part} names no strategy")
        (strategy,) = named([word.strip()], {})
        found.append(Member(strategy=strategy, share=_share(share, f"--mix {part}")))
    return _checked(found, f"--mix {text}")


def read_file(file: Path) -> tuple[Member, ...]:
    """The mix of --mix-file: YAML, `name: {share, model, sampling, contrast, best_of}`.

    Raises BenchmarkError naming the file, the member and the key.
    """
    where = f"--mix-file {file}"
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise BenchmarkError(f"{where}: can't be read: {problem.strerror or problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise BenchmarkError(f"{where}: not YAML: {' '.join(str(problem).split())}") from None
    if not isinstance(content, dict):
        raise BenchmarkError(f"{where}: must hold members by name, such as `plain: {{share: 3}}`")
    found = []
    for name, value in content.items():
        if not isinstance(value, dict):
            raise BenchmarkError(f"{where}: {name}: must be a mapping, such as {{share: 3, contrast: true}}")
        rest = {key: one for key, one in value.items() if key != "share"}
        share = _share(value.get("share", 1), f"{where}: {name}.share")
        found.append(Member(strategy=declared(str(name), rest, where), share=share))
    return _checked(found, where)


def _share(value: Any, where: str) -> float:
    try:
        share = float(value)
    except (TypeError, ValueError):
        share = 0.0
    if isinstance(value, bool) or not 0 < share < math.inf:
        raise BenchmarkError(f"{where}: a share must be a number above zero, got {value!r}")
    return share


def _checked(found: list[Member], where: str) -> tuple[Member, ...]:
    names = [member.strategy.name for member in found]
    if not names:
        raise BenchmarkError(f"{where}: names no strategy")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BenchmarkError(f"{where}: {twice} comes twice")
    return tuple(found)
