"""Whether a text declines to answer, by how it begins."""

from __future__ import annotations

#: What a refusal begins with, in small letters and with a straight apostrophe.
BEGINNINGS = (
    "sorry",
    "i'm sorry",
    "i am sorry",
    "i apologize",
    "i apologise",
    "my apologies",
    "unfortunately, i",
    "i can't",
    "i cannot",
    "i can not",
    "i won't",
    "i will not",
    "i'm unable",
    "i am unable",
    "i'm not able",
    "i am not able",
    "i don't know",
    "i do not know",
    "i must decline",
    "as an ai",
)


def declined(text: str) -> bool:
    """Whether `text` begins with one of BEGINNINGS, quotation marks, blanks and capitals aside.

    A text that declines later on, in other words or in another language isn't found.
    """
    begun = text[:200].replace("\u2019", "'").casefold().lstrip(" \t\r\n\"'\u201c\u2018*_")
    return begun.startswith(BEGINNINGS)
