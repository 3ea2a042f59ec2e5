"""The implicit reward of an adapter (Rafailov et al. 2023): what its training made likelier, read off the model itself.

    r(x, y) = beta * (log pi_adapter(y | x) - log pi_reference(y | x))

Both are log-likelihoods of a text that is there already: two engine requests, which draw nothing that is used. vLLM
reads no prefix cache for them, and its blocks are keyed by the adapter's name, so neither meets the other's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from motet_decoding.best_of.candidate import Candidate, Need, Question
from motet_decoding.best_of.scorer import ScorerError
from motet_decoding.engine import vllm_private
from motet_decoding.together import together

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.config import VllmConfig
    from vllm.lora.request import LoRARequest


class ImplicitScorer:
    """A ``Scorer`` by an adapter against the base weights or another adapter.

    The answer counts with the token that ended it, and without a contrast. Of an answer that fills the context the
    end is left out, for one token must be free; where nothing of it is left, its score is 0.

    Args:
        client: vLLM's ``EngineClient``.
        name: what answers and metrics call it.
        adapter: the one that was trained.
        reference: what it is compared with; None for the base weights.
        beta: of its training; above 0.
        context: the engine's, in tokens.
        salt: the request's ``cache_salt``, without which nobody may find the conversation in the engine's cache.
    """

    needs: frozenset[Need] = frozenset()
    alone = True

    def __init__(
        self,
        client: Any,
        *,
        name: str,
        adapter: LoRARequest,
        reference: LoRARequest | None,
        beta: float,
        context: int,
        salt: str | None = None,
    ) -> None:
        if not (math.isfinite(beta) and beta > 0):
            raise ValueError(f"beta: must be a number above 0, not {beta}")
        self.name = name
        self._client = client
        self._voices = (adapter, reference)
        self._beta = beta
        self._context = context
        self._salt = salt

    async def score(self, question: Question, candidates: Sequence[Candidate]) -> list[float]:
        """The candidates' implicit rewards.

        Raises:
            ScorerError: where the engine can't tell likelihoods (``no_implicit``), doesn't take a request, or gives a
                token no finite likelihood.
        """
        # Checked here too, whoever made the scorer: under one of these options asking would end vLLM's engine.
        if (reason := no_implicit(self._client.vllm_config)) is not None:
            raise ScorerError(f"{self.name}: {reason}")
        return await together(self._score(question, candidate) for candidate in candidates)

    async def _score(self, question: Question, candidate: Candidate) -> float:
        known = len(question.prompt_ids)
        tokens = [*question.prompt_ids, *candidate.token_ids][: self._context - 1]
        if len(tokens) <= known:
            return 0.0
        trained, before = await together(self._likelihood(tokens, known, voice) for voice in self._voices)
        score = self._beta * (trained - before)
        if not math.isfinite(score):
            raise ScorerError(f"{self.name}: the likelihoods of candidate {candidate.index} aren't finite")
        return score

    async def _likelihood(self, tokens: list[int], known: int, voice: LoRARequest | None) -> float:
        """The sum of the log-probabilities of ``tokens`` behind the first ``known``, in nats."""
        from vllm.inputs import tokens_input

        outputs = self._client.generate(
            tokens_input(tokens, cache_salt=self._salt),
            _sampling(),
            f"implicit-{token_hex(8)}",
            lora_request=voice,
        )
        try:
            (output,) = [each async for each in outputs]  # only the last is told
        except vllm_private.request_failures() as error:
            raise ScorerError(f"{self.name}: {error}") from error
        if output.prompt_logprobs is None:
            raise ScorerError(f"{self.name}: the engine stopped before it had read the answer")
        entries = output.prompt_logprobs[known:]
        return math.fsum(entry[token].logprob for entry, token in zip(entries, tokens[known:], strict=True))


def _sampling() -> SamplingParams:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=0.0,
        max_tokens=1,
        prompt_logprobs=0,  # the prompt's own tokens alone
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def no_implicit(config: VllmConfig) -> str | None:
    """Why implicit rewards can't be had from the engine with this configuration; None where they can."""
    mode = str(config.model_config.logprobs_mode)
    if mode.endswith("logits"):
        return f"with logprobs_mode {mode} the engine tells logits in the place of log-probabilities"
    if config.cache_config.kv_sharing_fast_prefill:
        return "with kv_sharing_fast_prefill vLLM doesn't compute the log-probabilities of prompts"
    return None
