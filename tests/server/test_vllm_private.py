"""Fails loudly when a part of vLLM that the server leans on has moved."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from types import SimpleNamespace

import pytest

import motet_server
from motet_server import bounds, vllm_private

pytestmark = pytest.mark.engine


def test_the_engine_is_the_one_these_reaches_were_seen_with():
    vllm = pytest.importorskip("vllm")
    assert vllm.__version__.split("+")[0] == vllm_private.SEEN_WITH


def test_no_other_file_of_the_server_imports_vllm():
    for file in Path(motet_server.__file__).parent.glob("*.py"):
        names = {
            name.split(".")[0]
            for node in ast.walk(ast.parse(file.read_text()))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert "vllm" not in names or file.name.endswith("_private.py"), file


@pytest.mark.parametrize("get", [vllm_private.chat_handler, vllm_private.completion_handler])
def test_a_request_has_the_fields_we_write_and_its_handler_takes_it(get):
    request_type, handler = get()
    assert {"model", "stop", "cache_salt", "vllm_xargs"} <= set(request_type.model_fields)
    assert list(inspect.signature(handler).parameters) == ["request", "raw_request"]
    request = request_type.model_validate({"messages": [{"role": "user", "content": "a"}], "prompt": "a"})
    request.vllm_xargs = {"key": "value"}
    assert request.to_sampling_params(1, {}).extra_args == {"key": "value"}


def test_of_wrong_messages_the_first_is_complained_about():
    from pydantic import ValidationError

    request_type, _ = vllm_private.chat_handler()
    with pytest.raises(ValidationError) as found:
        request_type.model_validate({"messages": [{"role": "user", "content": "a"}, {}, {}, {"content": 5}]})
    assert {problem["loc"][:2] for problem in found.value.errors()} == {("messages", 1)}


def test_what_the_bounds_let_through_has_room_in_the_v2_runner(monkeypatch):
    from vllm import envs
    from vllm.v1.worker.gpu.sample import logit_bias

    assert bounds.MOST_ENTRIES["logit_bias"] <= logit_bias.MAX_NUM_LOGIT_BIAS_TOKENS
    assert bounds.MOST_ENTRIES["allowed_token_ids"] <= logit_bias.MAX_NUM_ALLOWED_TOKEN_IDS
    # The model's own end tokens stand beside the request's.
    assert bounds.MOST_ENTRIES["stop_token_ids"] <= logit_bias.MAX_NUM_STOP_TOKEN_IDS // 2
    for name, value in {"N_SEQUENCES": 7, "COMPLETION_PROMPTS": 8, "BAD_WORDS_TOTAL_TOKENS": 9}.items():
        monkeypatch.setenv(f"VLLM_MAX_{name}", str(value))
        assert getattr(envs, f"VLLM_MAX_{name}") == value


def test_the_bounds_look_at_fields_that_both_requests_have():
    for get in (vllm_private.chat_handler, vllm_private.completion_handler):
        assert set(get()[0].model_fields) >= bounds.FIELDS
    assert {"prompt", "prompt_embeds"} <= set(vllm_private.completion_handler()[0].model_fields)


def test_problems_are_described_with_message_param_and_status():
    from vllm.exceptions import VLLMValidationError
    from vllm.renderers.chat_utils import ChatTemplateResolutionError

    described = vllm_private.describe_problem(VLLMValidationError("no", parameter="top_p"))
    assert (described["param"], described["code"]) == ("top_p", 400)
    assert "no" in described["message"]
    described = vllm_private.describe_problem(ChatTemplateResolutionError("As of transformers v4.44"))
    assert (described["param"], described["code"]) == ("messages", 400)
    assert "--default-chat-template" in described["message"]
    assert isinstance(VLLMValidationError("no"), vllm_private.request_problems())


@pytest.mark.anyio
async def test_the_model_list_and_the_names_are_where_we_look():
    from vllm.entrypoints.openai.models.protocol import BaseModelPath
    from vllm.entrypoints.openai.models.serving import OpenAIServingModels

    engine = SimpleNamespace(
        model_config=SimpleNamespace(max_model_len=64), renderer=None, input_processor=None
    )
    models = OpenAIServingModels(engine, [BaseModelPath("toy", "/toy"), BaseModelPath("alias", "/toy")])
    models.lora_requests["tuned"] = SimpleNamespace(lora_name="tuned", path="/tuned", base_model_name=None)
    state = SimpleNamespace(openai_serving_models=models)
    assert vllm_private.served_names(state) == ["toy", "alias"]
    assert [vllm_private.answers_as(state, name) for name in ("toy", "alias", "tuned", None)] == [
        *("toy", "toy", "tuned", "toy"),
    ]
    others = [("tuned", "tuned@1", True), ("judge", None, False)]
    cards = (await vllm_private.model_list(state, ["mild", "sharp"], others))["data"]
    writing = ["toy", "alias", "tuned"]
    assert [card["id"] for card in cards] == [
        *writing,
        "judge",
        *(f"{name}:{preset}" for name in writing for preset in ("mild", "sharp")),
    ]
    shown = {card["id"]: (card["root"], card["parent"], card["max_model_len"]) for card in cards}
    assert shown["tuned"] == ("tuned@1", "toy", 64)
    assert shown["tuned:sharp"] == ("tuned@1", "tuned", 64)
    assert shown["alias:mild"] == ("alias", "alias", 64)


def test_tokens_are_read_from_where_vllm_leaves_them():
    from vllm.entrypoints.generate.base.protocol import RequestResponseMetadata
    from vllm.entrypoints.serve.engine.protocol import UsageInfo

    metadata = RequestResponseMetadata(request_id="x")
    request = SimpleNamespace(state=SimpleNamespace(request_metadata=metadata))
    assert vllm_private.generated_tokens(request) is None
    metadata.final_usage_info = UsageInfo(completion_tokens=5)
    assert vllm_private.generated_tokens(request) == 5
    assert vllm_private.generated_tokens(SimpleNamespace(state=SimpleNamespace())) is None


def test_our_plugin_is_what_vllm_expects_of_one():
    from vllm.plugins.endpoint_plugins.interface import EndpointPlugin

    from motet_server.app import MotetEndpoints

    assert isinstance(MotetEndpoints(), EndpointPlugin)


def test_adapters_are_told_to_vllm_under_a_name_that_keys_its_cache(tmp_path):
    from vllm.v1.core import kv_cache_utils

    request = vllm_private.lora_request("polite@0123456789ab", 7, tmp_path)
    assert (request.lora_name, request.lora_int_id, request.lora_path, request.load_inplace) == (
        "polite@0123456789ab",
        7,
        str(tmp_path),
        False,
    )
    keys = kv_cache_utils._gen_lora_extra_hash_keys(SimpleNamespace(lora_request=request))
    assert keys == [("lora", "polite@0123456789ab", str(tmp_path))]


def test_what_vllm_looks_up_by_a_requests_model_is_what_is_put_in():
    from vllm.entrypoints.openai.models.serving import OpenAIServingModels
    from vllm.entrypoints.serve.engine.serving import BaseServing

    assert "self.lora_requests: dict[str, LoRARequest] = {}" in inspect.getsource(OpenAIServingModels)
    models = SimpleNamespace(lora_requests={"polite@0123456789ab": "its request"})
    state = SimpleNamespace(openai_serving_models=models)
    assert vllm_private.loaded_adapters(state) is models.lora_requests
    found = BaseServing._maybe_get_adapters(
        SimpleNamespace(models=models), SimpleNamespace(model="polite@0123456789ab")
    )
    assert found == "its request"


def test_the_engine_has_what_the_shelf_calls():
    from vllm.v1.engine.async_llm import AsyncLLM
    from vllm.v1.engine.exceptions import EngineDeadError

    for name in ("add_lora", "remove_lora", "list_loras"):
        assert inspect.iscoroutinefunction(getattr(AsyncLLM, name))
    assert vllm_private.engine_is_dead(EngineDeadError())
    assert not vllm_private.engine_is_dead(RuntimeError())
    told = vllm_private.engine_complaint(RuntimeError("Call to add_lora method failed: no\n such module"))
    assert told == "the engine doesn't take it: no such module"


@pytest.mark.anyio
async def test_a_request_is_over_before_its_client_is_said_to_have_left():
    import asyncio

    ended = []

    async def handle(order, request):
        try:
            await asyncio.sleep(60)
        finally:
            for _ in range(5):  # as long as it takes to end many candidates
                await asyncio.sleep(0)
            ended.append(order)

    async def receive():
        return {"type": "http.disconnect"}

    app = SimpleNamespace(state=SimpleNamespace(enable_server_load_tracking=False))
    request = SimpleNamespace(app=app, receive=receive)
    assert await vllm_private.cancelled_with_client(handle)("order", request) is None
    assert ended == ["order"]


@pytest.mark.anyio
async def test_who_ends_the_server_ends_what_it_works_on():
    import asyncio

    ended = asyncio.Event()

    async def handle(order, request):
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    request = SimpleNamespace(receive=lambda: asyncio.sleep(60))
    task = asyncio.ensure_future(vllm_private.cancelled_with_client(handle)("order", request))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


def test_the_model_of_a_chats_body_is_made_once():
    assert vllm_private.chat_handler()[0] is vllm_private.chat_handler()[0]
