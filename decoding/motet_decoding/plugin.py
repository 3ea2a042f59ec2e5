"""What vLLM calls in every process it starts (entry-point group ``vllm.general_plugins``)."""

from __future__ import annotations


def register() -> None:
    """Makes every architecture that vLLM serves available as the expert of a two-model engine. Re-entrant."""
    from motet_decoding.engine import vllm_private

    known = set(vllm_private.architectures())
    for architecture in known:
        paired = f"Paired{architecture}"
        if not architecture.startswith("Paired") and paired not in known:
            vllm_private.register_architecture(paired, architecture, f"motet_decoding.engine.model:{paired}")
