"""The bundled models' tokenizer: bytes, and whole words for what the gym's wordings are written in.

An instruction costs one token a word, while the words a problem is about stay letters, so that spelling, sorting and
counting them can be learned. Digits always stand alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

END_OF_TEXT = "<|endoftext|>"
START = "<|im_start|>"
END = "<|im_end|>"
ROLES = ("system", "user", "assistant", "tool")

# Only what the assistant says, its end mark included, stands between the generation marks: that is what a trainer
# with a loss on the assistant's words alone learns from. A message may lack content (a call of tools has none).
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{ (message['content'] or '') + '<|im_end|>' }}{%- endgeneration -%}"
    "{%- else -%}"
    "{{ (message['content'] or '') + '<|im_end|>' }}"
    "{%- endif -%}"
    "{{ '\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)


def build_tokenizer(words: Iterable[str], size: int, context: int = 1024) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of exactly `size` entries that also knows `words` whole.

    A word may carry the blank before it (" word"): with and without are two entries, as they are two tokens.
    Raises ValueError if a word isn't two or more ASCII letters, or if everything together is more than `size`.
    """
    vocabulary = [END_OF_TEXT, START, END, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    vocabulary += _whole_words(words)
    if len(vocabulary) > size:
        raise ValueError(f"{len(vocabulary)} entries do not fit a vocabulary of {size}")
    reserved = [f"<|reserved_{number}|>" for number in range(size - len(vocabulary))]
    ids = {token: number for number, token in enumerate([*vocabulary, *reserved])}

    # Without merges a word is either known whole or falls apart into its bytes.
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{N}"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END_OF_TEXT, START, END, *reserved])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=END_OF_TEXT,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
    )


def _whole_words(words: Iterable[str]) -> list[str]:
    known: dict[str, None] = dict.fromkeys(ROLES)
    for word in words:
        letters = word.removeprefix(" ")
        if not (letters.isascii() and letters.isalpha() and len(letters) > 1):
            raise ValueError(f"not a word of two or more ASCII letters: {word!r}")
        known[word.replace(" ", "Ġ")] = None
    return list(known)
