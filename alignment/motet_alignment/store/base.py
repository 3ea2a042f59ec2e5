"""A base model's folder: where it is, its configuration, its tokenizer, and the shapes of its modules."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from motet_alignment.errors import Refused, StoreError
from motet_alignment.store.files import read_bytes, read_json
from motet_alignment.store.weights import Tensor, read_header

JSON_BYTES = 64 * 2**20
TOKENIZER_BYTES = 512 * 2**20
TEMPLATE_BYTES = 256 * 2**10
_INDEX = "model.safetensors.index.json"
_PATTERNS = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", "*.tiktoken"]


def find_base(model: str, revision: str | None = None) -> Path:
    """The folder of ``model``: a folder's path, or a hub name that is in the local cache or is fetched into it.

    Raises StoreError naming ``model`` if it is neither.
    """
    folder = os.path.expanduser(model)
    if os.path.isdir(folder):
        return Path(folder).resolve()
    if model.count("/") > 1 or model.startswith((".", "/", "~")) or os.path.exists(folder):
        raise StoreError(f"there is no model folder {model}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    def snapshot(*, local: bool) -> Path:
        return Path(
            snapshot_download(model, revision=revision, allow_patterns=_PATTERNS, local_files_only=local)
        )

    try:
        try:
            found = snapshot(local=True)
            # A snapshot may hold a configuration only, of somebody who asked for no more.
            if BaseFolder(found).shards():
                return found
        except (LocalEntryNotFoundError, StoreError):
            pass
        return snapshot(local=False)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise StoreError(f"{model} is no folder, and as a hub name it can't be had: {reason}") from error


@dataclass(frozen=True)
class BaseFolder:
    """Reads what lies in a base model's folder; nothing is loaded by torch."""

    path: Path
    follow: bool = True  # symbolic links, of which the hub's cache consists

    @cached_property
    def config(self) -> dict[str, Any]:
        """``config.json``. Raises StoreError if it isn't there or is no JSON object."""
        return self._json("config.json", JSON_BYTES)

    @cached_property
    def text_config(self) -> dict[str, Any]:
        """The part of the configuration that describes the text model (all of it, if that is all there is)."""
        for part in ("text_config", "llm_config", "language_config"):
            if isinstance(inner := self.config.get(part), dict):
                return inner
        return self.config

    def number(self, key: str) -> int:
        """The positive whole number ``key`` of the text model's configuration. Raises StoreError."""
        value = self.text_config.get(key, self.config.get(key))
        if key == "hidden_size" and value is None:
            value = self.text_config.get("n_embd", self.text_config.get("d_model"))
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise StoreError(
                f"{self.path / 'config.json'}: {key} must be a positive whole number, not {value!r}"
            )
        return value

    @property
    def ties_embeddings(self) -> bool:
        """Whether the output head shares the embedding's weights."""
        return bool(
            self.text_config.get("tie_word_embeddings", self.config.get("tie_word_embeddings", False))
        )

    def shards(self) -> list[Path]:
        """The safetensors files of the weights, in order. Raises StoreError if there are none or one is missing."""
        if (self.path / _INDEX).exists():
            weight_map = self._json(_INDEX, JSON_BYTES).get("weight_map")
            if not isinstance(weight_map, dict):
                raise StoreError(f"{self.path / _INDEX}: weight_map must be an object")
            names = sorted({str(name) for name in weight_map.values()})
            if bad := [name for name in names if "/" in name or name.startswith(".")]:
                raise StoreError(f"{self.path / _INDEX} names {bad[0]!r}, which is no file of the folder")
        elif (self.path / "model.safetensors").exists():
            names = ["model.safetensors"]
        else:
            # Some checkpoints carry the same weights once more in the maker's own layout.
            found = (path.name for path in self.path.glob("*.safetensors"))
            names = sorted(name for name in found if not name.startswith(("consolidated", "adapter_model")))
        if not names:
            raise StoreError(
                f"{self.path} holds no safetensors weights; nothing else is read, pickles least of all"
            )
        if missing := [name for name in names if not (self.path / name).is_file()]:
            raise StoreError(f"{self.path} lacks {missing[0]}, which holds a part of its weights")
        return [self.path / name for name in names]

    @cached_property
    def tensors(self) -> dict[str, tuple[Path, Tensor]]:
        """Name -> file and place of every tensor of the weights. Raises StoreError, Refused."""
        return {
            name: (shard, tensor) for shard in self.shards() for name, tensor in read_header(shard).items()
        }

    @cached_property
    def shapes(self) -> ModuleShapes:
        """The shapes of its modules."""
        return ModuleShapes(self)

    def tokenizer_json(self) -> dict[str, Any] | None:
        """``tokenizer.json``, or None. Raises StoreError, Refused."""
        return (
            self._json("tokenizer.json", TOKENIZER_BYTES) if (self.path / "tokenizer.json").exists() else None
        )

    def tokenizer_config(self) -> dict[str, Any]:
        """``tokenizer_config.json``, empty where there is none. Raises StoreError, Refused."""
        name = "tokenizer_config.json"
        return self._json(name, JSON_BYTES) if (self.path / name).exists() else {}

    def chat_template(self) -> str | None:
        """The chat template's text, looked for where transformers looks. Raises StoreError, Refused."""
        if (self.path / "chat_template.jinja").exists():
            return template_text(
                read_bytes(self.path / "chat_template.jinja", TEMPLATE_BYTES, follow=self.follow), self.path
            )
        template: object = self.tokenizer_config().get("chat_template")
        if template is None and (self.path / "chat_template.json").exists():
            template = self._json("chat_template.json", JSON_BYTES).get("chat_template")
        if isinstance(template, list):
            named = {
                entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)
            }
            template = named.get("default")
        return template if isinstance(template, str) else None

    def _json(self, name: str, limit: int) -> dict[str, Any]:
        try:
            value = read_json(self.path / name, limit, follow=self.follow)
        except FileNotFoundError:
            raise StoreError(f"{self.path} has no {name}; it is no model's folder") from None
        except OSError as error:
            raise StoreError(f"{self.path / name} can't be read: {error.strerror}") from error
        if not isinstance(value, dict):
            raise Refused(f"{self.path / name} must hold a JSON object")
        return value


