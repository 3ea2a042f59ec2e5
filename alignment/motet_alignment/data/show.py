"""An inspection for people: tables, bars, and a sample in which what is learnt stands out."""

from __future__ import annotations

from rich.console import Console, Group
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from motet_alignment.data.inspect import Inspection, Lengths

#: Around what is learnt, where there are no colours.
MARKERS = ("⟦", "⟧")
_BAR = 40
_PICTURES = dict.fromkeys(range(0x7F, 0xA0), 0xFFFD) | {
    code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"
}


def show(inspection: Inspection, console: Console) -> None:
    """Prints everything that `inspection` holds."""
    plain = not console.is_terminal
    console.print(Text(str(inspection.path), style="bold"))
    console.print(_facts(inspection))
    for title, measured in (
        (f"Tokens of a {'conversation' if inspection.learnt else 'prompt'}", inspection.conversations),
        ("Tokens that carry loss", inspection.learnt),
    ):
        if measured is not None:
            console.print(_histogram(title, measured))
    if inspection.problem_count:
        console.print(
            Text(
                f"\n{_counted(inspection.problem_count, 'bad line')}, left out here and refused by training:",
                "bold red",
            )
        )
        for problem in inspection.problems:
            console.print(Text(visible(f"  {problem}")), soft_wrap=True)
        if inspection.problem_count > len(inspection.problems):
            console.print(f"  ... and {inspection.problem_count - len(inspection.problems)} more")
    for reason in inspection.fit.refusals:
        console.print(Text(visible(f"  {reason}"), style="red"), soft_wrap=True)
    legend = f"{MARKERS[0]}learnt{MARKERS[1]}" if plain else "bright: learnt, dim: masked"
    if inspection.learnt is None:
        legend = "to be answered"
    sample = sample_text(inspection, plain=plain)
    console.print(Text(f"\nSample {inspection.sample_source} ({legend})"), soft_wrap=True)
    console.print(sample if plain else Panel(sample), soft_wrap=plain)


def sample_text(inspection: Inspection, *, plain: bool) -> Text:
    """The sample; what is learnt in bold green and the rest dim, or between markers."""
    result = Text()
    for piece in inspection.sample:
        text = visible(piece.text)
        if plain:
            result.append(f"{MARKERS[0]}{text}{MARKERS[1]}" if piece.learnt else text)
        else:
            result.append(text, style="bold green" if piece.learnt else "dim")
    return result


def visible(text: str) -> str:
    """`text` with a picture for every control character but line ends and tabs: data must not steer a terminal."""
    return text.translate(_PICTURES)


def _facts(inspection: Inspection) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    fit = inspection.fit
    rows: list[tuple[str, str]] = [
        ("shape", f"{inspection.shape} ({inspection.kind}s)"),
        (
            "rows",
            f"{inspection.rows:,}, of which {inspection.problem_count:,} bad; {inspection.examples:,} examples",
        ),
        ("turns", ", ".join(f"{role} {count:,}" for role, count in inspection.turns.items())),
        (
            "answers",
            ", ".join(
                f"{turns} in {_counted(count, 'example')}" for turns, count in inspection.exchanges.items()
            ),
        ),
        (
            "system prompts",
            f"{inspection.system_prompts:,}, {inspection.different_system_prompts:,} different",
        ),
        (
            "unused columns",
            ", ".join(f"{name} ({count:,})" for name, count in inspection.unused.items()) or "none",
        ),
        ("tokenizer", inspection.tokenizer),
        (
            f"context {fit.context:,}",
            f"{fit.whole:,} whole, {fit.shortened:,} lose oldest turns, {fit.cut:,} lose the end of the answer, "
            f"{fit.refused:,} refused"
            if inspection.learnt
            else f"{fit.whole:,} leave room for an answer, {fit.refused:,} refused",
        ),
        *(
            [
                (
                    "special tokens",
                    f"written out in the text of {_counted(inspection.forged, 'example')}: the model reads them as "
                    "the tokens themselves, such as the end of a turn",
                )
            ]
            if inspection.forged
            else []
        ),
        *(_learning(inspection) if inspection.learnt else []),
        (
            "filters would drop",
            ", ".join(f"{count:,} ({reason})" for reason, count in inspection.filters.items()) or "nothing",
        ),
        ("sha256", inspection.sha256),
    ]
    for name, value in rows:
        table.add_row(name, escape(visible(value)))
    return table


def _learning(inspection: Inspection) -> list[tuple[str, str]]:
    fit = inspection.fit
    return [
        (
            "end of turn",
            f"not learnt in {inspection.open_ended:,}: the template writes no special token behind the answer"
            if inspection.open_ended
            else "learnt",
        ),
        ("packed", f"{_counted(fit.rows, 'row')}, {fit.filled:.0%} full"),
    ]


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _histogram(title: str, measured: Lengths) -> Group:
    marks = ", ".join(f"{name} {value:,}" for name, value in measured.percentiles.items())
    most = max(count for _, _, count in measured.histogram)
    table = Table(show_header=False, box=None, padding=(0, 1, 0, 2))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="blue", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    for begin, end, count in measured.histogram:
        # Whoever is there at all is seen.
        length = max(1, round(_BAR * count / most)) if count else 0
        table.add_row(f"{begin:,}-{end:,}" if begin != end else f"{begin:,}", "█" * length, f"{count:,}")
    return Group(Text(f"\n{title}: {marks}, mean {measured.mean:,.1f}"), table)
