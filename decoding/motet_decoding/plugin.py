"""What vLLM calls in every process it starts (entry-point group ``vllm.general_plugins``)."""

from __future__ import annotations

from motet_decoding.engine import PAIRED, SCORED


def register() -> None:
    """Makes every architecture that vLLM serves available with a second model or with rewards. Re-entrant."""
    from vllm.platforms import current_platform

    from motet_decoding.engine import vllm_private
    from motet_decoding.engine.cpu_waiting import wait_gently
    from motet_decoding.engine.lockstep_private import copy_leaders_draws
    from motet_decoding.engine.parent import end_with_parent

    end_with_parent()

    for architecture in set(vllm_private.architectures()):
        if not architecture.startswith((PAIRED, SCORED)):
            for prefix in (PAIRED, SCORED):
                own = f"{prefix}{architecture}"
                vllm_private.register_architecture(own, architecture, f"motet_decoding.engine.model:{own}")
    copy_leaders_draws()
    if current_platform.is_cpu():
        wait_gently()
        vllm_private.use_cpu_lora("motet_decoding.engine.cpu_lora.GroupedLora")
