"""Candidates as reward adapters and reward models are given them, rendered by vLLM's own renderer."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import httpx
import pytest
from tests.server.best_of.judging import CHAT, TEXT, candidate

from motet_decoding.best_of.candidate import Candidate, Question
from motet_decoding.best_of.scorer import ScorerError
from motet_server import launch_private, rendering_private
from motet_server.adapters.leases import chat_template
from motet_server.best_of.conversations import whole
from motet_server.best_of.rewards import AdapterScorer, ModelScorer
from motet_server.reward_adapter import RewardAdapter
from motet_server.reward_models import RewardModels
from motet_server.settings import RewardModel

pytestmark = [pytest.mark.anyio, pytest.mark.engine]

CONTEXT = 256
OWN_TEMPLATE = "{% for message in messages %}[{{ message['content'] }}]{% endfor %}"


class Engine:
    """Gives each prompt its length as its reward, in parts as the engine does; the longest first."""

    def __init__(self, model_config, broken: int | None = None) -> None:
        self.model_config = model_config
        self.broken = broken
        self.seen: list[tuple[list[int], str]] = []
        self.salts: set[str | None] = set()

    async def generate(self, prompt, sampling, request_id, *, lora_request):
        ids = prompt["prompt_token_ids"]
        self.seen.append((ids, lora_request))
        self.salts.add(prompt.get("cache_salt"))
        parts = [0.0, float(len(ids)), 0.25, 0.0]
        if len(self.seen) == self.broken:
            parts[1] = math.nan
        logprobs = {token: SimpleNamespace(logprob=part) for token, part in enumerate(parts)}
        yield SimpleNamespace(outputs=[SimpleNamespace(logprobs=[logprobs])])


@pytest.fixture(scope="module")
def rendering(models):
    """vLLM's renderer for the smallest model, as a server has it, and the model's configuration."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.renderers import renderer_from_config
    from vllm.renderers.online_renderer import OnlineRenderer

    options = ["--max-model-len", str(CONTEXT), "--enforce-eager"]
    arguments = launch_private.parse_options([str(models.expert), *options], {"model": str(models.expert)})
    config = AsyncEngineArgs.from_cli_args(arguments).create_engine_config()
    online = OnlineRenderer(
        config.model_config,
        renderer_from_config(config),
        request_logger=None,
        chat_template=None,
        chat_template_content_format="auto",
    )
    state = SimpleNamespace(online_renderer=online, engine_client=Engine(config.model_config))
    rendering_private.bring_templates(state, chat_template.get)
    return state


def judge(
    rendering, *, template: str | None = None, broken: int | None = None, salt: str | None = None
) -> tuple[AdapterScorer, Engine]:
    engine = Engine(rendering.engine_client.model_config, broken)
    adapter = RewardAdapter("judge@1", rendering, engine, "head", "the adapter", template)  # type: ignore[arg-type]
    return AdapterScorer(adapter, salt), engine


def text_of(rendering, ids) -> str:
    return rendering.online_renderer.renderer.tokenizer.decode(ids)


async def test_candidates_are_scored_as_the_end_of_the_conversation_in_their_order(rendering):
    scorer, engine = judge(rendering)
    candidates = [candidate(0, "Three."), candidate(1, "Four, I think."), candidate(2, "")]
    scores = await scorer.score(CHAT, candidates)
    assert [lora for _, lora in engine.seen] == ["the adapter"] * 3
    rendered = [
        (
            await rendering_private.render_conversation(
                rendering, whole(CHAT.messages, each.text, continued=False)
            )
        )
        for each in candidates
    ]
    assert [ids for ids, _ in engine.seen] == [prompt["prompt_token_ids"] for prompt in rendered]
    assert scores == [len(prompt["prompt_token_ids"]) + 0.25 for prompt in rendered]
    assert "How many?" in text_of(rendering, engine.seen[0][0])


async def test_an_adapter_is_asked_in_its_own_template_whoever_answers(rendering):
    chat_template.set("{{ 'the answering one' }}")
    scorer, engine = judge(rendering, template=OWN_TEMPLATE)
    await scorer.score(CHAT, [candidate(0, "Three.")])
    assert text_of(rendering, engine.seen[0][0]) == "[How many?][Three.]"
    scorer, engine = judge(rendering)
    await scorer.score(CHAT, [candidate(0, "Three.")])
    assert "the answering one" not in text_of(rendering, engine.seen[0][0])
    assert chat_template.get() == "{{ 'the answering one' }}"


