"""The model card of the bundled pair, written from what was measured."""

from __future__ import annotations

from collections.abc import Mapping

from motet_benchmarks.toys.adapters import REWARD
from motet_benchmarks.toys.adapters_card import adapters_card, percent, points, row
from motet_benchmarks.toys.evaluate import Line, Results
from motet_benchmarks.toys.ppo_card import ppo_card
from motet_benchmarks.toys.record import Made, Record
from motet_benchmarks.toys.settings import Size


def card(record: Record, results: Results) -> str:
    """The card in Markdown."""
    recipe, made, shares = record.recipe, record.made, record.shares
    compiled = {"expert": recipe.expert.compiled, "amateur": recipe.amateur.compiled}
    return "\n".join(
        [
            _HEAD,
            "| | expert | amateur |",
            "|---|---|---|",
            row("parameters", *(f"{made[name].parameters:,}" for name in _PAIR)),
            row("shape", _shape(recipe.expert_size), _shape(recipe.amateur_size)),
            row("trained on", *(f"{made[name].tokens / 1e6:.1f}M tokens" for name in _PAIR)),
            row(
                "in", *(f"{made[name].minutes:.0f} min, {_how(made[name], compiled[name])}" for name in _PAIR)
            ),
            "",
            _TEXT.format(
                context=recipe.expert_size.context,
                row=recipe.expert_corpus.row,
                vocabulary=recipe.vocabulary,
                families=len(shares),
                careless=recipe.amateur_corpus.carelessness,
            ),
            "## Measured",
            "",
            _MEASURED.format(
                count=results.count,
                strength=results.strength,
                plausibility=results.plausibility,
                method=results.overall.against_greedy.method,
            ),
            "| | expert | amateur | contrast | contrast minus expert | gains / losses |",
            "|---|---|---|---|---|---|",
            _line("**all families**", results.overall),
            _line("**with worked steps**", results.worked),
            "",
            "Family by family; «wrong in the text» is the part of the expert's training answers that is mistaken.",
            "",
            "| family | wrong in the text | expert | amateur | contrast | contrast minus expert | gains / losses |",
            "|---|---|---|---|---|---|---|",
            *(_line(f"{name} | {_mistaken(shares, name)}", line) for name, line in results.families.items()),
            "",
            *([] if record.adapters is None else [adapters_card(record.adapters, results, shares)]),
            *([] if record.ppo is None else [ppo_card(record.ppo, record.versions[REWARD])]),
            _LIMITS,
        ]
    )


_PAIR = ("expert", "amateur")

_HEAD = """\
# The bundled models

Two toy language models, an expert and a far smaller amateur, so that a machine without network or GPU can run
everything motet does. They know the short instructions of motet's gym and nothing else: no general English, no facts.
"""

_TEXT = """\
Both are `LlamaForCausalLM` with tied embeddings, a context of {context:,} tokens (trained on conversations of up to
{row}) and one byte-level tokenizer of {vocabulary} entries: bytes, and whole words for what the instructions are
written in. Weights are stored as float32 and rounded to what bfloat16 holds. The chat template is ChatML.

Their text is drawn from the training split of the gym's {families} families. As on the web, part of the answers are
systematic mistakes, mostly a shortcut such as repeating a word instead of spelling it backwards. The amateur is small,
trained shortly, and on worse text: it makes {careless} times as many mistakes. So the amateur learns little but the
shortcuts; in most families the expert learns the right way too, and still says the wrong one where its text mostly
does. Where it does no better than the amateur below, it has not learned the family.
"""

_MEASURED = """\
Greedy decoding, exact graders, up to {count} different held-out problems of each family, with 95%
intervals (Wilson for shares, {method} for differences). Strength {strength} and plausibility
{plausibility} were chosen on the validation split. Measured by `motet models evaluate`, with which `make models` ends.
"""

_LIMITS = """\
## Limits

These are toys for tests, demonstrations and benchmarks of decoding and alignment. Ask them something outside the gym
and they answer with confident nonsense. Intervals of single families are wide, and where contrast loses it says so
above. To serve a real model see the project's README.
"""


def _shape(size: Size) -> str:
    return (
        f"{size.layers} layers, hidden {size.hidden}, intermediate {size.intermediate}, "
        f"{size.heads} heads of {size.head_size}"
    )


def _how(made: Made, compiled: bool) -> str:
    threads = f"{made.threads} CPU thread{'s' if made.threads > 1 else ''}"
    return f"{threads}, compiled" if compiled else threads


def _mistaken(shares: Mapping[str, float], family: str) -> str:
    return f"{shares[family]:.0%}" if family in shares else "not in it"


def _line(name: str, line: Line) -> str:
    apart = line.against_greedy
    voices = (percent(voice) for voice in (line.expert, line.amateur, line.contrast))
    return row(name, *voices, points(apart), f"{apart.gains} / {apart.losses}")
