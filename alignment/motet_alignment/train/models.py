"""The base model with a LoRA in it, its tokenizer, and what is known of both."""

from __future__ import annotations

import json
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motet_alignment.errors import TrainError
from motet_alignment.store import (
    Adapter,
    AdapterStore,
    BaseFingerprint,
    default_store,
    find_base,
    fingerprint,
    split_reference,
)
from motet_alignment.train.devices import Place
from motet_alignment.train.settings import AdapterSettings, RewardSettings, TrainSettings

# The longest context taken by itself: models of 128k and more would hold few conversations that need it.
_CONTEXT = 2048
_MANY_PARAMETERS = 10**9


@dataclass(frozen=True)
class Base:
    """A base model on the disk."""

    folder: Path
    fingerprint: BaseFingerprint
    tokenizer: Any
    #: The text of a chat template other than the base's own; None where that is used.
    template: str | None
    context: int
    #: The adapter of the store to go on from.
    start: Adapter | None


def open_base(settings: AdapterSettings) -> Base:
    """Finds the model, its tokenizer and the adapter to start from. Raises TrainError, StoreError, DataError."""
    from transformers import AutoConfig, AutoTokenizer

    folder = find_base(settings.model, settings.revision) if settings.model else _bundled()
    known = fingerprint(str(folder))
    if settings.model and not Path(settings.model).expanduser().is_dir():
        known = known.model_copy(update={"name": settings.model})
    start = _start(settings, known)
    try:
        config = AutoConfig.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as problem:
        raise TrainError(f"--model {settings.model or folder}: {first_line(problem)}") from None
    template = start.chat_template if start is not None else None
    if settings.chat_template is not None:
        try:
            template = settings.chat_template.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            raise TrainError(f"--chat-template {settings.chat_template}: {problem}") from None
    if template is not None:
        tokenizer.chat_template = template
    if not tokenizer.chat_template:
        raise TrainError(
            f"--model {settings.model or folder} has no chat template, by which conversations become text; "
            "give one with --chat-template FILE"
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token is None:
        raise TrainError(
            f"--model {settings.model or folder}: its tokenizer has neither a padding nor an end token"
        )
    most = getattr(config.get_text_config(), "max_position_embeddings", None) or _CONTEXT
    if settings.context > most:
        raise TrainError(f"--context {settings.context}: the model's own context is {most}")
    context = settings.context or min(most, _CONTEXT)
    return Base(folder, known, tokenizer, template, context, start)


def _bundled() -> Path:
    from motet_models import EXPERT

    if not (EXPERT / "config.json").is_file():
        raise TrainError("the bundled models are not built; run `make models`, or name a --model")
    return EXPERT


def find_adapter(reference: str, store: Path | None) -> Adapter:
    """NAME or NAME@VERSION of the store, or of the bundled adapters where the store has no such name, as in serving.

    `store`: $MOTET_HOME/adapters when None. Raises NotFound, StoreError.
    """
    from motet_models import ADAPTERS

    own, bundled = AdapterStore(store or default_store()), AdapterStore(ADAPTERS)
    name, _ = split_reference(reference)
    return (bundled if name in bundled.names() and name not in own.names() else own).get(reference)


def _start(settings: AdapterSettings, base: BaseFingerprint) -> Adapter | None:
    if settings.start is None:
        return None
    adapter = find_adapter(settings.start, settings.store)
    if differ := base.differences(adapter.manifest.base, template=False):
        raise TrainError(
            f"--from {adapter.reference}: it was trained on {adapter.manifest.base.name}, "
            f"whose {' and '.join(differ)} are not those of {base.name}"
        )
    if (adapter.kind == "reward") != isinstance(settings, RewardSettings):
        raise TrainError(
            f"--from {adapter.reference}: a {adapter.kind} adapter "
            + (
                "has a scalar head and can't go on as a policy"
                if adapter.kind == "reward"
                else "has no scalar head"
            )
        )
    _check_same(settings, adapter)
    return adapter


def _check_same(settings: AdapterSettings, adapter: Adapter) -> None:
    """Refuses what is asked of a LoRA that is there already and is otherwise."""
    config = json.loads((adapter.path / "adapter_config.json").read_text("utf-8"))
    has = {
        "rank": adapter.manifest.rank,
        "alpha": config["lora_alpha"],
        "dropout": config["lora_dropout"],
        "target_modules": ",".join(sorted(adapter.manifest.target_modules)),
    }
    for name in sorted(settings.model_fields_set & has.keys()):
        asked = getattr(settings, name)
        if name == "target_modules":
            asked = ",".join(sorted(part.strip() for part in asked.split(",") if part.strip()))
        if asked not in (has[name], "all-linear"):
            option = name.replace("_", "-")
            raise TrainError(
                f"--{option} {asked}: {adapter.reference}, which --from goes on with, has {has[name]}"
            )


def load_model(settings: AdapterSettings, base: Base, place: Place) -> Any:
    """The base, frozen and once in memory, with a trainable LoRA (and a scalar head for rewards): a PeftModel.

    Deterministic in `settings.seed`. Raises TrainError where the model can't be loaded or has no such modules.
    """
    import torch
    from peft import PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, set_seed
    from transformers.utils import logging

    rewards = isinstance(settings, RewardSettings)
    set_seed(settings.seed)
    chatter = logging.get_verbosity()
    # The scalar head is new and the language model's head is unused: both as it should be, and no news.
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model = (AutoModelForSequenceClassification if rewards else AutoModelForCausalLM).from_pretrained(
            base.folder,
            dtype=torch.bfloat16 if place.device == "cuda" and place.precision == "bf16" else torch.float32,
            **({"num_labels": 1} if rewards else {}),
        )
    except (OSError, ValueError, RuntimeError, KeyError) as problem:
        raise TrainError(
            f"--model {settings.model or base.folder} can't be loaded: {first_line(problem)}"
        ) from None
    finally:
        logging.set_verbosity(chatter)
        logging.enable_progress_bar()
    if rewards:
        read_last_token(model, settings.model or str(base.folder))
    if base.start is not None:
        # A published adapter is safetensors only: the store takes nothing else.
        started = PeftModel.from_pretrained(model, str(base.start.path), is_trainable=True)
        # PEFT looks there for the base's vocabulary when it saves; the store knows it by another name.
        started.peft_config["default"].base_model_name_or_path = str(base.folder)
        return _in_fp32(started)
    try:
        return _in_fp32(get_peft_model(model, lora_config(settings)))
    except ValueError as problem:
        raise TrainError(f"--target-modules {settings.target_modules}: {first_line(problem)}") from None


def _in_fp32(model: Any) -> Any:
    """What is trained in float32, whatever the base is in: small steps would be rounded away."""
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    return model


def lora_config(settings: AdapterSettings) -> Any:
    """PEFT's description of the adapter."""
    from peft import LoraConfig

    rewards = isinstance(settings, RewardSettings)
    targets: str | list[str] = settings.target_modules
    if targets != "all-linear":
        targets = [target.strip() for target in settings.target_modules.split(",") if target.strip()]
    return LoraConfig(
        r=settings.rank,
        lora_alpha=2 * settings.rank if settings.alpha is None else settings.alpha,
        lora_dropout=settings.dropout if isinstance(settings, TrainSettings) else 0.0,
        target_modules=targets,
        task_type="SEQ_CLS" if rewards else "CAUSAL_LM",
        modules_to_save=["score"] if rewards else None,
    )


def read_last_token(model: Any, name: str) -> None:
    """Makes `model` (a sequence classifier) score the token that it is told to, by `model(..., last=[rows])`.

    Left to itself it looks for the last token that isn't padding, and so misses the end-of-turn token of every model
    that pads with it; the server reads the last token of the rendered conversation, whatever it is. Raises TrainError
    where there is no head called score.
    """
    import torch

    if not hasattr(model, "score"):
        raise TrainError(f"--model {name}: its sequence classifier has no head called score")
    original = model.forward

    def forward(self: Any, *args: Any, last: Any = None, **kwargs: Any) -> Any:
        if last is None:
            return original(*args, **kwargs)
        for unused in ("labels", "return_dict", "output_attentions", "output_hidden_states"):
            kwargs.pop(unused, None)
        hidden = self.base_model(*args, use_cache=False, **kwargs).last_hidden_state
        rows = hidden[range(len(last)), last]
        # In bf16 close scores would be equal.
        with torch.autocast(rows.device.type, enabled=False):
            return {"logits": self.score(rows.float())}

    model.forward = types.MethodType(forward, model)


def checkpoints_gradients(settings: AdapterSettings, model: Any) -> bool:
    """Whether activations are computed anew for the backward pass."""
    if settings.gradient_checkpointing is not None:
        return settings.gradient_checkpointing
    return sum(weight.numel() for weight in model.parameters()) >= _MANY_PARAMETERS


def first_line(problem: BaseException) -> str:
    """An exception in one line."""
    return str(problem).strip().partition("\n")[0] or type(problem).__name__
