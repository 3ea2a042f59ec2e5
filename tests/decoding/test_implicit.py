"""What the implicit reward makes of an engine's likelihoods (no engine; ``test_certainty.py`` has one)."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from vllm.exceptions import VLLMValidationError
from vllm.v1.engine.exceptions import EngineDeadError

from motet_decoding.best_of.candidate import Candidate, Question
from motet_decoding.best_of.scorer import ScorerError
from motet_decoding.engine.implicit import ImplicitScorer, no_implicit

ADAPTER, OTHER = SimpleNamespace(name="adapter"), SimpleNamespace(name="other")


def configuration(mode: str = "raw_logprobs", fast: bool = False) -> SimpleNamespace:
    return SimpleNamespace(
        model_config=SimpleNamespace(logprobs_mode=mode),
        cache_config=SimpleNamespace(kv_sharing_fast_prefill=fast),
    )


class Engine:
    """Gives token t the log-probability -t / 8 with the adapter, and -t / 16 without."""

    def __init__(
        self, shares: dict | None = None, problem: Exception | None = None, stopped: bool = False
    ) -> None:
        self.shares = shares or {"adapter": 8, None: 16}
        self.problem = problem
        self.stopped = stopped
        self.prompts: list[list[int]] = []
        self.names: set[str] = set()
        self.salts: set[str | None] = set()
        self.vllm_config = configuration()

    async def generate(self, prompt, sampling, request_id, *, lora_request):
        await asyncio.sleep(0)
        if self.problem is not None:
            raise self.problem
        self.prompts.append(prompt["prompt_token_ids"])
        self.names.add(request_id)
        self.salts.add(prompt.get("cache_salt"))
        share = self.shares[None if lora_request is None else lora_request.name]
        told = [{token: SimpleNamespace(logprob=-token / share)} for token in prompt["prompt_token_ids"]]
        yield SimpleNamespace(prompt_logprobs=None if self.stopped else [None, *told[1:]])


def scored(engine, answers, *, prompt=(1, 2), context=16, beta=0.5, reference=None, salt=None):
    scorer = ImplicitScorer(
        engine,
        name="implicit:a",
        adapter=ADAPTER,
        reference=reference,
        beta=beta,
        context=context,
        salt=salt,
    )
    candidates = [Candidate(index, "", answer) for index, answer in enumerate(answers)]
    return asyncio.run(scorer.score(Question(prompt), candidates))


@pytest.mark.parametrize("salt", [None, "mine"])
def test_what_a_client_salts_is_salted_where_it_is_scored(salt):
    engine = Engine()
    scored(engine, [(16, 32)], salt=salt)
    assert engine.salts == {salt}


def test_only_the_answers_tokens_count_and_each_candidate_for_itself():
    engine = Engine()
    assert scored(engine, [(16, 32), (64,)]) == [0.5 * (-48 / 8 + 48 / 16), 0.5 * (-64 / 8 + 64 / 16)]
    assert len(engine.names) == len(engine.prompts) == 4


def test_another_adapter_may_be_the_reference():
    assert scored(Engine({"adapter": 8, "other": 4}), [(16,)], reference=OTHER) == [0.5 * (-2 + 4)]


def test_of_an_answer_that_fills_the_context_the_end_is_left_out():
    engine = Engine()
    assert scored(engine, [(16, 32, 48)], context=5) == scored(Engine(), [(16, 32)])
    assert max(map(len, engine.prompts)) == 4
    assert scored(Engine(), [(16,)], context=3) == [0.0]


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (Engine(problem=ValueError("no such adapter")), "implicit:a: no such adapter"),
        (Engine(problem=VLLMValidationError("too long")), "implicit:a: too long"),
        (Engine(stopped=True), "stopped before"),
        (Engine({"adapter": 1e-320, None: 1.0}), "candidate 0 aren't finite"),
    ],
)
def test_what_the_engine_cannot_tell_is_the_scorers_failure(engine, message):
    with pytest.raises(ScorerError, match=message):
        scored(engine, [(16,)])


def test_an_engine_that_has_died_is_not_taken_for_a_scorer_that_failed():
    with pytest.raises(EngineDeadError):
        scored(Engine(problem=EngineDeadError()), [(16,)])


@pytest.mark.parametrize("beta", [0.0, -1.0, float("nan"), float("inf")])
def test_a_beta_that_is_none_is_refused(beta):
    with pytest.raises(ValueError, match="beta: must be a number above 0"):
        scored(Engine(), [], beta=beta)


@pytest.mark.parametrize(
    ("mode", "fast", "reason"),
    [
        ("raw_logprobs", False, None),
        ("processed_logprobs", False, None),
        ("raw_logits", False, "logprobs_mode raw_logits"),
        ("raw_logprobs", True, "kv_sharing_fast_prefill"),
    ],
)
def test_an_engine_that_cannot_tell_likelihoods_is_not_asked(mode, fast, reason):
    engine = Engine()
    engine.vllm_config = configuration(mode, fast)
    if reason is None:
        assert no_implicit(engine.vllm_config) is None
        return
    with pytest.raises(ScorerError, match=f"implicit:a: .*{reason}"):
        scored(engine, [(16,)])
    assert not engine.prompts
