"""What to tell vLLM so that one engine holds an expert and an amateur."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from motet_decoding.engine import PAIRED, SCORING_PROCESSOR, vllm_private
from motet_decoding.engine.arguments import KEY_VARIABLE, ensure_engine_key
from motet_decoding.engine.graphs import own_steps
from motet_decoding.engine.kinds import check_kind, read_model
from motet_decoding.engine.vocabulary import vocabulary_difference
from motet_decoding.errors import LaunchError

if TYPE_CHECKING:
    from vllm.config import ModelConfig

PROCESSOR = "motet_decoding.engine.processor:ContrastProcessor"

#: vLLM's ``worker_cls`` for any engine on a CPU, with an amateur or without.
CPU_WORKER = "motet_decoding.engine.cpu_worker.CPUWorker"

#: vLLM options under which a second model can't be honoured, and why.
_REFUSED = {
    "kv_transfer_config": "transferred caches hold nothing of the amateur's",
    "speculative_config": "speculative decoding drafts for one model only",
    "enable_prompt_embeds": "the amateur can't read the expert's prompt embeddings",
}

#: Names more variables that vLLM hands to Ray.
_COPIED = "VLLM_RAY_EXTRA_ENV_VARS_TO_COPY"

_SECRET_LENGTH = 16

#: Options under which a mixture-of-experts amateur can't be honoured, and why.
_REFUSED_WITH_EXPERTS = {
    "data_parallel_size": "replicas that don't need it in a step would keep the others waiting for its experts",
    "enable_ep_weight_filter": "it would drop the amateur's experts by the expert's count of them",
}


def pair_options(
    model: str, amateur: str, options: Mapping[str, Any], *, amateur_revision: str | None = None
) -> dict[str, Any]:
    """vLLM engine arguments that turn ``model`` into the expert of a pair with ``amateur``.

    Args:
        model: the expert: a folder or a hub name.
        amateur: the second model: any decoder of text that vLLM serves, the same vocabulary.
        options: the engine arguments asked for otherwise, by vLLM's names (``hf_overrides``,
            ``logits_processors``, ``max_model_len``, ...).
        amateur_revision: the amateur's branch, tag or commit on the hub; its default branch if not given.

    Returns:
        The engine arguments to set over ``options``.

    Raises:
        LaunchError: for a path that isn't a model, a model or a vocabulary that can't be paired, or an option that
            can't be honoured.
    """
    _refuse(options)
    share_key(options)
    expert_config = read_model("model", {**options, "model": model})
    amateur_config = read_model(
        "amateur",
        {
            "model": amateur,
            "revision": amateur_revision,
            "dtype": expert_config.dtype,
            "hf_token": options.get("hf_token"),
        },
    )
    check_kind("model", expert_config)
    check_kind("amateur", amateur_config)
    _check_expert(expert_config)
    _check_mixture(amateur_config, options)
    stepping = own_steps(expert_config, options, "an amateur", "whether the amateur runs")
    _check_vocabulary(expert_config, amateur_config)
    return {
        "hf_overrides": {
            **(options.get("hf_overrides") or {}),
            "architectures": [f"{PAIRED}{expert_config.architecture}"],
            # The revision that was looked at, whatever the hub has when the weights are read.
            "motet": {
                "amateur": amateur_config.model,
                "revision": amateur_config.revision,
            },
        },
        "logits_processors": [
            *(options.get("logits_processors") or ()),
            PROCESSOR,
            SCORING_PROCESSOR,
        ],
        # vLLM chooses some by the architecture's name, which isn't the expert's own any more.
        "tokenizer_mode": expert_config.tokenizer_mode,
        "max_model_len": _context_length(options.get("max_model_len"), expert_config, amateur_config),
        **stepping,
    }


def _refuse(options: Mapping[str, Any]) -> None:
    for name, reason in _REFUSED.items():
        if options.get(name):
            raise LaunchError(f"{name}: can't be used with an amateur: {reason}")
    if (options.get("pipeline_parallel_size") or 1) > 1:
        raise LaunchError(
            "pipeline_parallel_size: can't be used with an amateur; split the models with tensor_parallel_size"
        )
    formats, asked = vllm_private.two_checkpoint_formats(), options.get("load_format") or "auto"
    if asked not in formats:
        raise LaunchError(
            f"load_format: {asked} can't load an amateur beside the expert; {', '.join(formats)} can"
        )
    if not isinstance(options.get("hf_overrides") or {}, dict):
        raise LaunchError("hf_overrides: must be a dictionary on a server with an amateur, not a function")


def share_key(options: Mapping[str, Any]) -> None:
    """Makes the key, where it can reach every process that the engine will have.

    Raises:
        LaunchError: where it can't, or where the one that was set could be guessed.
    """
    local = options.get("data_parallel_size_local")
    # Balanced from outside or by node, a node's replicas are sent requests by that node's server only.
    own = (
        options.get("data_parallel_hybrid_lb")
        or options.get("data_parallel_external_lb")
        or options.get("data_parallel_rank") is not None
        or options.get("data_parallel_start_rank") is not None
    )
    elsewhere = (
        options.get("headless")
        or (options.get("nnodes") or 1) > 1
        or (local is not None and local < (options.get("data_parallel_size") or 1) and not own)
    )
    secret = os.environ.get(KEY_VARIABLE)
    if elsewhere and not secret:
        raise LaunchError(
            f"{KEY_VARIABLE}: not set, and this engine has processes on other nodes; set it to the same long random "
            "text on every node, or they would not know a contrast or a reward from a plain request"
        )
    if secret is not None and len(secret) < _SECRET_LENGTH:
        raise LaunchError(
            f"{KEY_VARIABLE}: must have at least {_SECRET_LENGTH} characters, or could be guessed"
        )
    ensure_engine_key()
    if options.get("data_parallel_backend") == "ray":
        # Ray starts the replicas with those variables only that vLLM copies; its workers get all of them.
        copied = {*filter(None, os.environ.get(_COPIED, "").split(",")), KEY_VARIABLE}
        os.environ[_COPIED] = ",".join(sorted(copied))


def _check_expert(config: ModelConfig) -> None:
    """A paired class is made from vLLM's own class for the architecture, so there must be one."""
    if config.using_transformers_backend():
        raise LaunchError(
            f"model: vLLM has no class of its own for {config.architectures[0]} ({config.model}) and would run it "
            "through transformers; that can't be the expert of a pair"
        )


