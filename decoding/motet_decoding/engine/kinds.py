"""Which kinds of model can be one of a pair, by what vLLM itself knows of them before it loads any weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from motet_decoding.engine import vllm_private
from motet_decoding.errors import LaunchError

if TYPE_CHECKING:
    from vllm.config import ModelConfig

_CONFIG_FILES = ("config.json", "params.json")


def read_model(field: str, options: Mapping[str, Any]) -> ModelConfig:
    """vLLM's reading of a model and its options.

    Args:
        field: how the error calls the model: ``model`` or ``amateur``.
        options: engine arguments by vLLM's names, ``model`` among them.

    Raises:
        LaunchError: for what is no model, or one that vLLM can't serve as asked.
    """
    from huggingface_hub.errors import HFValidationError

    model = options["model"]
    folder = Path(model).expanduser()
    if folder.is_dir() and not any((folder / name).is_file() for name in _CONFIG_FILES):
        raise LaunchError(f"{field}: {model} has no config.json")
    try:
        return vllm_private.model_config(options)
    except (OSError, ValueError) as error:
        absent = isinstance(error, OSError | HFValidationError)
        what = "is neither a model folder nor found on the hub" if absent else "can't be served"
        reason = shorten(vllm_private.reason(error), 400, placeholder=" ...")
        raise LaunchError(f"{field}: {model} {what}: {reason}") from error


def check_kind(field: str, config: ModelConfig) -> None:
    """Refuses a model that isn't a decoder of text with an attention cache.

    Raises:
        LaunchError: saying what it is and why that can't be paired.
    """
    kind = unfit(config)
    if kind is not None:
        raise LaunchError(
            f"{field}: {config.model} ({config.architecture}) {kind}; an expert and its amateur must be decoders of "
            "text with attention throughout"
        )


def unfit(config: ModelConfig) -> str | None:
    """What a model is that isn't a decoder of text with an attention cache; None for one that is."""
    if config.runner_type != "generate":
        return "is a pooling model and generates no text"
    if config.is_encoder_decoder:
        return "has an encoder, whose input the other model would not see"
    if config.is_multimodal_model:
        return "reads more than text, which the other model would not see"
    if config.is_diffusion:
        return "is a diffusion model, which has no next token to contrast"
    if config.is_hybrid or config.is_attention_free or config.has_inner_state:
        return "keeps a recurrent state, which can't be skipped and caught up as a second model's cache is"
    return None
