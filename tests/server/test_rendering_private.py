"""Fails loudly when a part of vLLM that rendering leans on has moved."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import pytest

from motet_server import rendering_private

pytestmark = pytest.mark.engine


def test_every_chat_is_rendered_where_an_adapters_template_is_brought():
    from vllm.entrypoints.serve.tokenize.serving import ServingTokenization
    from vllm.renderers.online_renderer import OnlineRenderer

    assert list(inspect.signature(OnlineRenderer.preprocess_chat).parameters)[1:4] == [
        "request",
        "messages",
        "default_template",
    ]
    for renders in (OnlineRenderer.render_chat, OnlineRenderer.render_responses):
        assert "self.preprocess_chat(" in inspect.getsource(renders)
    assert "online_renderer.preprocess_chat(" in inspect.getsource(ServingTokenization)


@pytest.mark.anyio
async def test_a_requests_own_template_comes_before_the_servers():
    seen = []

    async def preprocess_chat(request, messages, default_template, **options):
        seen.append((default_template, options))

    state = SimpleNamespace(online_renderer=SimpleNamespace(preprocess_chat=preprocess_chat))
    own: list[str | None] = [None, "own"]
    rendering_private.bring_templates(state, lambda: own.pop(0))
    for _ in range(2):
        await state.online_renderer.preprocess_chat(1, 2, default_template="server's", tool_dicts=None)
    assert seen == [("server's", {"tool_dicts": None}), ("own", {"tool_dicts": None})]
