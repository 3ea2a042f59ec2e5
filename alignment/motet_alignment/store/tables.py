"""Adapters as people read them: a table of all, a page of one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from motet_alignment.errors import Refused
from motet_alignment.store.adapter import Adapter
from motet_alignment.store.store import AdapterStore

if TYPE_CHECKING:
    from rich.console import RenderableType


def listing(store: AdapterStore) -> list[dict[str, Any]]:
    """Every name with its current version, its versions (oldest first) and what is damaged, as JSON takes it."""
    names: list[dict[str, Any]] = []
    for name in store.names():
        damaged = store.damaged(name)
        try:
            current = store.current(name)
        except Refused as error:
            current, damaged = None, {**damaged, "alias": str(error)}
        versions = [
            {
                "version": adapter.version,
                "kind": adapter.kind,
                "base": adapter.manifest.base.name,
                "rank": adapter.manifest.rank,
                "created": adapter.manifest.created,
                "metrics": adapter.manifest.metrics,
            }
            for adapter in store.versions(name)
        ]
        names.append({"name": name, "current": current, "versions": versions, "damaged": damaged})
    return names


def table(names: list[dict[str, Any]], now: datetime) -> RenderableType:
    """``listing`` as a table, one row a name; what isn't current is told of by its newest version."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "current", "kind", "base", "versions", "age", "measured"):
        drawn.add_column(heading, justify="right" if heading == "versions" else "left")
    for name in names:
        versions = name["versions"]
        shown = next((each for each in versions if each["version"] == name["current"]), None)
        told = shown or (versions[-1] if versions else None)
        count = f"{len(versions)}" + (f" + {len(name['damaged'])} damaged" if name["damaged"] else "")
        facts = (
            (told["kind"], told["base"], count, age(told["created"], now)) if told else ("-", "-", count, "-")
        )
        measured = key_metric(told["metrics"]) if told else ""
        current = name["current"] or "none"
        drawn.add_row(*(Text(str(cell)) for cell in (name["name"], current, *facts, measured)))
    return drawn


def page(adapter: Adapter, *, current: bool) -> RenderableType:
    """A version's manifest, one line a fact."""
    from rich.table import Table
    from rich.text import Text

    manifest = adapter.manifest
    drawn = Table(box=None, show_header=False, pad_edge=False)
    drawn.add_column(style="bold", no_wrap=True)
    drawn.add_column(overflow="fold")

    def row(heading: str, fact: object) -> None:
        drawn.add_row(heading, Text(str(fact)))

    row("adapter", adapter.reference + (" (current)" if current else ""))
    row("kind", manifest.kind)
    row(
        "base",
        f"{manifest.base.name} (weights {manifest.base.weights[:12]}, hidden {manifest.base.hidden_size})",
    )
    row(
        "chat template",
        f"its own ({manifest.chat_template[:12]})" if manifest.chat_template else "the base's",
    )
    row("rank", manifest.rank)
    row("modules", ", ".join(manifest.target_modules))
    row("published", f"{manifest.created} by motet {manifest.motet}")
    row("parents", ", ".join(manifest.parents) or "none")
    for file in manifest.data:
        row("data", f"{file.path}, {file.examples} examples, sha256 {file.sha256[:12]}")
    for heading, values in (("setting", manifest.settings), ("metric", manifest.metrics)):
        for key, value in values.items():
            if value is None or value in ("", [], {}):
                continue  # an option that was left out
            row(heading, f"{key}: {_value(value)}")
    row("folder", adapter.path)
    for relative in sorted(manifest.files):
        row("file", f"{relative}, {size((adapter.path / relative).stat().st_size)}")
    return drawn


def key_metric(metrics: Mapping[str, Any]) -> str:
    """What ``metrics`` say of an adapter's worth, as "name number": an accuracy before a loss before the first number.

    A metric is a number or an estimate (an object with a value). Accuracy on a task comes before that on held-out data.
    """
    numbers = {
        name: value
        for name, value in metrics.items()
        if _numbers(value.get("value") if isinstance(value, Mapping) else value)
    }
    found = min(numbers, key=_worth, default=None)  # the first of the best
    return "" if found is None else f"{found} {_value(numbers[found])}"


def _worth(metric: str) -> int:
    if metric.endswith("accuracy"):
        return 1 if metric.startswith("held_out") else 0
    return 2 if metric.endswith("loss") else 3


def _value(value: Any) -> str:
    if isinstance(value, Mapping) and isinstance(value.get("value"), int | float):
        low, high = value.get("low"), value.get("high")
        between = f" ({low:.4g} to {high:.4g})" if _numbers(low, high) else ""
        return f"{value['value']:.4g}{between}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _numbers(*values: object) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def age(created: str, now: datetime) -> str:
    """How long ago the time ``created`` (ISO 8601) was, in its largest unit, such as "3 h"."""
    then = datetime.fromisoformat(created)
    seconds = max(0.0, (now - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def size(count: int) -> str:
    """``count`` bytes in the unit that reads best, such as "3.1 MB"."""
    number = float(count)
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"
