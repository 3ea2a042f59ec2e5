"""Greedy generation in batches is greedy generation; evaluations come by their entry point."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from motet_alignment.data import Message
from motet_alignment.errors import TrainError
from motet_alignment.train import SftSettings
from motet_alignment.train.estimates import Estimate, proportion, ratio
from motet_alignment.train.evaluation import find_evaluation, greedy
from motet_alignment.train.report import report
from motet_alignment.train.session import Trained


def asked(*questions: str) -> list[tuple[Message, ...]]:
    return [(Message(role="user", content=question),) for question in questions]


def test_many_at_once_answer_as_one_by_one(tiny):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    questions = asked(
        "What is 1 + 1?", "Spell crate backwards, please.", "Why?", "Where are all the frogs today?"
    )
    together = greedy(model, tokenizer, 512, most=12)(questions)
    by_two = greedy(model, tokenizer, 512, most=12, batch_tokens=80)(questions)
    assert together == by_two
    for question, answer in zip(questions, together, strict=True):
        chat = [{"role": "user", "content": question[0].content}]
        ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
        said = list(ids)
        with torch.no_grad():
            for _ in range(12):
                said.append(int(model(torch.tensor([said])).logits[0, -1].argmax()))
                if said[-1] == tokenizer.eos_token_id:
                    break
        assert answer == tokenizer.decode(said[len(ids) :], skip_special_tokens=True)


def test_a_short_context_still_holds_the_question(tiny):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    question = asked("What is 1 + 1?")
    (answer,) = greedy(model, tokenizer, 64)(question)
    (longer,) = greedy(model, tokenizer, 512)(question)
    assert answer
    assert longer.startswith(answer)


def test_installed_evaluations_are_found_by_name():
    assert callable(find_evaluation("gym").evaluate)
    with pytest.raises(TrainError, match=r"installed: .*gym"):
        find_evaluation("chess")


def test_intervals():
    assert proportion(9, 10).low == pytest.approx(0.596, abs=1e-3)  # Wilson's, from the literature's tables
    assert proportion(9, 10).high == pytest.approx(0.982, abs=1e-3)
    mean = ratio([1.0, 2.0, 3.0, 4.0], [1.0] * 4)
    assert mean.value == 2.5
    assert mean.high - mean.value == pytest.approx(1.96 * (5 / 3) ** 0.5 / 2)
    weighted = ratio([2.0, 12.0], [1.0, 3.0])
    assert weighted.value == 3.5
    assert ratio([3.0], [2.0]) == Estimate(value=1.5, low=1.5, high=1.5, n=1)


def test_the_end_says_what_to_type_next(tmp_path):
    settings = SftSettings(data=(tmp_path / "x.jsonl",), name="adder", publish=False, model="org/base")
    metrics = {"held_out_loss": ratio([1.0, 2.0], [1.0, 1.0]), "gym_accuracy": proportion(9, 10), "steps": 3}
    said = report(settings, Trained(None, tmp_path, metrics))
    assert f"motet adapters add {tmp_path / 'adapter'} --name adder --kind sft --base org/base" in said
    assert "gym accuracy            90.0% (59.6% to 98.2%, n = 10)" in said
    assert str(tmp_path / "loss.png") in said


def test_what_to_type_next_names_a_store_of_ones_own(tmp_path):
    settings = SftSettings(data=(tmp_path / "x.jsonl",), model="my models/base", store=tmp_path / "my store")
    adapter = SimpleNamespace(name="sft", reference="sft@1", path=tmp_path)
    said = report(settings, Trained(adapter, tmp_path, {}))
    assert f"motet serve 'my models/base' --adapters '{tmp_path / 'my store'}' " in said
