"""What ``layers.py`` takes from parts of vLLM that its documentation does not promise.

Seen with vLLM 0.32.0. ``tests/decoding/test_layers_private.py`` fails when one of them moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motet_decoding.errors import LaunchError

if TYPE_CHECKING:
    import torch

#: Whose states vLLM's class shows as they are, from the embedding on, and hands on to no more than its ``norm`` and its
#: head. Others begin with a later layer, hand on something else, or show none.
SHOWING = frozenset(
    {
        "AfmoeForCausalLM",
        "ApertusForCausalLM",
        "Cohere2MoeForCausalLM",
        "Ernie4_5ForCausalLM",
        "Gemma4ForCausalLM",
        "GptOssForCausalLM",
        "GraniteForCausalLM",
        "GraniteSWAForCausalLM",
        "InternLM3ForCausalLM",
        "LLaMAForCausalLM",
        "LagunaForCausalLM",
        "Llama4ForCausalLM",
        "LlamaForCausalLM",
        "MiMoV2FlashForCausalLM",
        "MiMoV2ForCausalLM",
        "MiniMaxM2ForCausalLM",
        "Ministral3ForCausalLM",
        "MistralForCausalLM",
        "Phi3ForCausalLM",
        "Qwen2ForCausalLM",
        "Qwen3ForCausalLM",
        "Qwen3MoeForCausalLM",
        "SarvamMLAForCausalLM",
        "Step1ForCausalLM",
        "TeleChat2ForCausalLM",
        "TeleChat3ForCausalLM",
        "TeleFLMForCausalLM",
    }
)


def inner_model(model: Any, architecture: str) -> Any:
    """The part of a model that runs its layers and has its final norm, and that can show their states.

    EAGLE-3 drafts are shown them so.

    Raises:
        LaunchError: where vLLM's class has none.
    """
    from vllm.model_executor.models.interfaces import EagleModelMixin

    inner = getattr(model, "model", None)
    if not isinstance(inner, EagleModelMixin) or not callable(getattr(inner, "norm", None)):
        raise LaunchError(f"layers: vLLM's class for {architecture} can't show its inner layers")
    return inner


def is_compiled(part: Any) -> bool:
    """Whether vLLM compiles the ``forward`` of a part of a model."""
    return not getattr(part, "do_not_compile", True)


def tell_layers(inner: Any, layers: tuple[int, ...]) -> None:
    """Has an ``inner_model`` give out the states after some layers as well, in a list behind its hidden states."""
    inner._set_aux_hidden_state_layers(layers)


def keep_embedding(inner: Any) -> None:
    """Has an ``inner_model`` show its embedding as it was: its layers add to that very tensor, in place."""
    show = inner._maybe_add_hidden_state

    def show_copy(
        shown: list[Any], layer: int, hidden: torch.Tensor, residual: torch.Tensor | None
    ) -> list[Any]:
        count = len(shown)
        shown = show(shown, layer, hidden, residual)
        if residual is None and len(shown) > count:
            shown[-1] = shown[-1].clone()
        return shown

    inner._maybe_add_hidden_state = show_copy


def final_norm(inner: Any, states: torch.Tensor) -> torch.Tensor:
    """What an ``inner_model`` does to the states after its last layer, [rows, hidden]."""
    normed = inner.norm(states)
    return normed[0] if isinstance(normed, tuple) else normed  # some give back a residual, there or not
