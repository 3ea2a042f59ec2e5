"""What vLLM calls in every process it starts (entry-point group ``vllm.general_plugins``)."""

from __future__ import annotations

from motet_decoding.engine import PAIRED


def register() -> None:
    """Makes every architecture that vLLM serves available as the expert of a two-model engine. Re-entrant."""
    from vllm.platforms import current_platform

    from motet_decoding.engine import vllm_private
    from motet_decoding.engine.cpu_waiting import wait_gently

    for architecture in set(vllm_private.architectures()):
        if not architecture.startswith(PAIRED):
            paired = f"{PAIRED}{architecture}"
            vllm_private.register_architecture(paired, architecture, f"motet_decoding.engine.model:{paired}")
    if current_platform.is_cpu():
        wait_gently()