def template_text(content: bytes, where: Path) -> str:
    """``content`` as text. Raises Refused naming ``where`` if it isn't UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Refused(f"{where}: the chat template is not UTF-8: {error}") from None


class ModuleShapes:
    """What goes into a base's linear layers and embeddings and what comes out, from the headers of its weights."""

    def __init__(self, base: BaseFolder) -> None:
        """Raises StoreError, Refused where the base's weights can't be read."""
        self._base = base
        self._by_module: Mapping[str, dict[str, Tensor]] = _by_module(base.tensors)

    def of(self, module: str, *, transposed: bool = False) -> tuple[int, int] | None:
        """(outputs, inputs) of the module's weight, (rows, width) of an embedding's; None if there is no such module.

        ``transposed``: the weight is stored inputs first, as GPT-2's are. Raises Refused if the weight is stored in a
        way that doesn't show its shape.
        """
        parameters = self._parameters(module)
        if parameters is None:
            return None
        # Bytes without a sign are how four-bit formats pack their weights.
        if (weight := parameters.get("weight")) is not None and weight.dtype != "U8":
            if len(weight.shape) != 2:
                return None
            first, second = weight.shape
            return (second, first) if transposed else (first, second)
        quantization = self._base.config.get("quantization_config")
        packed, scales = parameters.get("qweight"), parameters.get("scales")
        if isinstance(quantization, dict) and packed is not None and scales is not None:
            bits = quantization.get("bits", quantization.get("w_bit", 4))
            if quantization.get("quant_method") == "awq":
                return scales.shape[-1], packed.shape[0]
            if quantization.get("quant_method") == "gptq" and isinstance(bits, int) and bits > 0:
                return scales.shape[-1], packed.shape[0] * 32 // bits
        raise Refused(
            f"the base {self._base.path.name} stores {module} in a form whose shape can't be read "
            f"({', '.join(sorted(parameters))}); name the model it was made from as the base"
        )

    def _parameters(self, module: str) -> dict[str, Tensor] | None:
        # transformers may have put a checkpoint's tensors under other prefixes than the file's (model., transformer.,
        # language_model.): the longest ending that exactly one module of the file has is the one meant.
        parts = module.split(".")
        for first in range(len(parts)):
            ending = ".".join(parts[first:])
            if ending in self._by_module:
                return self._by_module[ending]
            found = [name for name in self._by_module if name.endswith("." + ending)]
            if len(found) == 1:
                return self._by_module[found[0]]
            if found or re.fullmatch(r"\d+", parts[first]):
                return None  # without the number of its layer a module isn't one module any more
        if parts[-1] == "lm_head" and self._base.ties_embeddings:
            return self._parameters("embed_tokens")
        return None


def _by_module(tensors: Mapping[str, tuple[Path, Tensor]]) -> dict[str, dict[str, Tensor]]:
    modules: dict[str, dict[str, Tensor]] = {}
    for name, (_, tensor) in tensors.items():
        module, _, parameter = name.rpartition(".")
        modules.setdefault(module, {})[parameter] = tensor
    return modules
