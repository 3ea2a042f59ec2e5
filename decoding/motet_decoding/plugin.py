"""What vLLM calls in every process it starts (entry-point group ``vllm.general_plugins``)."""

from __future__ import annotations

from motet_decoding.engine import PAIRED


def register() -> None:
    """Makes every architecture that vLLM serves available as the expert of a two-model engine. Re-entrant."""
    from motet_decoding.engine import vllm_private

    for architecture in set(vllm_private.architectures()):
        if not architecture.startswith(PAIRED):
            paired = f"{PAIRED}{architecture}"
            vllm_private.register_architecture(paired, architecture, f"motet_decoding.engine.model:{paired}")
