"""Which tokens carry loss under templates of other models' manners, token by token."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.alignment.data.templates import (
    CHATML,
    HEADERS,
    MARKED_OPEN,
    PREFILLED,
    STYLES,
    THINKING,
    Style,
    prompt_length,
)

from motet_alignment.data import Message, render, render_comparison, render_turns
from motet_alignment.data.items import Comparison
from motet_alignment.data.template import chat_text
from motet_alignment.errors import DataError
from motet_models import EXPERT


def tokenizer_of(style: Style):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(EXPERT)
    tokenizer.add_special_tokens({"eos_token": style.eos, **({"bos_token": style.bos} if style.bos else {})})
    tokenizer.add_tokens(list(style.specials), special_tokens=True)
    tokenizer.chat_template = style.template
    return tokenizer


@pytest.fixture(scope="module", params=STYLES)
def styled(request):
    style = STYLES[request.param]
    return style, tokenizer_of(style)


@pytest.fixture(scope="module")
def thinking():
    return tokenizer_of(Style(THINKING, (), ("", "")))


def test_every_answer_is_learnt_with_the_token_that_ends_it(styled, chat, learnt):
    style, tokenizer = styled
    messages = chat("Ping?", "Pong.", "Again?", "Bang.", system="Be brief." if style.system else "")
    rendered = render(tokenizer, messages, context=500)
    assert learnt(tokenizer, rendered) == list(style.learnt)
    text = chat_text(tokenizer, messages)
    assert rendered.input_ids == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_what_stands_before_an_answer_is_what_the_server_would_prompt_with(styled, chat):
    style, tokenizer = styled
    if style.template == STYLES["inst"].template:
        tokens = tokenizer.apply_chat_template([{"role": "user", "content": "Ping?"}])["input_ids"]
    else:
        tokens = tokenizer.apply_chat_template(
            [{"role": "user", "content": "Ping?"}], add_generation_prompt=True
        )["input_ids"]
    rendered = render(tokenizer, chat("Ping?", "Pong.", "Again?", "Bang."), context=500)
    assert rendered.input_ids[: prompt_length(rendered)] == tokens
    prompt = render(tokenizer, chat("Ping?"), context=500, generation_prompt=True)
    assert (prompt.input_ids, sum(prompt.assistant)) == (tokens, 0)


def test_the_last_answer_alone(styled, chat, learnt):
    style, tokenizer = styled
    rendered = render(tokenizer, chat("Ping?", "Pong.", "Again?", "Bang."), context=500, learn="last")
    assert learnt(tokenizer, rendered) == [style.learnt[1]]


def test_an_answer_of_weight_0_is_not_learnt(styled, learnt):
    style, tokenizer = styled
    roles = ("user", "Ping?", 1), ("assistant", "Pong.", 0), ("user", "Again?", 1), ("assistant", "Bang.", 1)
    messages = [Message(role=role, content=content, weight=weight) for role, content, weight in roles]
    assert learnt(tokenizer, render(tokenizer, messages, context=500)) == [style.learnt[1]]


def test_a_marked_turn_without_an_end_does_not_learn_the_next_turns_beginning(chat):
    tokenizer = tokenizer_of(STYLES["marked open"])
    assert tokenizer.chat_template == MARKED_OPEN
    rendered = render(tokenizer, chat("Ping?", "Pong.", "Again?", "Bang."), context=500)
    start = tokenizer.convert_tokens_to_ids("<|im_start|>")
    learnt_tokens = {t for t, flag in zip(rendered.input_ids, rendered.assistant, strict=True) if flag}
    assert start in rendered.input_ids
    assert start not in learnt_tokens


def test_turns_that_a_template_rewrites_are_learnt_in_texts_of_their_own(thinking, chat, learnt):
    messages = chat("Ping?", "<think>\nhm\n</think>\n\nPong.", "Again?", "<think>\nah\n</think>\n\nBang.")
    with pytest.raises(
        DataError, match=r"c\.jsonl:3: .* writes messages\[1\] differently once more turns follow"
    ):
        render(thinking, messages, context=500, source="c.jsonl:3")
    texts = render_turns(thinking, messages, context=500)
    assert [learnt(thinking, text) for text in texts] == [
        ["<think>\nhm\n</think>\n\nPong.<|im_end|>"],
        ["<think>\nah\n</think>\n\nBang.<|im_end|>"],
    ]
    assert "hm" not in thinking.decode(texts[1].input_ids)
    (one,) = render_turns(thinking, messages[:2], context=500)
    assert one == texts[0]


def test_a_pair_under_a_template_that_rewrites_turns(thinking, chat, learnt):
    pair = Comparison(
        prompt=chat("Ping?", "<think>\nhm\n</think>\n\nPong.", "Again?"),
        chosen=(Message(role="assistant", content="Yes."),),
        rejected=(Message(role="assistant", content="No."),),
        source="p.jsonl:1",
    )
    chosen, rejected = render_comparison(thinking, pair, context=500)
    assert learnt(thinking, chosen) == ["<think>\n\n</think>\n\nYes.<|im_end|>"]
    assert learnt(thinking, rejected) == ["<think>\n\n</think>\n\nNo.<|im_end|>"]
    # Where the prompt ends it ends for both, though the answers begin alike.
    assert prompt_length(chosen) == prompt_length(rejected)


@pytest.mark.parametrize(
    ("template", "system", "message"),
    [
        (STYLES["model"].template, "Be brief.", "the chat template fails: System role not supported"),
        ("{{ messages[0].content }", "", "the chat template fails: unexpected '}'"),
        ("{{ messages[0].nothing.more }}", "", "the chat template fails: "),
        ("{{ 1 + messages[0].content }}", "", "the chat template fails: unsupported operand"),
        (PREFILLED, "", "generation prompt is not how it begins the assistant's turn"),
        (
            "{% generation %}{% for m in messages %}{{ m.content }}{% endfor %}{% endgeneration %}",
            "",
            "marks 1 {% generation %} blocks for 2 assistant turns",
        ),
    ],
)
def test_a_template_that_fails_is_told_with_the_line(chat, template, system, message):
    tokenizer = tokenizer_of(Style(template, (), ("", "")))
    with pytest.raises(DataError) as refused:
        render(tokenizer, chat("a", "b", "c", "d", system=system), context=500, source="chats.jsonl:12")
    assert str(refused.value).startswith("chats.jsonl:12: ")
    assert message in str(refused.value)


def test_an_answer_that_melts_into_its_prompt_is_refused(chat):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    # "a" and "b" are one token where they meet, as "\n" and "\n" are in many vocabularies.
    vocabulary = {letter: place for place, letter in enumerate(["a", "b", "c", "ab", "Q"])}
    backend = Tokenizer(models.BPE(vocabulary, [("a", "b")]))
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="c")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ 'Qa' if m.role == 'assistant' else '' }}{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}Qa{% endif %}"
    )
    assert render(tokenizer, chat("c", "cb"), context=9).assistant == [0, 0, 0, 1, 1]
    with pytest.raises(
        DataError, match=r"x:1: the tokenizer merges the end of the prompt with the beginning"
    ):
        render(tokenizer, chat("c", "bc"), context=9, source="x:1")


def test_a_template_that_leaves_out_the_answer_is_refused(chat):
    """Templates of vision models want a list of parts, and pass over text that is a string."""
    parts = "{{ m.role }}: {% for part in m.content if part.text is defined %}{{ part.text }}{% endfor %}<|im_end|>"
    tokenizer = tokenizer_of(Style("{% for m in messages %}" + parts + "{% endfor %}", (), ("", "")))
    with pytest.raises(DataError, match=r"v:1: the chat template leaves out the text of messages\[1\]"):
        render(tokenizer, chat("a", "b"), context=100, source="v:1")


def published_templates() -> list[Path]:
    """The chat templates that TRL comes with, which are those of many models."""
    folder = find_spec("trl").submodule_search_locations[0]
    return sorted(Path(folder, "chat_templates").glob("*.jinja"))


def test_published_templates_are_learnt_from_rightly_or_refused(chat, learnt):
    """Neither may a word of the user's be learnt, nor an answer be missed or learnt twice."""
    tokenizer = tokenizer_of(Style(CHATML, (), ("", ""), bos="<bos>"))
    sources = {path.name: path.read_text(encoding="utf-8") for path in published_templates()}
    marks = {
        mark
        for source in sources.values()
        for mark in re.findall(r"<[|｜][^<>|｜\s]+[|｜]>|<\w+_of_turn>", source)
    }
    tokenizer.add_tokens(sorted(marks), special_tokens=True)
    refused = {}
    for name, source in sources.items():
        tokenizer.chat_template = source
        try:
            texts = render_turns(
                tokenizer, chat("Ping?", "Pong.", "Again?", "Bang."), context=9000, source=name
            )
        except DataError as error:
            refused[name] = str(error)
            continue
        said = "".join(run for text in texts for run in learnt(tokenizer, text))
        assert [said.count(word) for word in ("Ping?", "Pong.", "Again?", "Bang.")] == [0, 1, 0, 1], name
    assert len(sources) > 30, "TRL keeps its templates elsewhere now: look for them"
    assert len(refused) < len(sources) / 4, refused
    assert all(message.startswith(f"{name}: the chat template") for name, message in refused.items())


def test_a_model_without_a_chat_template_is_refused(chat):
    tokenizer = tokenizer_of(Style(CHATML, (), ("", "")))
    tokenizer.chat_template = None
    with pytest.raises(DataError, match="has no chat template"):
        render(tokenizer, chat("a", "b"), context=9)


def test_bos_stands_once(chat):
    tokenizer = tokenizer_of(STYLES["headers"])
    assert tokenizer.chat_template == HEADERS
    ids = render(tokenizer, chat("a", "b", "c", "d"), context=500).input_ids
    assert ids.count(tokenizer.bos_token_id) == 1
    assert ids[0] == tokenizer.bos_token_id
