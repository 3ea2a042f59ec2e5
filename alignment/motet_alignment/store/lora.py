"""What a LoRA folder of PEFT's must be like for an engine to take it, checked without torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motet_alignment.errors import Refused
from motet_alignment.store.base import BaseFolder
from motet_alignment.store.files import read_json
from motet_alignment.store.manifest import Kind
from motet_alignment.store.weights import Tensor, check_finite_weights, read_header

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
CONFIG_BYTES = 2**20
WEIGHTS_BYTES = 64 * 2**30
HEAD = "base_model.model.score.weight"
MAX_RANK = 512  # the largest that vLLM 0.32 can be started with

_PATTERNS = 1024
_INVOLVED = 16
_NAME_LENGTH = 256
_PREFIX = "base_model.model."
_PAIR = re.compile(r"(?P<module>.+)\.(?:lora_(?P<linear>[AB])\.weight|lora_embedding_(?P<embedding>[AB]))\Z")
_REPEATS = re.compile(r"[*+?{|(]")
_WHOLE = ("embed_tokens.weight", "lm_head.weight")
# Initialisations that leave the base's weights alone (vLLM's PEFTHelper has the same list); True, False too.
_INITIALISATIONS = frozenset({"gaussian", "eva", "orthogonal", "mica", "lora_ga"})
# Options of PEFT 0.21's LoraConfig that change what the adapter computes and that vLLM 0.32 doesn't know.
UNSUPPORTED = {
    "use_dora": "DoRA",
    "lora_bias": "a bias in LoRA's matrices",
    "alora_invocation_tokens": "activated LoRA",
    "layer_replication": "replicated layers",
    "use_bdlora": "block-diagonal LoRA",
    "use_qalora": "QALoRA",
    "arrow_config": "Arrow routing",
    "kasa_config": "KaSA",
    "monteclora_config": "MonteCLoRA",
    "trainable_token_indices": "trained token embeddings",
    "target_parameters": "LoRA on bare parameters",
}
# Options that are looked at below, matter to training only, or say where the adapter came from.
HARMLESS = frozenset(
    "alpha_pattern auto_mapping base_model_name_or_path bias corda_config ensure_weight_tying eva_config "
    "exclude_modules fan_in_fan_out inference_mode init_lora_weights layers_pattern layers_to_transform loftq_config "
    "lora_alpha lora_dropout lora_ga_config megatron_config megatron_core modules_to_save peft_type peft_version "
    "qalora_group_size r rank_pattern revision target_modules task_type use_rslora velora_config".split()
)


@dataclass(frozen=True)
class LoraFolder:
    """A checked LoRA: its configuration, where its tensors lie, and its size."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    rank: int
    target_modules: tuple[str, ...]


def check_lora(folder: Path, kind: Kind, base: BaseFolder | None, *, hidden_size: int) -> LoraFolder:
    """Checks ``folder``'s configuration and weights, against the base's modules too where ``base`` is given.

    Raises Refused naming the file and the option, tensor or module at fault.
    """
    config = check_config(folder / CONFIG, kind)
    tensors = read_header(folder / WEIGHTS)
    check_finite_weights(folder / WEIGHTS, tensors)
    rank, targets = _check_tensors(config, tensors, kind, base, hidden_size)
    return LoraFolder(config, tensors, rank, targets)


def check_config(path: Path, kind: Kind) -> dict[str, Any]:
    """PEFT's ``adapter_config.json``. Raises Refused naming the option that an engine wouldn't honour."""
    config = read_json(path, CONFIG_BYTES)

    def refuse(reason: str) -> Refused:
        return Refused(f"{path.name}: {reason}")

    if not isinstance(config, dict):
        raise refuse("must hold a JSON object")
    if config.get("peft_type") != "LORA":
        raise refuse(f"peft_type is {config.get('peft_type')!r}; only LORA adapters can be served")
    for key, value in config.items():
        if value and key in UNSUPPORTED:
            raise refuse(f"{key}: vLLM can't serve {UNSUPPORTED[key]}")
        if value and key not in UNSUPPORTED and key not in HARMLESS:
            raise refuse(f"{key} is set, an option that this motet doesn't know and so can't vouch for")
    if config.get("bias", "none") != "none":
        raise refuse(f"bias is {config['bias']!r}; vLLM can't serve trained biases")
    initialisation = config.get("init_lora_weights", True)
    if isinstance(initialisation, str) and initialisation.lower() not in _INITIALISATIONS:
        raise refuse(
            f"init_lora_weights is {initialisation!r}, which changes the base's own weights; save it as a plain LoRA "
            "with PEFT's path_initial_model_for_weight_conversion"
        )
    if not _is_rank(config.get("r")):
        raise refuse(f"r must be a whole number from 1 to {MAX_RANK}, not {config.get('r')!r}")
    if not _is_number(config.get("lora_alpha")):
        raise refuse(f"lora_alpha must be a number, not {config.get('lora_alpha')!r}")
    for key, fits in (("rank_pattern", _is_rank), ("alpha_pattern", _is_number)):
        pattern = config.get(key) or {}
        if not isinstance(pattern, dict) or not all(fits(value) for value in pattern.values()):
            raise refuse(f"{key} must be an object of patterns and their {key.split('_')[0]}s")
        if hard := next((each for each in pattern if not _is_easy(each)), None):
            raise refuse(f"{key}: {hard[:80]!r} is no regular expression, or too involved a one")
        if len(pattern) > _PATTERNS:
            raise refuse(f"{key} has {len(pattern)} patterns; at most {_PATTERNS} are looked through")
        if (involved := sum(_REPEATS.search(each) is not None for each in pattern)) > _INVOLVED:
            raise refuse(f"{key} has {involved} patterns with repetitions or choices; at most {_INVOLVED}")
    _check_task(config, kind, path.name)
    return config


