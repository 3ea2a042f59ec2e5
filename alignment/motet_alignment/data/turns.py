"""Lists of messages as people write them, checked and in our roles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from motet_alignment.data.items import Message, Role
from motet_alignment.data.values import Malformed, Row, kind_of, mapping, need, string

OPENAI_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
SHAREGPT_ROLES: Mapping[str, Role] = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "model": "assistant",
    "tool": "tool",
    "observation": "tool",
}
#: What a message may hold that would change its meaning if it were left out.
_CALLS = ("tool_calls", "function_call", "audio", "refusal")
_MAY_FOLLOW: Mapping[Role | None, tuple[Role, ...]] = {
    None: ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
}


def openai_messages(values: Any, where: str, unused: Counter[str]) -> tuple[Message, ...]:
    """Messages with `role` and `content`; keys without use are counted in `unused`."""
    return tuple(
        _openai_message(value, f"{where}[{place}]", where, unused) for place, value in _each(values, where)
    )


def _openai_message(value: Any, name: str, where: str, unused: Counter[str]) -> Message:
    row = mapping(value, name)
    if calls := [key for key in _CALLS if row.get(key)]:
        raise Malformed(f"{name}.{calls[0]} can't be trained on: messages hold text")
    role = _role(need(row, "role", name), OPENAI_ROLES, f"{name}.role")
    content = _content(need(row, "content", name), f"{name}.content")
    weight = row.get("weight", 1)
    if weight not in (0, 1) or (weight == 0 and role != "assistant"):
        raise Malformed(f"{name}.weight must be 0 or 1, and 0 only for the assistant")
    unused.update(f"{where}[].{key}" for key in row if key not in ("role", "content", "weight"))
    return Message(role=role, content=content, weight=1 if weight else 0)


def sharegpt_messages(values: Any, where: str, unused: Counter[str]) -> tuple[Message, ...]:
    """Messages with `from` and `value`; keys without use are counted in `unused`."""
    messages = []
    for place, value in _each(values, where):
        name = f"{where}[{place}]"
        row = mapping(value, name)
        role = _role(need(row, "from", name), SHAREGPT_ROLES, f"{name}.from")
        messages.append(Message(role=role, content=_content(need(row, "value", name), f"{name}.value")))
        unused.update(f"{where}[].{key}" for key in row if key not in ("from", "value"))
    return tuple(messages)


def check_turns(messages: Sequence[Message], where: str, *, last: Role | None = "assistant") -> None:
    """Raises `Malformed` unless the turns make a conversation that ends with `last`.

    That is: at most one system message, which stands first; then user and assistant in turn, with tools' results
    between two turns of the assistant's; and no empty turn.
    """
    before: Role | None = None
    for place, message in enumerate(messages):
        name = f"{where}[{place}]"
        if not message.content.strip():
            raise Malformed(f"{name} ({message.role}) is empty")
        if message.role == "system" and place:
            raise Malformed(f"{name}: a system message may only stand first")
        if message.role not in _MAY_FOLLOW[before]:
            after = f"after {before}" if before else "at the beginning"
            raise Malformed(f"{name}: roles out of order, {message.role} {after}")
        before = message.role
    if last is not None and before != last:
        raise Malformed(f"{where}: the last turn must be the {last}'s, not the {before}'s")
    if last == "assistant" and not any(message.weight for message in messages if message.role == "assistant"):
        raise Malformed(f"{where}: every assistant turn has weight 0")


def exchange(prompt: str, answer: str, system: str = "") -> tuple[Message, ...]:
    """One question and its answer, after a system prompt where there is one."""
    first = (Message(role="system", content=system),) if system else ()
    return (*first, Message(role="user", content=prompt), Message(role="assistant", content=answer))


def _each(values: Any, where: str) -> list[tuple[int, Any]]:
    if not isinstance(values, list):
        raise Malformed(f"{where} must be a list of messages, not {kind_of(values)}")
    if not values:
        raise Malformed(f"{where} is an empty list")
    return list(enumerate(values))


def _role(value: Any, roles: Mapping[str, Role], name: str) -> Role:
    role = roles.get(string(value, name))
    if role is None:
        raise Malformed(f"{name} must be one of {', '.join(roles)}, not {value!r}")
    return role


def _content(value: Any, name: str) -> str:
    """Text, or a list of OpenAI's text parts."""
    if not isinstance(value, list):
        return string(value, name)
    parts = []
    for place, part in enumerate(value):
        row: Row = mapping(part, f"{name}[{place}]")
        if row.get("type") != "text":
            raise Malformed(f"{name}[{place}] must be of type text, not {row.get('type')!r}")
        parts.append(string(need(row, "text", f"{name}[{place}]"), f"{name}[{place}].text"))
    return "".join(parts)
