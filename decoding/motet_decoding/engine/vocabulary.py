"""Whether two models speak of the same tokens, and if not, how they differ."""

from __future__ import annotations

from typing import Any

#: Texts on which tokenizers of one vocabulary but different merges or normalisers part ways.
_PROBES = (
    "The quick brown fox jumps over the lazy dog, twice.",
    "  def f(x):\n\treturn x ** 2  # 12345 + 67.89\n",
    "Größe, naïve, 東京タワー, Привет, مرحبا, 👩‍🚀🎉",
    "CamelCase snake_case 3.14159e-10 http://example.org/?a=b&c=d",
)
_SHOWN = 3


def vocabulary_difference(expert: Any, amateur: Any) -> str | None:
    """How two Hugging Face tokenizers differ, in one sentence; None when token ids mean the same to both."""
    ours, theirs = expert.get_vocab(), amateur.get_vocab()
    if ours != theirs:
        missing = sorted(set(ours) - set(theirs), key=ours.__getitem__)
        extra = sorted(set(theirs) - set(ours), key=theirs.__getitem__)
        moved = sorted(
            (token for token in ours if token in theirs and ours[token] != theirs[token]), key=ours.get
        )
        differences = [
            f"{len(tokens):,} {what} ({', '.join(map(repr, tokens[:_SHOWN]))}{', ...' if len(tokens) > _SHOWN else ''})"
            for tokens, what in (
                (missing, "tokens only the expert has"),
                (extra, "only the amateur has"),
                (moved, "with another id"),
            )
            if tokens
        ]
        return f"the expert has {len(ours):,} tokens, the amateur {len(theirs):,}: {'; '.join(differences)}"
    for text in _PROBES:
        if (a := expert.encode(text, add_special_tokens=False)) != (
            b := amateur.encode(text, add_special_tokens=False)
        ):
            return f"the vocabularies agree, but {text!r} becomes {len(a)} tokens for one and {len(b)} for the other"
    return None