@pytest.mark.parametrize(
    "begun",
    ["There are ", [{"type": "text", "text": "There "}, {"type": "text", "text": "are "}], None, []],
)
async def test_a_continued_message_is_one_turn_with_its_continuation(rendering, begun):
    question = Question((1,), (*CHAT.messages, {"role": "assistant", "content": begun}), continued=True)
    scorer, engine = judge(rendering, template=OWN_TEMPLATE)
    await scorer.score(question, [candidate(0, "three.")])
    told = text_of(rendering, engine.seen[0][0])
    assert told.startswith("[How many?][")
    assert told.count("[") == 2
    assert told.replace("\n", "").endswith("There are three.]" if begun else "[three.]")


async def test_what_fills_the_context_loses_its_end_and_has_a_score(rendering):
    scorer, engine = judge(rendering, template=OWN_TEMPLATE)
    scores = await scorer.score(CHAT, [candidate(0, "a" * 2000), candidate(1, "b")])
    assert scores[0] == CONTEXT - 1 + 0.25
    assert text_of(rendering, engine.seen[0][0]).startswith("[How many?][aaaa")
    assert text_of(rendering, engine.seen[1][0]) == "[How many?][b]"


async def test_a_plain_completion_is_scored_as_the_very_tokens(rendering):
    scorer, engine = judge(rendering)
    long = Candidate(1, "x", tuple(range(1000)), "length")
    await scorer.score(TEXT, [candidate(0, "three"), long])
    assert engine.seen[0][0] == [1, 2, 3, 10, 20]
    assert engine.seen[1][0] == [1, 2, 3, *range(CONTEXT - 4)]


async def test_what_a_client_salts_is_salted_where_it_is_scored(rendering):
    for salt in (None, "mine"):
        scorer, engine = judge(rendering, salt=salt)
        for question in (CHAT, TEXT):
            await scorer.score(question, [candidate(0, "three")])
        assert engine.salts == {salt}


async def test_a_candidate_that_the_engine_can_not_score_ends_it(rendering):
    scorer, _ = judge(rendering, broken=2)
    with pytest.raises(ScorerError, match=r"^reward:judge@1: candidates\.1: the engine could not score"):
        await scorer.score(CHAT, [candidate(0, "a"), candidate(1, "b"), candidate(2, "c")])


async def test_a_conversation_that_can_not_be_rendered_is_the_scorers_failure(rendering):
    scorer, engine = judge(rendering, template="{{ raise_exception('no such turn') }}")
    with pytest.raises(ScorerError, match=r"^reward:judge@1: candidates\.\d: .*no such turn"):
        await scorer.score(CHAT, [candidate(0, "a"), candidate(1, "b")])
    assert engine.seen == []  # nothing is scored before all can be


def beside(answer, salt: str | None = None) -> ModelScorer:
    model = RewardModel(
        name="beside", model="m", url="http://127.0.0.1:9", key="k", process=1, log="/nowhere"
    )
    models = RewardModels([model])
    models._clients["beside"] = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://a")
    return ModelScorer("beside", models, lambda ids, _: f"<{len(ids)}>", salt)


async def test_a_reward_model_is_given_messages_or_a_text_and_may_cut_them():
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(json.loads(request.content))
        return httpx.Response(
            200, json={"data": [{"probs": [float(len(seen))]}], "usage": {"prompt_tokens": 3}}
        )

    scorer = beside(answer)
    assert scorer.name == "reward:beside"
    assert await scorer.score(CHAT, [candidate(0, "Three.")]) == [1.0]
    assert await scorer.score(TEXT, [candidate(0, "three")]) == [2.0]
    assert await scorer.score(Question((1, 2)), [candidate(0, "three")]) == [3.0]
    always = {"use_activation": False, "truncate_prompt_tokens": -1, "truncation_side": "right"}
    said = [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": "Three."}]
    assert seen == [
        {"messages": said, "add_generation_prompt": False, **always},
        {"input": "One, two, three", **always},
        {"input": "<2>three", **always},
    ]
    await beside(answer, "mine").score(TEXT, [candidate(0, "three")])
    assert seen[-1] == {"input": "One, two, three", "cache_salt": "mine", **always}


async def test_a_reward_model_that_does_not_answer_is_the_scorers_failure():
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503)

    with pytest.raises(ScorerError, match=r"^reward:beside: model: the server of beside says 503"):
        await beside(answer).score(CHAT, [candidate(0, "a")])


def test_vllms_pooling_server_knows_what_it_is_sent():
    from vllm.entrypoints.pooling.classify.protocol import (
        ClassificationChatRequest,
        ClassificationCompletionRequest,
    )

    sent = {"use_activation", "cache_salt", *rendering_private.CUT_AT_THE_END}
    assert sent | {"messages", "add_generation_prompt"} <= set(ClassificationChatRequest.model_fields)
    assert sent | {"input"} <= set(ClassificationCompletionRequest.model_fields)
