"""Scorers are found by their entry points; motet's own go the same way as anybody's."""

from __future__ import annotations

import subprocess
import sys

import pytest

from motet_decoding.best_of import registry

OTHER = """
class Longest:
    name, needs, alone = "longest", frozenset(), True
    async def score(self, question, candidates):
        return [float(len(each.text)) for each in candidates]

def make(argument):
    if argument:
        raise ValueError(f"not {argument}")
    return Longest()
"""
METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: 1\n"
LOOK = """
import sys
sys.path.insert(0, sys.argv[1])
from motet_decoding.best_of import registry
print(sorted(registry.installed()), registry.make("longest", None).name, registry.make("likelihood", "sum").name)
print(registry.is_own("longest"), registry.is_own("likelihood"), registry.is_own("nobody"))
"""


@pytest.mark.parametrize(
    ("name", "argument", "called"),
    [
        ("likelihood", None, "likelihood"),
        ("likelihood", "mean", "likelihood"),
        ("likelihood", "sum", "likelihood:sum"),
        ("certainty", None, "certainty"),
    ],
)
def test_motets_own_are_registered(name, argument, called):
    assert registry.make(name, argument).name == called


@pytest.mark.parametrize(
    ("name", "argument"), [("likelihood", "median"), ("likelihood", ""), ("certainty", "x")]
)
def test_an_argument_that_means_nothing_is_refused(name, argument):
    with pytest.raises(ValueError, match=name):
        registry.make(name, argument)


def test_a_name_that_nobody_registered_is_a_key_error():
    with pytest.raises(KeyError):
        registry.make("nobody", None)


def test_another_distributions_scorer_is_found_and_takes_nobodys_place(tmp_path):
    (tmp_path / "lengths.py").write_text(OTHER)
    folder = tmp_path / "lengths-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(METADATA.format(name="lengths"))
    (folder / "entry_points.txt").write_text(
        "[motet.scorers]\nlongest = lengths:make\nlikelihood = lengths:make\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", LOOK, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "['certainty', 'likelihood', 'longest'] longest likelihood:sum",
        "False True False",
    ]
