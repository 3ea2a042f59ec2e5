"""What ``layers.py`` takes from parts of vLLM that its documentation does not promise.

Seen with vLLM 0.32.0. ``tests/decoding/test_layers_private.py`` fails when one of them moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motet_decoding.engine.vllm_private import architecture_class
from motet_decoding.errors import LaunchError

if TYPE_CHECKING:
    import torch

#: Classes that scale what their layers give out after the final norm, and don't scale the inner states they show.
_SCALED_BEHIND_NORM = frozenset({"MiniCPMForCausalLM", "MiniCPM3ForCausalLM"})


def no_inner_layers(architecture: str) -> str | None:
    """Why the states between the layers of vLLM's class for ``architecture`` can't be had; None where they can.

    They are shown to EAGLE-3 drafts by most decoders of text. Some show them in a way of their own, in which the
    embedding is missing.
    """
    from vllm.compilation.wrapper import TorchCompileWithNoGuardsWrapper
    from vllm.model_executor.models.interfaces import SupportsEagle3, supports_eagle3

    theirs: Any = architecture_class(architecture)
    if not supports_eagle3(theirs) or architecture in _SCALED_BEHIND_NORM:
        return f"vLLM's class for {architecture} can't show its inner layers"
    if theirs.set_aux_hidden_state_layers is not SupportsEagle3.set_aux_hidden_state_layers:
        return f"vLLM's class for {architecture} doesn't show all of its inner layers"
    if issubclass(theirs, TorchCompileWithNoGuardsWrapper):
        return f"vLLM compiles the whole of {architecture}, its choice of layers with it"
    return None


def inner_model(model: Any, architecture: str) -> Any:
    """The part of a model that runs its layers and can tell their states, and has its final norm.

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
