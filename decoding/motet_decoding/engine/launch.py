"""What to tell vLLM so that one engine holds an expert and an amateur."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from motet_decoding.engine import PAIRED
from motet_decoding.engine.arguments import ensure_engine_key
from motet_decoding.engine.vocabulary import vocabulary_difference
from motet_decoding.errors import LaunchError

PROCESSOR = "motet_decoding.engine.processor:ContrastProcessor"

#: vLLM's ``worker_cls`` for any engine on a CPU, with an amateur or without.
CPU_WORKER = "motet_decoding.engine.cpu_worker.CPUWorker"

#: vLLM options under which a second model can't be honoured, and why.
_REFUSED = {
    "kv_transfer_config": "transferred caches hold nothing of the amateur's",
    "speculative_config": "speculative decoding drafts for one model only",
    "enable_prompt_embeds": "the amateur can't read the expert's prompt embeddings",
}

#: What a mixture-of-experts configuration has.
_EXPERTS = {"num_experts", "num_local_experts", "n_routed_experts"}


def pair_options(model: str, amateur: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """vLLM engine arguments that turn ``model`` into the expert of a pair with ``amateur``.

    Args:
        model: the expert: a folder or a hub name.
        amateur: the second model: any architecture vLLM serves, the same vocabulary.
        options: the engine arguments asked for otherwise, by vLLM's names (``hf_overrides``,
            ``logits_processors``, ``max_model_len``, ...); only what a pair touches is read.

    Returns:
        The engine arguments to set over ``options``.

    Raises:
        LaunchError: for a path that isn't a model, a vocabulary that differs, or an option that can't be honoured.
    """
    _refuse(options)
    expert_config = _config(model, "model", options.get("revision"))
    amateur_config = _config(amateur, "amateur", None)
    _check_vocabulary(options.get("tokenizer") or model, amateur)
    if (options.get("data_parallel_size") or 1) > 1 and _EXPERTS & amateur_config.keys():
        raise LaunchError(
            "data_parallel_size: can't be used with a mixture-of-experts amateur: replicas that don't need it in a "
            "step would keep the others waiting for its experts"
        )
    hf_overrides = options.get("hf_overrides") or {}
    if not isinstance(hf_overrides, dict):
        raise LaunchError("hf_overrides: must be a dictionary on a server with an amateur, not a function")
    architectures = hf_overrides.get("architectures") or expert_config.get("architectures") or []
    if not architectures:
        raise LaunchError(f"model: {model} names no architecture in its config.json")
    return {
        "hf_overrides": {
            **hf_overrides,
            "architectures": [f"{PAIRED}{architectures[0]}"],
            "motet": {"amateur": amateur, "key": ensure_engine_key()},
        },
        "logits_processors": [*(options.get("logits_processors") or ()), PROCESSOR],
        "max_model_len": _context_length(options.get("max_model_len"), expert_config, amateur_config),
        "compilation_config": _compilation(options.get("compilation_config")),
    }


def _refuse(options: Mapping[str, Any]) -> None:
    for name, reason in _REFUSED.items():
        if options.get(name):
            raise LaunchError(f"{name}: can't be used with an amateur: {reason}")
    if (options.get("pipeline_parallel_size") or 1) > 1:
        raise LaunchError(
            "pipeline_parallel_size: can't be used with an amateur; split the models with tensor_parallel_size"
        )


def _config(model: str, field: str, revision: str | None) -> dict[str, Any]:
    """The model's config.json; a local folder is looked at before any hub is asked."""
    from transformers import PretrainedConfig

    folder = Path(model).expanduser()
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise LaunchError(f"{field}: {model} has no config.json")
    try:
        config, _ = PretrainedConfig.get_config_dict(
            str(folder) if folder.is_dir() else model, revision=revision
        )
    except (OSError, ValueError) as error:
        raise LaunchError(
            f"{field}: {model} is neither a model folder nor found on the hub: {error}"
        ) from error
    if not config:
        raise LaunchError(f"{field}: {model} is neither a model folder nor found on the hub")
    return dict(config)


def _check_vocabulary(expert: str, amateur: str) -> None:
    from transformers import AutoTokenizer

    try:
        tokenizers = [AutoTokenizer.from_pretrained(path) for path in (expert, amateur)]
    except (OSError, ValueError) as error:
        raise LaunchError(f"amateur: the tokenizers can't be compared: {error}") from error
    difference = vocabulary_difference(*tokenizers)
    if difference:
        raise LaunchError(f"amateur: {amateur} doesn't share the tokenizer of {expert}: {difference}")


def _positions(config: Mapping[str, Any]) -> int | None:
    text = config.get("text_config") or config
    for name in ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length"):
        if isinstance(text.get(name), int):
            return int(text[name])
    return None


def _context_length(asked: Any, expert: Mapping[str, Any], amateur: Mapping[str, Any]) -> Any:
    """The asked context if the amateur can read it; the amateur's where that is the shorter; else vLLM's choice."""
    limit, own = _positions(amateur), _positions(expert)
    if limit is not None and isinstance(asked, int) and asked > limit:
        raise LaunchError(f"max_model_len: {asked} is more than the amateur's {limit} positions")
    return limit if asked is None and limit is not None and (own is None or limit < own) else asked


def _compilation(asked: Any) -> Any:
    """Piecewise CUDA graphs: a full graph would freeze whether the amateur runs."""
    if asked is None:
        return {"cudagraph_mode": "PIECEWISE"}
    own = isinstance(asked, dict)
    mode = asked.get("cudagraph_mode") if own else asked.cudagraph_mode
    name = "PIECEWISE" if mode is None else str(getattr(mode, "name", mode)).upper()
    if name not in {"PIECEWISE", "NONE"}:
        raise LaunchError(
            f"compilation_config.cudagraph_mode: {name} can't be used with an amateur, which runs only in the "
            "steps that ask for it; use PIECEWISE or NONE"
        )
    if own:
        return {**asked, "cudagraph_mode": name}
    if mode is None:
        # vLLM's command line hands over its own class, and would choose full graphs later.
        asked.cudagraph_mode = type(asked)(cudagraph_mode=name).cudagraph_mode
    return asked
