from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet_benchmarks.toys import Recipe
from motet_benchmarks.toys.build import make_tokenizer
from motet_benchmarks.toys.tokenizer import END, START, build_tokenizer

TOKENIZER = make_tokenizer(Recipe())
QUESTION = {"role": "user", "content": "Write acorn backwards."}
ANSWER = {"role": "assistant", "content": "nroca"}


def tokens(text: str) -> list[str]:
    return TOKENIZER.convert_ids_to_tokens(TOKENIZER.encode(text, add_special_tokens=False))


def chat(*messages, **options) -> str:
    return TOKENIZER.apply_chat_template(list(messages), tokenize=False, **options)


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_text_comes_back(text: str):
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    assert TOKENIZER.decode(ids) == text
    assert all(number < 768 for number in ids)


def test_the_vocabulary_has_exactly_the_promised_size_and_no_gaps():
    ids = sorted(TOKENIZER.get_vocab().values())
    assert ids == list(range(768))


def test_instructions_are_words_and_data_stays_letters():
    assert tokens("Write acorn backwards.") == ["Write", "Ġ", "a", "c", "o", "r", "n", "Ġbackwards", "."]


def test_digits_stand_alone():
    assert tokens("What is 407 + 12?") == ["What", "Ġis", "Ġ", "4", "0", "7", "Ġ", "+", "Ġ", "1", "2", "?"]


def test_single_letters_never_merge_with_their_blank():
    assert tokens(" a letter") == ["Ġ", "a", "Ġletter"]


def test_two_builds_are_the_same():
    assert make_tokenizer(Recipe()).get_vocab() == TOKENIZER.get_vocab()


def test_the_chat_template_is_chatml():
    system = {"role": "system", "content": "Always answer in capitals."}
    assert chat(system, QUESTION, add_generation_prompt=True) == (
        "<|im_start|>system\nAlways answer in capitals.<|im_end|>\n"
        "<|im_start|>user\nWrite acorn backwards.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert chat(QUESTION, ANSWER) == (
        "<|im_start|>user\nWrite acorn backwards.<|im_end|>\n<|im_start|>assistant\nnroca<|im_end|>\n"
    )


def test_generation_marks_cover_the_assistants_words_and_their_end():
    encoded = TOKENIZER.apply_chat_template(
        [QUESTION, ANSWER, QUESTION, ANSWER], return_dict=True, return_assistant_tokens_mask=True
    )
    pairs = zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
    written = [number for number, marked in pairs if marked]
    assert TOKENIZER.decode(written) == f"nroca{END}nroca{END}"


def test_calls_and_results_of_tools_do_not_break_the_template():
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    messages = [
        QUESTION,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": None, "tool_call_id": "1"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "content": "4", "tool_call_id": "1"},
    ]
    rendered = chat(*messages, tools=[tool], add_generation_prompt=True)
    assert rendered == chat(*messages, add_generation_prompt=True)
    assert rendered.endswith(f"{START}tool\n4{END}\n{START}assistant\n")
    assert "None" not in rendered


@pytest.mark.parametrize("word", ["a", "two words", "naïve", "", "4"])
def test_what_is_no_word_is_refused(word: str):
    with pytest.raises(ValueError, match="not a word"):
        build_tokenizer([word], 300)


def test_too_many_words_are_refused():
    with pytest.raises(ValueError, match="do not fit a vocabulary of 263"):
        build_tokenizer(["one"], 263)


def test_files_load_by_name_and_xgrammar_understands_them(tmp_path):
    xgrammar = pytest.importorskip("xgrammar", reason="comes with vLLM only")
    from transformers import AutoTokenizer

    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "Write acorn backwards. Ünïcode ☃ 12"
    assert loaded.encode(text) == TOKENIZER.encode(text, add_special_tokens=False)
    assert loaded.chat_template == TOKENIZER.chat_template

    info = xgrammar.TokenizerInfo.from_huggingface(loaded, vocab_size=768)
    assert info.vocab_size == 768
    assert info.decoded_vocab[loaded.convert_tokens_to_ids("Ġbackwards")] == b" backwards"
    matcher = xgrammar.GrammarMatcher(xgrammar.GrammarCompiler(info).compile_regex("[0-9]+"))
    bitmask = xgrammar.allocate_token_bitmask(1, 768)
    matcher.fill_next_token_bitmask(bitmask)
    allowed = {number for number in range(768) if bitmask[0, number // 32] >> (number % 32) & 1}
    assert allowed == set(loaded.convert_tokens_to_ids(list("0123456789")))