def _check_task(config: Mapping[str, Any], kind: Kind, where: str) -> None:
    task = config.get("task_type")
    if kind == "reward" and task != "SEQ_CLS":
        raise Refused(f"{where}: task_type is {task!r}; a reward adapter's is SEQ_CLS")
    if kind != "reward" and task not in (None, "CAUSAL_LM"):
        hint = "; is it a reward adapter?" if task == "SEQ_CLS" else ""
        raise Refused(f"{where}: task_type is {task!r}; of kind {kind} it is CAUSAL_LM{hint}")
    # PEFT adds "classifier" and "score" to every SEQ_CLS adapter, whether the model has such modules or not.
    allowed = {"score", "classifier"} if kind == "reward" else set()
    saved = config.get("modules_to_save") or []
    if not isinstance(saved, list) or (extra := [str(module) for module in saved if module not in allowed]):
        raise Refused(
            f"{where}: modules_to_save holds {', '.join(extra) if isinstance(saved, list) else saved!r}; whole "
            "modules can't be served as an adapter"
            + (", but for a reward adapter's score" if kind == "reward" else "")
        )


def _check_tensors(
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    kind: Kind,
    base: BaseFolder | None,
    hidden_size: int,
) -> tuple[int, tuple[str, ...]]:
    pairs: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if kind == "reward" and name == HEAD:
            if tensor.shape != (1, hidden_size):
                raise Refused(
                    f"{WEIGHTS}: {name} is {_by(tensor.shape)}; one score a text needs 1x{hidden_size}"
                )
            continue
        match = _PAIR.match(name) if len(name) <= _NAME_LENGTH else None
        if match is None or not name.startswith(_PREFIX):
            hint = (
                "; save with save_embedding_layers=False"
                if name.endswith((".base_layer.weight", *_WHOLE))
                else ""
            )
            raise Refused(
                f"{WEIGHTS}: {name[:_NAME_LENGTH]} is no LoRA matrix; no engine would apply it{hint}"
            )
        module = match["module"].removeprefix(_PREFIX)
        side = match["linear"] or f"embedding_{match['embedding']}"
        pairs.setdefault(module, {})[side] = tensor
    if kind == "reward" and HEAD not in tensors:
        raise Refused(f"{WEIGHTS} lacks {HEAD}, the reward's head; train with modules_to_save=['score']")
    if not pairs:
        raise Refused(f"{WEIGHTS} holds no LoRA matrices")
    ranks = [_check_pair(module, sides, config, base) for module, sides in sorted(pairs.items())]
    # vLLM reserves room for every rank that the configuration mentions, whether a module has it or not.
    mentioned = (config["r"], *(config.get("rank_pattern") or {}).values())
    return max(*ranks, *mentioned), tuple(sorted({module.rpartition(".")[2] for module in pairs}))


def _check_pair(
    module: str, sides: Mapping[str, Tensor], config: Mapping[str, Any], base: BaseFolder | None
) -> int:
    def refuse(reason: str) -> Refused:
        return Refused(f"{WEIGHTS}: {module}: {reason}")

    embedding = "embedding_A" in sides or "embedding_B" in sides
    keys = ("embedding_A", "embedding_B") if embedding else ("A", "B")
    if set(sides) != set(keys):
        raise refuse(f"has {', '.join(f'lora_{side}' for side in sorted(sides))} and not one pair of A and B")
    first, second = (sides[key].shape for key in keys)
    if len(first) != 2 or len(second) != 2 or first[0] != second[1]:
        raise refuse(f"A is {_by(first)} and B {_by(second)}; they don't multiply")
    rank = first[0]
    if base is not None:
        shape = base.shapes.of(module, transposed=bool(config.get("fan_in_fan_out")))
        if shape is None:
            raise refuse(f"the base {base.path.name} has no such layer; it belongs to another model")
        outputs, inputs = reversed(shape) if embedding else shape
        if (second[0], first[1]) != (outputs, inputs):
            raise refuse(
                f"maps {first[1]} inputs to {second[0]} outputs, the base {base.path.name}'s {inputs} to {outputs}; it "
                "belongs to another model"
            )
    # vLLM scales by the rank that the configuration says, not by the matrices'.
    said = _pattern(config.get("rank_pattern") or {}, module, config["r"])
    if rank != said:
        raise refuse(f"is of rank {rank}, where {CONFIG} says {said}")
    return rank


def _pattern(pattern: Mapping[str, int], module: str, default: int) -> int:
    """The value of the first key that is the ending of ``module``, as PEFT and vLLM look it up."""
    return next((value for key, value in pattern.items() if re.match(rf"(.*\.)?({key})$", module)), default)


def _is_easy(pattern: str) -> bool:
    """Whether matching ``pattern``, which a stranger may have written, takes time that nobody notices."""
    # Every repetition and every group multiplies the ways to match, a repeated group without end; the names of modules
    # need no more than two of the one and one of the other.
    if (
        len(pattern) > _NAME_LENGTH
        or re.search(r"\)[*+?{]", pattern)
        or len(re.findall(r"[*+{?]", pattern)) > 2
        or pattern.count("(") > 1
    ):
        return False
    try:
        re.compile(rf"(.*\.)?({pattern})$")
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _is_rank(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_RANK


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