def _check_mixture(amateur: ModelConfig, options: Mapping[str, Any]) -> None:
    for name, reason in _REFUSED_WITH_EXPERTS.items():
        if amateur.is_moe and int(options.get(name) or 0) > (name == "data_parallel_size"):
            raise LaunchError(f"{name}: can't be used with a mixture-of-experts amateur: {reason}")


def _check_vocabulary(expert: ModelConfig, amateur: ModelConfig) -> None:
    from transformers import AutoTokenizer

    try:
        tokenizers = [
            AutoTokenizer.from_pretrained(
                config.tokenizer, revision=config.tokenizer_revision, token=config.hf_token
            )
            for config in (expert, amateur)
        ]
    except (OSError, ValueError) as error:
        raise LaunchError(f"amateur: the tokenizers can't be compared: {error}") from error
    difference = vocabulary_difference(*tokenizers)
    if difference:
        raise LaunchError(
            f"amateur: {amateur.model} doesn't share the tokenizer of {expert.tokenizer}: {difference}"
        )


def _context_length(asked: Any, expert: ModelConfig, amateur: ModelConfig) -> Any:
    """The asked context if the amateur can read it; the amateur's where that is the shorter; else vLLM's choice."""
    limit = amateur.max_model_len
    if asked is None:
        return limit if limit < expert.max_model_len else None
    if asked == -1:
        # vLLM then starts from what the expert can read, and knows of no other bound.
        if limit < expert.max_model_len:
            raise LaunchError(
                f"max_model_len: auto would take up to the expert's {expert.max_model_len} positions and the "
                f"amateur reads {limit}; give a number up to {limit}"
            )
        return asked
    try:
        amateur.get_and_verify_max_len(asked)
    except ValueError as error:
        raise LaunchError(
            f"max_model_len: {asked} is more than the amateur's {limit} positions ({error})"
        ) from error
    return asked
