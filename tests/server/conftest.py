"""One real server per module that asks for one, on the smallest models the engine takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
#: Long enough that a request can be left long before its end.
CONTEXT = 16_384


def make_model(folder: Path, *, seed: int, hidden: int, layers: int, chat_template: str | None) -> Path:
    """A random Llama over bytes; the same tokenizer whatever the seed."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|pad|>")
    fast.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    fast.chat_template = chat_template
    fast.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 32,
        max_position_embeddings=CONTEXT,
        eos_token_id=fast.eos_token_id,
        bos_token_id=None,
        pad_token_id=fast.pad_token_id,
        initializer_range=0.2,  # far enough from uniform for greedy choices to be clear
    )
    LlamaForCausalLM(config).float().save_pretrained(folder)
    return folder


def token_id(character: str) -> int:
    """The token of one ASCII character in ``make_model``'s vocabulary."""
    from tokenizers import pre_tokenizers

    [(letter, _)] = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(
        character
    )
    return sorted(pre_tokenizers.ByteLevel.alphabet()).index(letter)


@dataclass(frozen=True)
class Models:
    expert: Path
    amateur: Path
    untemplated: Path


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    root = tmp_path_factory.mktemp("models")
    return Models(
        expert=make_model(root / "expert", seed=1, hidden=64, layers=2, chat_template=CHAT_TEMPLATE),
        amateur=make_model(root / "amateur", seed=2, hidden=32, layers=1, chat_template=CHAT_TEMPLATE),
        untemplated=make_model(root / "untemplated", seed=3, hidden=32, layers=1, chat_template=None),
    )
