"""Reward adapters and reward models as scorers, by what answers POST /v1/rewards.

A chat's candidate is scored as the conversation with the candidate as its last turn, in the judge's own chat template.
A plain completion's is scored as it is: by an adapter the very tokens, by another model the text. What is longer than
the judge's context leaves room for loses its end, so that a candidate that fills the context has a score as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from motet_decoding.best_of.candidate import Candidate, Need, Question
from motet_decoding.best_of.scorer import ScorerError
from motet_decoding.errors import RequestError
from motet_decoding.together import together
from motet_server import rendering_private, vllm_private
from motet_server.best_of.conversations import Decode, whole
from motet_server.reward_adapter import RewardAdapter
from motet_server.reward_models import RewardModels
from motet_server.scores import place

#: What errors call the candidates.
_FIELD = "candidates"


class AdapterScorer:
    """Rewards by one version of a reward adapter, which the request keeps loaded.

    Args:
        adapter: the version.
        salt: the client's, if it has one: what it wants found in the engine's cache by nobody else isn't.
    """

    needs: frozenset[Need] = frozenset()
    alone = True

    def __init__(self, adapter: RewardAdapter, salt: str | None = None) -> None:
        self.name = f"reward:{adapter.reference}"
        self._adapter = adapter
        self._salt = salt

    async def score(self, question: Question, candidates: Sequence[Candidate]) -> list[float]:
        """Raw rewards.

        Raises:
            ScorerError: one can't be rendered or scored.
        """
        try:
            prompts = await together(self._prompt(question, candidate) for candidate in candidates)
            if self._salt is not None:
                prompts = [{**prompt, "cache_salt": self._salt} for prompt in prompts]
            return [score.reward for score in await self._adapter.score(prompts, _FIELD)]
        except RequestError as error:
            raise ScorerError(f"{self.name}: {error}") from error
        except vllm_private.request_problems() as error:
            if vllm_private.engine_is_dead(error):
                raise
            raise ScorerError(f"{self.name}: {error}") from error

    async def _prompt(self, question: Question, candidate: Candidate) -> Any:
        if question.messages is None:
            return rendering_private.tokens_prompt(
                self._adapter.state, (*question.prompt_ids, *candidate.token_ids)
            )
        messages = whole(question.messages, candidate.text, continued=question.continued)
        return await self._adapter.render(messages, place(_FIELD, candidate.index), cut=True)


class ModelScorer:
    """Rewards by a reward model served beside the model.

    Args:
        model: its name.
        models: all of them.
        decode: tokens to text, for prompts that came as tokens.
        salt: as ``AdapterScorer`` has it.
    """

    needs: frozenset[Need] = frozenset()
    alone = True

    def __init__(self, model: str, models: RewardModels, decode: Decode, salt: str | None = None) -> None:
        self.name = f"reward:{model}"
        self._model = model
        self._models = models
        self._decode = decode
        self._salt = salt

    async def score(self, question: Question, candidates: Sequence[Candidate]) -> list[float]:
        """Raw rewards.

        Raises:
            ScorerError: its server doesn't answer, or can't score one.
        """
        conversations = [self._conversation(question, candidate) for candidate in candidates]
        try:
            scores = await self._models.score(self._model, conversations, _FIELD, cut=True, salt=self._salt)
        except RequestError as error:
            raise ScorerError(f"{self.name}: {error}") from error
        return [score.reward for score in scores]

    def _conversation(self, question: Question, candidate: Candidate) -> list[dict[str, Any]] | str:
        if question.messages is not None:
            return whole(question.messages, candidate.text, continued=question.continued)
        prompt = question.prompt
        return f"{self._decode(question.prompt_ids, False) if prompt is None else prompt}{candidate.text}"
