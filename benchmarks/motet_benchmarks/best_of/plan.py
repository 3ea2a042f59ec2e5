"""Which candidates of whom are drawn, who judges them, and how they are served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from motet_benchmarks import gym

#: The judges, as a request names them but for adapters' names: see ``Plan.judges``.
REWARD, LIKELIHOOD, TOTAL, CERTAINTY, IMPLICIT = (
    "reward",
    "likelihood",
    "likelihood:sum",
    "certainty",
    "implicit",
)
#: The reward kept near what the policy finds likely.
BLEND = f"{REWARD}+{TOTAL}"
VOTE, WEIGHTED = "vote", "vote:reward"
#: The exact grader: no judge can choose better.
ORACLE = "oracle"

#: The two ways to ask: for the answer alone, and for the steps that lead to it.
DIRECT, WORKED = "direct", "worked"

#: Where the gym's answers stand, as its grader sees them: all of a text, or what follows the last "Answer: ".
PATTERN = r"(?s)\A(?:.*Answer: )?(.*?)\.?\s*\z"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A cheaper way than drawing all candidates to their end."""

    name: str
    kind: str
    """The problems that it is for: DIRECT or WORKED."""
    judge: str
    """Chooses among whole answers."""
    settings: Mapping[str, Any]
    """More of the request's `best_of`."""
    headline: bool = False
    """Whether the aim is held against it; said before the test problems are looked at."""


def rejection(
    kind: str, judge: str, at: tuple[int, ...], share: float, by: str, *, headline: bool = False
) -> Recipe:
    """Early rejection at so many tokens, by the scores of partial answers that ``by`` gives."""
    checkpoints = ", ".join(map(str, at))
    settings = {"reject": {"at": list(at), "share": share, "by": by}}
    return Recipe(f"drop {share:.0%} at {checkpoints} by {by}", kind, judge, settings, headline)


def beam(judge: str, width: int, by: str) -> Recipe:
    """A search over the lines of worked steps."""
    return Recipe(f"steps, width {width}, by {by}", WORKED, judge, {"steps": {"width": width, "by": by}})


#: Chosen on the validation split.
RECIPES = (
    rejection(DIRECT, BLEND, (1, 2), 0.5, LIKELIHOOD, headline=True),
    rejection(DIRECT, BLEND, (1,), 0.75, LIKELIHOOD),
    rejection(DIRECT, BLEND, (1, 2), 0.5, REWARD),
    rejection(DIRECT, BLEND, (1, 2), 0.5, CERTAINTY),
    rejection(DIRECT, REWARD, (1, 2), 0.5, LIKELIHOOD),
    rejection(WORKED, BLEND, (8, 16, 32), 0.5, LIKELIHOOD, headline=True),
    rejection(WORKED, BLEND, (8, 16), 0.5, REWARD),
    rejection(WORKED, BLEND, (8, 16, 32), 0.5, CERTAINTY),
    rejection(WORKED, REWARD, (8, 16, 32), 0.5, LIKELIHOOD),
    beam(BLEND, 8, LIKELIHOOD),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured."""

    count: int = 10
    """Test problems of each family, asked for the answer alone."""
    worked: int = 8
    """And of each family that has worked steps, asked to show them."""
    n: int = 32
    sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    """For which the best of so many is estimated; up to ``n``."""
    policy: str = "motet-sft"
    """Who answers."""
    reward: str = "motet-reward"
    implicit: str = "motet-dpo"
    recipes: tuple[Recipe, ...] = RECIPES
    subsets: int = 40
    """Random ones that a vote is held in."""
    together: int = 4
    """Requests at once, each with all its candidates."""
    tokens: int = 128
    """The longest answer."""
    candidates: int = 8
    """Of a request where speed is measured."""
    clients: tuple[int, ...] = (1, 4, 16)
    """Who want the best of so many, at once."""
    rounds: int = 8
    minutes: float = 3.0
    """Speed is measured no longer, but for one round at least: no other is begun that might end later."""
    load: int = 32
    """Best-of requests at once beside plain ones and ones with contrast."""
    phases: int = 6
    """Without them, and as many with them."""
    seconds: float = 6.0
    """Of each phase."""
    seed: int = 0
    families: tuple[str, ...] | None = None
    """All where none are named."""

    def problems(self, kind: str) -> list[gym.Instance]:
        """The test problems, asked so. Raises ValueError for a family that the gym doesn't have."""
        count = self.count if kind == DIRECT else self.worked
        found = gym.instances("test", count=count, seed=self.seed, families=self.families)
        return found if kind == DIRECT else [one.stepwise() for one in found if one.steps]

    def judge(self, name: str) -> str:
        """A judge as a request names it."""
        reward = f"{REWARD}:{self.reward}"
        adapters = {REWARD: reward, BLEND: f"{reward}+{TOTAL}", IMPLICIT: f"{IMPLICIT}:{self.implicit}"}
        return adapters.get(name, name)
