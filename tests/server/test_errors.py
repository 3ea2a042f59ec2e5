from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ValidationError

from motet_server.errors import first_problem, named_field


class Part(BaseModel):
    type: Literal["text"]
    text: str


class Body(BaseModel):
    stop: str | list[str] = []
    temperature: float = 1.0
    parts: list[Part | list[int]] = []
    model: str


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"model": "a", "temperature": "hot"}, "temperature"),
        ({"model": "a", "stop": [1]}, "stop"),
        ({}, "model"),
        ({"model": "a", "parts": [{"type": "text", "text": "x"}, {"type": "image", "text": "x"}]}, "parts.1"),
        ({"model": "a", "parts": [[1, "x"]]}, "parts.0"),
    ],
)
def test_a_problem_is_told_by_the_clients_own_names(body, field):
    with pytest.raises(ValidationError) as found:
        Body.model_validate(body)
    problem = first_problem(found.value, body)
    assert problem.field == field
    assert problem.message


def test_problems_without_number_are_counted_and_not_described():
    body = {"model": "a", "stop": [1] * 100_000}
    with pytest.raises(ValidationError) as found:
        Body.model_validate(body)
    problem = first_problem(found.value, body)
    assert problem.field == "body"
    assert "100001 values" in problem.message


@pytest.mark.parametrize(
    ("message", "param", "body", "expected"),
    [
        ("too long (parameter=input_tokens, value=600)", "input_tokens", {"messages": []}, "messages"),
        ("n must be at least 1, got 0.", None, {"n": 0}, "n"),
        ("Grammar error: x", None, {"structured_outputs": {}}, "structured_outputs"),
        ("Grammar error: x", None, {"response_format": {}}, "response_format"),
        ('"auto" tool choice requires --x', None, {"tool_choice": "auto"}, "tool_choice"),
        (
            "max_tokens must be at least 1",
            "max_tokens",
            {"max_completion_tokens": 0},
            "max_completion_tokens",
        ),
        ("too many", "logprobs", {"logprobs": True, "top_logprobs": 99}, "top_logprobs"),
        ("too many", "logprobs", {"logprobs": 99}, "logprobs"),
        ("something went wrong", None, {"messages": []}, None),
        ("temperature must be", "temperature", {"temperature": -1}, "temperature"),
    ],
)
def test_vllms_refusals_get_the_fields_name(message: str, param: str | None, body: dict[str, Any], expected):
    error = named_field({"message": message, "param": param, "code": 400}, body, prompt="messages")
    assert error["param"] == expected
    assert "parameter=" not in error["message"]
    assert error["code"] == 400
