"""What a base model is, in four hashes that are quick to take and the same on every machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from motet_alignment.errors import StoreError
from motet_alignment.store.base import TOKENIZER_BYTES, BaseFolder, find_base
from motet_alignment.store.files import read_bytes
from motet_alignment.store.manifest import BaseFingerprint, canonical
from motet_alignment.store.weights import sample

# Of a configuration, what says nothing about the function that its weights compute.
_INCIDENTAL = frozenset(
    "architectures auto_map bos_token_id chunk_size_feed_forward dtype eos_token_id id2label "
    "initializer_range is_decoder label2id max_length output_attentions output_hidden_states pad_token_id "
    "pretraining_tp problem_type return_dict torch_dtype transformers_version unsloth_fixed unsloth_version "
    "use_cache use_return_dict".split()
)
_ROPE = ("rope_theta", "rope_scaling", "rope_parameters")
# Read where there is no tokenizer.json.
_SLOW_TOKENIZERS = (
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "added_tokens.json",
)


def fingerprint(model: str | Path, revision: str | None = None) -> BaseFingerprint:
    """The fingerprint of ``model``: a folder, or a hub name in the local cache or fetched into it.

    Weights are sampled (both ends of each tensor and pieces between, all of small ones), so that a model of tens of
    gigabytes takes seconds; how they are split into files doesn't matter. Raises StoreError.
    """
    base = BaseFolder(find_base(str(model), revision))
    try:
        template = base.chat_template()
        return BaseFingerprint(
            name=_name(str(model), base.path),
            weights=_weights(base),
            tokenizer=_tokenizer(base),
            chat_template=None if template is None else template_sha256(template),
            hidden_size=base.number("hidden_size"),
            vocab_size=base.number("vocab_size"),
        )
    except OSError as error:
        raise StoreError(f"{model} can't be read: {error}") from error


def _name(model: str, folder: Path) -> str:
    if not os.path.isdir(os.path.expanduser(model)):
        return model
    cached = folder.parent.parent.name
    if folder.parent.name == "snapshots" and cached.startswith("models--"):
        return cached.removeprefix("models--").replace("--", "/")
    return folder.name or "base"


def template_sha256(template: str) -> str:
    """Of a chat template's text; a line break at its end, which Jinja drops, makes no difference."""
    return hashlib.sha256(template.removesuffix("\n").encode()).hexdigest()


def architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a model's ``config.json`` decides its function, in one way of writing it."""
    kept = {
        key: architecture(value) if isinstance(value, Mapping) else value
        for key, value in config.items()
        # transformers' private notes begin with "_": where a model came from, which kernel once ran it.
        if key not in _INCIDENTAL
        and key not in _ROPE
        and not key.startswith("_")
        and not key.endswith("dropout")
        and value is not None
    }
    if rope := _rope(config):
        kept["rope"] = rope
    return kept


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    # transformers 5 writes rope_parameters where 4 wrote rope_theta and rope_scaling.
    rope: dict[str, Any] = {}
    for part in ("rope_scaling", "rope_parameters"):
        if not isinstance(scaling := config.get(part) or {}, Mapping):
            raise StoreError(f"config.json: {part} must be an object, not {scaling!r}")
        rope.update(scaling)
    if "type" in rope:
        rope.setdefault("rope_type", rope.pop("type"))
    if "rope_theta" in config:
        rope.setdefault("rope_theta", config["rope_theta"])
    if rope:
        rope.setdefault("rope_type", "default")
    return {key: float(value) if _is_number(value) else value for key, value in rope.items()}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _weights(base: BaseFolder) -> str:
    digest = hashlib.sha256(canonical(architecture(base.config)))
    tensors = dict(base.tensors)
    if base.ties_embeddings and any(name.endswith("embed_tokens.weight") for name in tensors):
        # Some writers store the shared head a second time.
        tensors.pop("lm_head.weight", None)
    descriptors = {shard: os.open(shard, os.O_RDONLY | os.O_CLOEXEC) for shard in base.shards()}
    try:
        for name in sorted(tensors):
            shard, tensor = tensors[name]
            digest.update(canonical([name, tensor.dtype, list(tensor.shape)]))
            digest.update(hashlib.sha256(sample(descriptors[shard], tensor)).digest())
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)
    return digest.hexdigest()


def _tokenizer(base: BaseFolder) -> str:
    config = base.tokenizer_config()
    parts: dict[str, Any] = {
        key: config[key] for key in ("add_bos_token", "add_eos_token") if config.get(key) is not None
    }
    for key in ("bos_token", "eos_token"):
        if (token := config.get(key)) is not None:
            parts[key] = token.get("content") if isinstance(token, Mapping) else token
    if (rules := base.tokenizer_json()) is not None:
        # The last use of a tokenizer leaves its cutting and filling in the file.
        rules = {key: value for key, value in rules.items() if key not in ("truncation", "padding")}
        if isinstance(model := rules.get("model"), Mapping) and isinstance(model.get("merges"), list):
            pairs = [merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model["merges"]]
            rules["model"] = {**model, "merges": pairs}
        parts["rules"] = rules
    else:
        files = [name for name in _SLOW_TOKENIZERS if (base.path / name).exists()]
        files += sorted(path.name for path in base.path.glob("*.tiktoken"))
        if not files:
            raise StoreError(
                f"{base.path} has no tokenizer (tokenizer.json or {', '.join(_SLOW_TOKENIZERS[:2])}, ...)"
            )
        for name in files:
            content = read_bytes(base.path / name, TOKENIZER_BYTES, follow=True)
            parts[name] = hashlib.sha256(content).hexdigest()
    return hashlib.sha256(canonical(parts)).hexdigest()
