"""What to tell vLLM so that one engine hears other voices of the same model: further sequences, and its own layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from motet_decoding.engine import PAIRED, SCORED, SCORING_PROCESSOR
from motet_decoding.engine.adapters import no_rewards, on_cpu
from motet_decoding.engine.graphs import own_steps
from motet_decoding.engine.kinds import read_model
from motet_decoding.engine.launch import PROCESSOR, share_key
from motet_decoding.engine.layers_private import SHOWING
from motet_decoding.errors import LaunchError
from motet_decoding.layers import NOT_ASKED, layer_candidates

if TYPE_CHECKING:
    from vllm.config import ModelConfig

#: vLLM's ``scheduler_cls`` for an engine with groups, without and with asynchronous scheduling.
SCHEDULER = "motet_decoding.engine.lockstep.LockstepScheduler"
ASYNC_SCHEDULER = "motet_decoding.engine.lockstep.LockstepAsyncScheduler"

#: Options under which no group is held in lockstep, and why.
_NO_GROUPS = {
    "speculative_config": "with speculative decoding a sequence takes several tokens in one step",
    "kv_transfer_config": "with transferred caches a sequence waits for its own, whatever its group does",
    "kv_offloading_size": "with offloaded caches a sequence waits for its own, whatever its group does",
    "ec_transfer_config": "with transferred encodings a sequence waits for its own, whatever its group does",
    "watermark_config": "a watermark marks each sequence's own draw",
}

#: Options beyond 1 under which none is.
_NO_GROUPS_BEYOND_ONE = {
    "prefill_schedule_interval": "between the steps that read prompts, parts of a group would go on without the rest"
}

#: Where vLLM's own class is kept; ours has no logits to shard.
_NO_GROUPS_THERE = {
    "enable_batch_sharded_sampling": "with sharded sampling the rows of a group are drawn on different ranks"
}

#: Options that split a batch among ranks or halves, so that none of them has all of its rows' states.
_SPLIT = {
    "pipeline_parallel_size": "pipeline parallel has several batches on their way at once",
    "prefill_context_parallel_size": "prefill context parallel splits the tokens of a batch among ranks",
    "decode_context_parallel_size": "decode context parallel splits the cache of a sequence among ranks",
}

#: Options under which the states between layers aren't all there, and why.
_NO_LAYERS = {
    "speculative_config": "with speculative decoding the rows of a step are not one a request",
    "enable_dbo": "with dual batch overlap the halves of a batch run at once",
    "kv_sharing_fast_prefill": "with fast prefill the later layers see some of the tokens only",
}

Layers = Literal["none", "all", "low", "high"] | Sequence[int]


@dataclass(frozen=True)
class VoiceOptions:
    """An engine with voices, or why it has none.

    Attributes:
        options: the engine arguments to set over those asked for.
        no_groups: why no sequence can be held in lockstep with another; None where they can.
        no_layers: why none of the model's layers can be heard; None where some can.
        no_edits: why a contrasted answer can't have its logits biased or penalised as well; None where it can.
        layers: those that can be heard, rising; 0 is the embedding.
        depth: how many the model has; 0 where it wasn't looked at.
        tied: whether its head is tied to its embedding.
    """

    options: dict[str, Any] = field(default_factory=dict)
    no_groups: str | None = None
    no_layers: str | None = None
    no_edits: str | None = None
    layers: tuple[int, ...] = ()
    depth: int = 0
    tied: bool = False


def voice_options(model: str, options: Mapping[str, Any], *, voices: int, layers: Layers) -> VoiceOptions:
    """vLLM engine arguments under which ``model`` is heard in other voices, as far as it can be.

    Args:
        model: a folder or a hub name.
        options: the engine arguments asked for otherwise, by vLLM's names; those of a pair (``pair_options``) and of
            adapters (``adapter_options``) among them. They are applied last.
        voices: the most further sequences and layers of one request; with 0 the engine is left as it is.
        layers: after how many of the model's layers it may be asked; the candidates of one half, or each by number.

    Raises:
        LaunchError: for a model that can't be read, or layers that it doesn't have. What rules voices out otherwise is
            told instead: the engine starts without them.
    """
    if voices == 0:
        reason = "it was started without further voices"
        return VoiceOptions(no_groups=reason, no_layers=reason)
    config = read_model("model", {**options, "model": model})
    name = config.architecture.removeprefix(PAIRED).removeprefix(SCORED)
    depth, tied = config.get_total_num_hidden_layers(), _tied(config)
    asked = _asked(model, layers, depth, tied)
    own = config.architecture != name
    no_class = None if own else _no_class(config, options)
    keyless = _refusal(lambda: share_key(options))
    no_groups = keyless or _no_groups(config, options) or (no_class and _ruled_out(options, _NO_GROUPS_THERE))
    no_layers = keyless or no_class or _no_layers(name, options) if asked else NOT_ASKED
    stepping: dict[str, Any] = {}
    if no_layers is None:
        no_layers = _refusal(
            lambda: stepping.update(own_steps(config, options, "layers", "which of them are heard"))
        )
    known = asked if no_layers is None else ()
    told = {"no_groups": no_groups, "no_layers": no_layers, "layers": known, "depth": depth, "tied": tied}
    if no_groups is not None and no_layers is not None:
        return VoiceOptions(no_edits=no_class, **told)
    chosen: dict[str, Any] = {
        **stepping,
        "logits_processors": _processors(
            options, [PROCESSOR] if no_class else [PROCESSOR, SCORING_PROCESSOR]
        ),
    }
    overrides = dict(options.get("hf_overrides") or {}) if no_class is None else {}
    if not own and no_class is None:
        overrides["architectures"] = [f"{SCORED}{name}"]
        # vLLM chooses it by the architecture's name, which isn't the model's own any more.
        chosen["tokenizer_mode"] = config.tokenizer_mode
    if known:
        overrides["motet"] = {**overrides.get("motet", {}), "layers": list(known)}
    if overrides:
        chosen["hf_overrides"] = overrides
    if no_groups is None:
        chosen["scheduler_cls"] = ASYNC_SCHEDULER if _may_run_ahead(options) else SCHEDULER
    return VoiceOptions(chosen, no_edits=no_class, **told)


def _refusal(step: Callable[[], Any]) -> str | None:
    try:
        step()
    except LaunchError as error:
        return str(error)
    return None


def _tied(config: ModelConfig) -> bool:
    return bool(getattr(config.hf_text_config, "tie_word_embeddings", False))


def _asked(model: str, layers: Layers, depth: int, tied: bool) -> tuple[int, ...]:
    if layers == "none":
        return ()
    if layers == "all":
        return tuple(range(depth))
    if layers == "low" or layers == "high":
        return layer_candidates(layers, depth, tied)
    asked = tuple(sorted({int(layer) for layer in layers}))
    absent = [layer for layer in asked if not 0 <= layer < depth]
    if absent:
        raise LaunchError(
            f"layers: {model} has no layer {absent[0]}; it can be asked from 0, its embedding, to {depth - 1}"
        )
    return asked


def _no_class(config: ModelConfig, options: Mapping[str, Any]) -> str | None:
    """Why our class can't be put over vLLM's; sequences are heard without it as well."""
    if not isinstance(options.get("hf_overrides") or {}, dict):
        return "its hf_overrides are a function"
    return no_rewards(config, options)


def _no_groups(config: ModelConfig, options: Mapping[str, Any]) -> str | None:
    if config.runner_type != "generate":
        return "it is a pooling model and generates no text"
    if config.is_encoder_decoder:
        return "it has an encoder, whose input a further sequence would not have"
    if config.is_diffusion:
        return "it is a diffusion model, which has no next token to contrast"
    if config.is_hybrid or config.is_attention_free or config.has_inner_state:
        return "it keeps a recurrent state, which can't be held back by a token as an attention cache can"
    for name in ("max_num_seqs", "max_num_active_seqs", "max_num_scheduled_tokens"):
        if options.get(name) == 1:
            return f"its steps hold one sequence ({name})"
    if options.get("scheduler_cls") not in (None, SCHEDULER, ASYNC_SCHEDULER):
        return "it has a scheduler of its own (scheduler_cls)"
    return _ruled_out(options, _NO_GROUPS) or _beyond_one(options, {**_NO_GROUPS_BEYOND_ONE, **_SPLIT})


def _no_layers(architecture: str, options: Mapping[str, Any]) -> str | None:
    if architecture not in SHOWING:
        return f"vLLM's class for {architecture} can't show its inner layers"
    return _ruled_out(options, _NO_LAYERS) or _beyond_one(options, _SPLIT)


def _ruled_out(options: Mapping[str, Any], reasons: Mapping[str, str]) -> str | None:
    return next((f"{reason} ({name})" for name, reason in reasons.items() if options.get(name)), None)


def _beyond_one(options: Mapping[str, Any], reasons: Mapping[str, str]) -> str | None:
    return _ruled_out({name: (options.get(name) or 1) > 1 for name in reasons}, reasons)


def _processors(options: Mapping[str, Any], ours: Sequence[str]) -> list[Any]:
    """The logits processors asked for, and each of ``ours`` once."""
    theirs = list(options.get("logits_processors") or ())
    return [*theirs, *(each for each in ours if each not in theirs)]


def _may_run_ahead(options: Mapping[str, Any]) -> bool:
    """Whether vLLM may schedule a step before it has the last one's tokens.

    It decides that later, by more than is known here. The scheduler for it serves as well where it decides against it;
    the other one would not the other way round.
    """
    return not on_cpu() and options.get("async_scheduling") is not False
