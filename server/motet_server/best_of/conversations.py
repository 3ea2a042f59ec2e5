"""Candidates as scorers read them: the conversation with the answer behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from motet_decoding.best_of.candidate import Candidate, Question

#: Tokens to text; the second argument leaves out special tokens.
Decode = Callable[[Sequence[int], bool], str]


def whole(messages: Sequence[Mapping[str, Any]], text: str, *, continued: bool) -> list[dict[str, Any]]:
    """The conversation, ``text`` said in it.

    Args:
        messages: what was asked.
        text: a candidate's.
        continued: it goes on with the last message instead of answering it.
    """
    if not continued:
        return [*map(dict, messages), {"role": "assistant", "content": text}]
    *before, last = map(dict, messages)
    content = last.get("content")
    if isinstance(content, list):
        *parts, end = content or [{"type": "text", "text": ""}]
        if isinstance(end, Mapping) and isinstance(end.get("text"), str):
            said = [*parts, {**end, "text": end["text"] + text}]
        else:
            said = [*content, {"type": "text", "text": text}]
        return [*before, {**last, "content": said}]
    return [*before, {**last, "content": f"{content or ''}{text}"}]


def item(question: Question, candidate: Candidate, decode: Decode) -> dict[str, Any]:
    """What a scorer on another machine is posted of a candidate, as it is posted of a PPO's answer.

    The prompt of a plain completion is one user message.
    """
    if question.messages is None:
        prompt = decode(question.prompt_ids, False) if question.prompt is None else question.prompt
        messages, answer = [{"role": "user", "content": prompt}], candidate.text
    else:
        *messages, last = whole(question.messages, candidate.text, continued=question.continued)
        answer = _text(last["content"])
    ended = candidate.finish_reason not in (None, "length", "abort")
    return {"messages": messages, "answer": answer, "ended": ended, "row": {}}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
