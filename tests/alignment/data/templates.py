"""Chat templates in the manners that real models have, written for these tests, and the tokens that they use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """A template, its special tokens, and what it makes of a two-turn conversation."""

    template: str
    specials: tuple[str, ...]
    #: The runs that must carry loss for the answers "Pong." and "Bang."
    learnt: tuple[str, str]
    bos: str | None = None
    eos: str = "<|im_end|>"
    system: bool = True


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HEADERS = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
INST = """\
{%- set turns = messages -%}
{%- if messages[0].role == 'system' -%}
  {%- set system = messages[0].content ~ '\n\n' -%}{%- set turns = messages[1:] -%}
{%- endif -%}
{{- bos_token -}}
{%- for m in turns -%}
  {%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}
    {{- raise_exception('conversation roles must alternate') -}}
  {%- endif -%}
  {%- if m.role == 'user' -%}
    {{- '[INST] ' ~ (system if loop.first and system is defined else '') ~ m.content ~ ' [/INST]' -}}
  {%- else -%}
    {{- ' ' ~ m.content ~ eos_token -}}
  {%- endif -%}
{%- endfor -%}"""
MODEL = """\
{{- bos_token -}}
{%- if messages[0].role == 'system' -%}{{- raise_exception('System role not supported') -}}{%- endif -%}
{%- for m in messages -%}
  {{- '<start_of_turn>' ~ ('model' if m.role == 'assistant' else m.role) ~ '\n' -}}
  {{- m.content | trim ~ '<end_of_turn>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<start_of_turn>model\n' -}}{%- endif -%}"""
PLAIN = (
    "{% for m in messages %}{{ m.role | capitalize }}:{{ '\n' }}{{ m.content }}{{ '\n\n' }}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{{ '\n' }}{% endif %}"
)
#: Marks the answer, but leaves the token that ends it outside.
MARKED_SHORT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
#: Puts another special token between the turns, behind the one that ends the answer.
MARKED_APART = MARKED_SHORT.replace("{{ m.content }}{% endgen", "{{ m.content }}<|im_end|>{% endgen").replace(
    "{% endif %}<|im_end|>\n{% endfor %}", "<|im_end|>{% endif %}<|endoftext|>{% endfor %}"
)
#: Marks the header and the line's end with the answer.
MARKED_WIDE = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}<|im_start|>assistant\n{{ m.content }}"
    "<|im_end|>\n{% endgeneration %}{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
#: Marks the thinking and the answer apart, with nothing in the first block here.
MARKED_TWICE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
    "{% generation %}{% endgeneration %}{% generation %}{{ m.content[:2] }}{% endgeneration %}"
    "{% generation %}{{ m.content[2:] }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
#: Has no token that ends a turn: the next turn's first token follows the answer, and must not be learnt.
MARKED_OPEN = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
#: Writes a thinking block before the last answer only, and drops the thinking of earlier turns.
THINKING = """\
{%- set last = namespace(user=0) -%}
{%- for m in messages -%}{%- if m.role == 'user' -%}{%- set last.user = loop.index0 -%}{%- endif -%}{%- endfor -%}
{%- for m in messages -%}
  {{- '<|im_start|>' ~ m.role ~ '\n' -}}
  {%- if m.role == 'assistant' -%}
    {%- set parts = m.content.split('</think>') -%}
    {%- set thought = parts[0].split('<think>')[-1].strip('\n') if parts | length > 1 else '' -%}
    {%- if loop.index0 > last.user -%}{{- '<think>\n' ~ thought ~ '\n</think>\n\n' -}}{%- endif -%}
    {{- parts[-1].lstrip('\n') -}}
  {%- else -%}{{- m.content -}}{%- endif -%}
  {{- '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"""
#: Opens the thinking block in the generation prompt, but not before an answer that is there.
PREFILLED = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")

STYLES = {
    "chatml": Style(CHATML, (), ("Pong.<|im_end|>", "Bang.<|im_end|>")),
    "headers": Style(
        HEADERS,
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        ("Pong.<|eot_id|>", "Bang.<|eot_id|>"),
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
    ),
    "inst": Style(INST, (), (" Pong.</s>", " Bang.</s>"), bos="<s>", eos="</s>"),
    "model": Style(
        MODEL,
        ("<start_of_turn>", "<end_of_turn>"),
        ("Pong.<end_of_turn>", "Bang.<end_of_turn>"),
        bos="<bos>",
        eos="<eos>",
        system=False,
    ),
    "plain": Style(PLAIN, (), ("Pong.\n\n", "Bang.\n\n")),
    "marked short": Style(MARKED_SHORT, (), ("Pong.<|im_end|>", "Bang.<|im_end|>")),
    "marked apart": Style(MARKED_APART, (), ("Pong.<|im_end|>", "Bang.<|im_end|>")),
    "marked wide": Style(MARKED_WIDE, (), ("Pong.<|im_end|>", "Bang.<|im_end|>")),
    "marked twice": Style(MARKED_TWICE, (), ("Pong.<|im_end|>", "Bang.<|im_end|>")),
    "marked open": Style(MARKED_OPEN, (), ("Pong.", "Bang.")),
}


def prompt_length(rendered) -> int:
    """Tokens before the first that carries loss."""
    return rendered.assistant.index(1) if 1 in rendered.assistant else len(rendered.assistant)
