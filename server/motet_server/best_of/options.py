"""``--scorer NAME=WHERE``: scorers of somebody's own, checked before any model is loaded."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from motet_decoding.best_of import registry
from motet_decoding.best_of.judge import VOTE, read_judge, read_terms
from motet_decoding.errors import LaunchError

#: Scorers that the server makes of what it serves.
REWARD, IMPLICIT = "reward", "implicit"

#: What a WHERE that is a piece of Python begins with.
PYTHON = "python:"

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def check_scorers(options: Sequence[str]) -> dict[str, str]:
    """``NAME=WHERE`` each, WHERE a URL or ``python:FILE.py:NAME``, as WHERE by NAME.

    Raises:
        LaunchError: naming the option.
    """
    from motet_server.best_of.remote import KEY

    scorers: dict[str, str] = {}
    for option in options:
        name, equals, where = option.partition("=")
        if not equals or not where or not _NAME.fullmatch(name):
            raise LaunchError(
                f"--scorer {option.partition('://')[0]}: must be NAME=URL or NAME=python:FILE.py:FUNCTION, the name of "
                "small letters, digits, '-', '_'"
            )
        said = f"--scorer {name}"
        if name in scorers:
            raise LaunchError(f"{said}: named twice")
        if name in (REWARD, IMPLICIT, VOTE) or name in registry.installed():
            raise LaunchError(f"{said}: a scorer of this name is there already; take another name")
        scorers[name] = _python(where, said) if where.startswith(PYTHON) else _url(where, said)
    key = os.environ.get(KEY, "")
    if not (key.isascii() and key.isprintable()):
        raise LaunchError(f"{KEY}: holds characters that no header may")
    return scorers


def check_judges(judges: Mapping[str, str], scorers: Container[str]) -> None:
    """Holds the names of those who are to decide against the scorers that a server will have.

    Args:
        judges: by what names them; a reward or an adapter may still come.
        scorers: ``check_scorers``'s.

    Raises:
        LaunchError: naming what names one that there will never be.
    """
    for said, name in judges.items():
        try:
            judge = read_judge(name)
            kinds = [term.name.partition(":")[0] for term in read_terms(judge.scorer)] if judge.scorer else []
        except ValueError as error:
            raise LaunchError(f"{said}: {error}") from None
        for kind in kinds:
            if kind not in (REWARD, IMPLICIT) and kind not in registry.installed() and kind not in scorers:
                raise LaunchError(f"{said}: there is no scorer {kind}; --scorer {kind}=WHERE would be one")


def _python(where: str, said: str) -> str:
    """With the file's whole path: other processes of the server load it again."""
    from motet_server.best_of.functions import OwnScorer, load_function

    place = where.removeprefix(PYTHON)
    found = load_function(place, said)
    file, _, name = place.rpartition(":")
    try:
        OwnScorer(name, found, 1.0)
    except Exception as error:
        reason = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise LaunchError(f"{said}: {name} {reason}") from error
    return f"{PYTHON}{Path(file).expanduser().resolve()}:{name}"


def _url(where: str, said: str) -> str:
    try:
        parts = urlsplit(where)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not where.isprintable() or " " in where:
        raise LaunchError(
            f"{said}: must be a URL that begins with http:// or https://, or python:FILE.py:NAME"
        )
    if parts.username is not None or parts.password is not None:
        raise LaunchError(f"{said}: a password in a URL would be told in logs; set MOTET_SCORER_KEY instead")
    return where
