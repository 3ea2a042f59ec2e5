"""A reward adapter split for the engine: a plain LoRA that a generating model takes, and the head by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from motet_alignment.errors import Refused
from motet_alignment.store.files import sync_folder, write_new
from motet_alignment.store.lora import CONFIG, HEAD, WEIGHTS, LoraFolder
from motet_alignment.store.weights import FLOATS, Tensor, write_tensors

ENGINE = "engine"
SCORE = "score.safetensors"
ENGINE_FILES = (f"{ENGINE}/{CONFIG}", f"{ENGINE}/{WEIGHTS}", f"{ENGINE}/{SCORE}")


def config_bytes(config: Mapping[str, Any], base: str) -> bytes:
    """PEFT's configuration in one order, for the base of that name.

    PEFT writes its sets in any order and the base as the path it had on the trainer's machine; either would give equal
    adapters different versions, and the path tells others nothing.
    """
    ordered = {**config, "base_model_name_or_path": base}
    if isinstance(targets := ordered.get("target_modules"), list):
        ordered["target_modules"] = sorted(set(targets))
    if isinstance(saved := ordered.get("modules_to_save"), list):
        ordered["modules_to_save"] = list(dict.fromkeys(saved))
    return (json.dumps(ordered, indent=2, sort_keys=True) + "\n").encode()


def write_engine_files(folder: Path, lora: LoraFolder, base: str) -> dict[str, str]:
    """Writes ``engine/`` beside a reward adapter's files in ``folder``, for the base of that name: path -> sha256.

    vLLM refuses a LoRA that carries a head, or dies of it, so the LoRA goes without, and the head lies in
    ``score.safetensors`` as ``score.weight`` (float32, 1 x hidden). Raises OSError.
    """
    engine = folder / ENGINE
    engine.mkdir()
    config = {**lora.config, "task_type": "CAUSAL_LM", "modules_to_save": None}
    with (folder / WEIGHTS).open("rb") as file:

        def data(tensor: Tensor) -> bytes:
            file.seek(tensor.start)
            return file.read(tensor.end - tensor.start)

        matrices = write_tensors(
            (name, tensor.dtype, tensor.shape, data(tensor))
            for name, tensor in lora.tensors.items()
            if name != HEAD
        )
        head = lora.tensors[HEAD]
        score = write_tensors([("score.weight", "F32", head.shape, as_float32(data(head), head.dtype))])
    written = dict(zip(ENGINE_FILES, (config_bytes(config, base), matrices, score), strict=True))
    hashes = {name: write_new(folder / name, content) for name, content in written.items()}
    sync_folder(engine)
    return hashes


def as_float32(data: bytes, dtype: str) -> bytes:
    """The numbers in ``data``, of the safetensors type ``dtype``, as float32. Raises Refused if one is too large."""
    import numpy as np

    if dtype == "BF16":
        # A bfloat16 is the upper half of a float32.
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).tobytes()
    values = np.frombuffer(data, f"<f{FLOATS[dtype][0]}")
    with np.errstate(over="ignore"):
        narrow = values.astype("<f4")
    if not bool(np.isfinite(narrow).all()):
        raise Refused(f"{HEAD} holds numbers too large for float32")
    return narrow.tobytes()
