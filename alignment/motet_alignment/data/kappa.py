"""How far two annotators agree beyond chance: Cohen's kappa."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from motet_alignment.data.files import Limits, read_rows
from motet_alignment.data.items import Problem
from motet_alignment.data.read import summary
from motet_alignment.data.values import Malformed, Row, kind_of, need
from motet_alignment.errors import DataError

MOST_LABELS = 100
#: Resamples in memory at a time.
_AT_ONCE = 500


class Kappa(BaseModel):
    """Agreement of two annotators on the same examples."""

    model_config = ConfigDict(frozen=True)

    kappa: float | None = Field(
        description="(p_o - p_e) / (1 - p_e); None where both gave one same label throughout."
    )
    low: float | None = Field(description="Lower end of the bootstrap's 95% interval.")
    high: float | None = Field(description="Upper end of it.")
    observed: float = Field(description="p_o, the share of examples on which both agree.")
    expected: float = Field(description="p_e, the share on which they would agree by chance.")
    examples: int
    labels: int = Field(description="Different labels that either gave.")
    undefined: int = Field(
        description="Resamples of the bootstrap in which kappa is undefined; left out of the interval."
    )


def cohen_kappa(
    first: Sequence[Hashable], second: Sequence[Hashable], *, resamples: int = 10_000, seed: int = 0
) -> Kappa:
    """Cohen's kappa of two label sequences with a percentile bootstrap interval over examples.

    Raises ValueError for sequences that are empty or differ in length, hold more than `MOST_LABELS` labels, or some
    as text and some as numbers.
    """
    import numpy as np

    if len(first) != len(second) or not first:
        raise ValueError("both annotators must have labelled the same examples, at least one")
    labels = {label: place for place, label in enumerate(dict.fromkeys([*first, *second]))}
    written: dict[str, Hashable] = {}
    for label in labels:
        # 1 and "1" look the same to whoever wrote them, and would count as disagreement throughout.
        if (other := written.setdefault(str(label), label)) is not label:
            raise ValueError(f"labels {other!r} and {label!r} differ in type only; write them alike")
    if len(labels) > MOST_LABELS:
        raise ValueError(f"{len(labels)} different labels; kappa is for at most {MOST_LABELS} categories")
    table = np.zeros((len(labels), len(labels)))
    for one, other in zip(first, second, strict=True):
        table[labels[one], labels[other]] += 1
    count = len(first)
    observed, expected, kappa = (value[0] for value in _agreement(table[None] / count))
    # Drawing examples with replacement is drawing cells of the table; cells that hold nothing are never drawn.
    filled = np.flatnonzero(table)
    random, shares = np.random.default_rng(seed), table.ravel()[filled] / count
    kappas = np.concatenate(
        [
            _resampled(random.multinomial(count, shares, size=size) / count, filled, len(labels))
            for size in (min(_AT_ONCE, resamples - done) for done in range(0, resamples, _AT_ONCE))
        ]
    )
    defined = kappas[~np.isnan(kappas)]
    low, high = np.quantile(defined, [0.025, 0.975]) if len(defined) and not np.isnan(kappa) else (None, None)
    return Kappa(
        kappa=None if np.isnan(kappa) else float(kappa),
        low=None if low is None else float(low),
        high=None if high is None else float(high),
        observed=float(observed),
        expected=float(expected),
        examples=count,
        labels=len(labels),
        undefined=int(np.isnan(kappas).sum()),
    )


def _agreement(tables: Any) -> tuple[Any, Any, Any]:
    """p_o, p_e and kappa of tables of shares,  # [n, labels, labels]; kappa is nan where p_e is 1."""
    import numpy as np

    observed = np.trace(tables, axis1=1, axis2=2)
    expected = (tables.sum(axis=2) * tables.sum(axis=1)).sum(axis=1)
    return observed, expected, _kappa(observed, expected)


def _resampled(shares: Any, filled: Any, labels: int) -> Any:
    """kappa of each resample,  # [resamples], from the shares of the filled cells,  # [resamples, cells]."""
    import numpy as np

    rows, columns = np.divmod(filled, labels)
    of_first = np.zeros((len(shares), labels))
    of_second = np.zeros((len(shares), labels))
    for cell, (row, column) in enumerate(zip(rows, columns, strict=True)):
        of_first[:, row] += shares[:, cell]
        of_second[:, column] += shares[:, cell]
    return _kappa(shares[:, rows == columns].sum(axis=1), (of_first * of_second).sum(axis=1))


def _kappa(observed: Any, expected: Any) -> Any:
    import numpy as np

    # Shares that sum to 1 but for rounding: exactly 1 only where one cell holds everything.
    chance = expected > 1 - 1e-12
    return np.where(chance, np.nan, (observed - expected) / np.where(chance, 1.0, 1 - expected))


def read_labels(path: Path, first: str, second: str) -> tuple[list[Hashable], list[Hashable]]:
    """Two columns of labels of one file. Raises `DataError` that lists the lines where one is missing."""
    found = _columns(path, (first, second))
    return [values[0] for _, values in found], [values[1] for _, values in found]


def read_joined(
    path: Path, first: str, other: Path, second: str, key: str
) -> tuple[list[Hashable], list[Hashable]]:
    """A column of each of two files, joined by the column `key`.

    Raises `DataError` for a key that stands twice in a file or in one file only.
    """
    one, two = _keyed(path, first, key), _keyed(other, second, key)
    for here, there, name, missing in ((one, two, path, other), (two, one, other, path)):
        if lost := [value for value in here if value not in there]:
            raise DataError(
                f"{name}:{here[lost[0]][0]}: {key} {lost[0]!r} is not in {missing} ({len(lost)} such lines)"
            )
    return [one[value][1] for value in one], [two[value][1] for value in one]


def _keyed(path: Path, column: str, key: str) -> dict[Hashable, tuple[int, Hashable]]:
    result: dict[Hashable, tuple[int, Hashable]] = {}
    for line, (value, label) in _columns(path, (key, column)):
        if value in result:
            raise DataError(f"{path}:{line}: {key} {value!r} stands on line {result[value][0]} already")
        result[value] = (line, label)
    return result


def _columns(path: Path, names: tuple[str, str]) -> list[tuple[int, tuple[Hashable, Hashable]]]:
    found: list[tuple[int, tuple[Hashable, Hashable]]] = []
    problems: list[Problem] = []
    for number, row, reason in read_rows(path, Limits()):
        try:
            if row is None:
                raise Malformed(reason)
            found.append((number, (_label(row, names[0]), _label(row, names[1]))))
        except Malformed as error:
            problems.append(Problem(file=str(path), line=number, reason=str(error)))
    if problems:
        raise DataError(summary(problems))
    if not found:
        raise DataError(f"{path} is empty")
    return found


def _label(row: Row, column: str) -> Hashable:
    value = need(row, column)
    if not isinstance(value, str | int | float):
        raise Malformed(f"{column} must be a label (text, a number, true or false), not {kind_of(value)}")
    # true == 1 in Python, and a file that mixes them mixes two scales.
    return (type(value).__name__, value) if isinstance(value, bool) else value
