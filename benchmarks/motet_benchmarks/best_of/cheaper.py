"""What the cheaper ways keep of the full best-of-N's accuracy, and of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from motet_benchmarks.best_of.candidates import Found, Pool, total
from motet_benchmarks.best_of.plan import Recipe
from motet_benchmarks.statistics import Difference, Interval, difference, means, ratio_of_sums
from motet_decoding.best_of.select import ranked

#: The aim: full accuracy for at most so large a part of the tokens.
AIM = 0.5
#: From where on an interval of the difference is too wide to speak of the same accuracy: from its middle to its end.
WIDE = 0.04


@dataclass(frozen=True, slots=True)
class Saving:
    """One recipe beside all candidates drawn to their end, on the same problems."""

    recipe: str
    kind: str
    judge: str
    headline: bool
    problems: int
    accuracy: Interval
    full: Interval
    difference: Difference
    """The recipe less full best-of-N."""
    tokens: float
    """For a problem, in the mean."""
    share: Interval
    """Tokens, as a part of those of full best-of-N."""
    rejected: float
    """Candidates dropped before their end, for a problem, in the mean."""

    @property
    def verdict(self) -> str:
        """Whether it is as accurate for half the tokens, where the aim is held against it."""
        if not self.headline:
            return ""
        if self.difference.high < 0:
            return "missed: less accurate"
        if self.share.low > AIM:
            return "missed: too many tokens"
        if self.difference.low < -WIDE:
            return "open: too few problems to tell"
        if self.share.high > AIM:
            return "met, within noise" if self.share.value <= AIM else "missed, within noise"
        return "met"


def saving(recipe: Recipe, pools: Sequence[Pool], found: Sequence[Found], *, seed: int = 0) -> Saving:
    """A recipe's figures; the full best-of-N is what its judge puts first of `pools`, the same problems.

    Raises ValueError unless both are of the same problems, at least one.
    """
    full = [float(pool.right[ranked(pool.scores[recipe.judge])[0]]) for pool in pools]
    cheap = [float(one.right) for one in found]
    tokens = [float(one.tokens) for one in found]
    apart = difference(cheap, full)
    accuracy, accuracy_full = means([cheap, full], seed=seed)
    return Saving(
        recipe=recipe.name,
        kind=recipe.kind,
        judge=recipe.judge,
        headline=recipe.headline,
        problems=len(pools),
        accuracy=accuracy,
        full=accuracy_full,
        difference=apart,
        tokens=sum(tokens) / len(tokens),
        share=ratio_of_sums(tokens, total(pools), seed=seed),
        rejected=sum(one.rejected for one in found) / len(found),
    )
