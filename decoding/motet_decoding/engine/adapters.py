"""What to tell vLLM so that its engine takes adapters while it runs: LoRA for answers, LoRA and a head for rewards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from motet_decoding.engine import PAIRED, SCORED, SCORING_PROCESSOR, vllm_private
from motet_decoding.engine.kinds import read_model, unfit
from motet_decoding.engine.launch import share_key
from motet_decoding.engine.rewards import PARTS
from motet_decoding.errors import LaunchError

if TYPE_CHECKING:
    from vllm.config import ModelConfig


def adapter_options(
    model: str, options: Mapping[str, Any], *, slots: int, loaded: int, max_rank: int
) -> dict[str, Any]:
    """vLLM engine arguments under which ``model`` can be given adapters at any time.

    Args:
        model: a folder or a hub name.
        options: the engine arguments asked for otherwise, by vLLM's names; those of a pair (``pair_options``) among
            them where there is an amateur. Adapters are then the expert's.
        slots: how many adapters may take part in one step of the engine.
        loaded: how many the engine keeps in memory; at least ``slots``.
        max_rank: the largest rank that an adapter may have.

    Returns:
        The engine arguments to set over ``options``.

    Raises:
        LaunchError: for a model or an option under which adapters can't be honoured, and bounds that make no sense.
    """
    ranks = vllm_private.adapter_ranks()
    eager = _cpu_options(options)
    if not isinstance(options.get("hf_overrides") or {}, dict):
        raise LaunchError("hf_overrides: must be a dictionary on a server with adapters, not a function")
    if slots < 1 or loaded < slots:
        raise LaunchError(
            f"adapters: at least one slot, and no more slots than loaded; got {slots} of {loaded}"
        )
    if not 1 <= max_rank <= max(ranks):
        raise LaunchError(f"max_lora_rank: {max_rank} isn't between 1 and {max(ranks)}, vLLM's largest")
    config = read_model("model", {**options, "model": model})
    reason = no_adapters(config)
    if reason is not None:
        raise LaunchError(f"model: {model} can't be given adapters: {reason}")
    share_key(options)
    chosen: dict[str, Any] = {
        **eager,
        "enable_lora": True,
        "max_loras": slots,
        "max_cpu_loras": loaded,
        "max_lora_rank": min(rank for rank in ranks if rank >= max_rank),
    }
    if no_rewards(config, options) is None:
        processors = options.get("logits_processors") or ()
        if SCORING_PROCESSOR not in processors:  # a pair has it
            chosen["logits_processors"] = [*processors, SCORING_PROCESSOR]
        if not config.architecture.startswith(PAIRED):
            chosen["hf_overrides"] = {
                **(options.get("hf_overrides") or {}),
                "architectures": [f"{SCORED}{config.architecture}"],
            }
            # vLLM chooses it by the architecture's name, which isn't the model's own any more.
            chosen["tokenizer_mode"] = config.tokenizer_mode
        if -1 < (20 if options.get("max_logprobs") is None else options["max_logprobs"]) < 1 + PARTS:
            raise LaunchError(
                f"max_logprobs: must be at least {1 + PARTS}, in which rewards leave the engine"
            )
    return chosen


def _cpu_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """What adapters need on a CPU: which rows have which is decided in every step, and a compiled pass would freeze it.

    Raises:
        LaunchError: for an option that asks for what only vLLM's own CPU code does, with the wrong adapters.
    """
    if not on_cpu():
        return {}
    if not options.get("enforce_eager", True):
        raise LaunchError(
            "enforce_eager: needed for adapters on a CPU: a compiled model would freeze which rows have an adapter"
        )
    if options.get("fully_sharded_loras"):
        raise LaunchError(
            "fully_sharded_loras: can't be used on a CPU, where vLLM would give rows without an adapter another's"
        )
    return {"enforce_eager": True}


def on_cpu() -> bool:
    """Whether vLLM runs on a CPU."""
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def no_adapters(config: ModelConfig) -> str | None:
    """Why vLLM couldn't give adapters to this model; None where it could."""
    if config.runner_type != "generate":
        return "it is a pooling model and generates no text"
    if config.is_moe and on_cpu():
        return "with LoRA vLLM runs a mixture of experts by Triton, which a CPU doesn't have"
    if not vllm_private.takes_lora(config.architecture.removeprefix(PAIRED)):
        return f"vLLM's class for {config.architecture.removeprefix(PAIRED)} doesn't support LoRA"
    if config.get_vocab_size() > vllm_private.LARGEST_LORA_VOCABULARY:
        return (
            f"its vocabulary of {config.get_vocab_size()} is larger than the "
            f"{vllm_private.LARGEST_LORA_VOCABULARY} tokens that vLLM's LoRA takes"
        )
    return None


def no_rewards(config: ModelConfig, options: Mapping[str, Any]) -> str | None:
    """Why reward adapters can't be scored on this model under these options; None where they can."""
    name = config.architecture.removeprefix(PAIRED)
    if config.using_transformers_backend():
        return f"vLLM has no class of its own for {config.architectures[0]}"
    if (kind := unfit(config)) is not None:
        return f"it {kind}"
    if vllm_private.prepares_its_own_inputs(name) or name in vllm_private.whole_graph_architectures():
        return f"vLLM treats {name} by its name, which a class of ours over it would not have"
    if options.get("speculative_config"):
        return "with speculative decoding the rows of a step are not one a request"
    return None
