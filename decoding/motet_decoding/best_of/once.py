"""Equal candidates of one request are scored once: of short answers many are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from motet_decoding.best_of.candidate import Candidate, Need, Question
from motet_decoding.best_of.scorer import Scorer, scores_of

_Key = tuple[tuple[int, ...], tuple[int, ...], str, str | None]


class OnceScorer:
    """The same scores by fewer calls, for one request: whoever asks, for the choice, a partial answer or a report.

    What the engine tells of equal candidates differs a little, so a scorer that needs that is asked for each; and so is
    one that looks at candidates together.

    Args:
        scorer: what is asked.
    """

    def __init__(self, scorer: Scorer) -> None:
        self.name = scorer.name
        self.needs: frozenset[Need] = scorer.needs
        self.alone = scorer.alone
        self._scorer = scorer
        self._known: dict[_Key, asyncio.Future[float]] = {}

    async def score(self, question: Question, candidates: Sequence[Candidate]) -> Sequence[float]:
        """As the scorer itself.

        Raises:
            ScorerError: it failed, for whoever asked first.
        """
        if self.needs or not self.alone:
            return await self._scorer.score(question, candidates)
        keys = [(question.prompt_ids, each.token_ids, each.text, each.finish_reason) for each in candidates]
        new = {key: each for key, each in zip(keys, candidates, strict=True) if key not in self._known}
        for key in new:
            self._known[key] = asyncio.get_running_loop().create_future()
        if new:
            await self._ask(question, new)
        # Shielded: who leaves while another's call runs must not end it for the others.
        return [await asyncio.shield(self._known[key]) for key in keys]

    async def _ask(self, question: Question, new: dict[_Key, Candidate]) -> None:
        try:
            scores = await scores_of(self._scorer, question, list(new.values()))
        except BaseException as error:
            for key in new:
                asked = self._known.pop(key)
                if isinstance(error, asyncio.CancelledError):
                    asked.cancel()
                else:
                    asked.set_exception(error)
                    asked.exception()  # nobody else may be waiting
            raise
        for key, score in zip(new, scores, strict=True):
            self._known[key].set_result(score)
