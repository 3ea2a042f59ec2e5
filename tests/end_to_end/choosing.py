"""What best-of-N is asked, and what transformers and PEFT say of the same candidates."""

from __future__ import annotations

from functools import cache

import httpx
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from motet_alignment.store import AdapterStore
from motet_benchmarks.gym import instances
from motet_decoding.best_of.candidate import seed_of
from motet_models import ADAPTERS, EXPERT

STORE = AdapterStore(ADAPTERS)
WRITER = "motet-sft"
PROBLEMS = instances("test", count=1, seed=7)[::3]
DRAW = {"temperature": 1.0, "max_tokens": 32, "seed": 11}


@cache
def tokenizer():
    return AutoTokenizer.from_pretrained(EXPERT)


@cache
def model(name=None):
    plain = AutoModelForCausalLM.from_pretrained(EXPERT, dtype=torch.float32)
    return (plain if name is None else PeftModel.from_pretrained(plain, STORE.get(name).path)).eval()


@cache
def judge():
    plain = AutoModelForSequenceClassification.from_pretrained(EXPERT, num_labels=1, dtype=torch.float32)
    return PeftModel.from_pretrained(plain, STORE.get("motet-reward").path).eval()


def reward(problem, text):
    chat = [*problem.messages(), {"role": "assistant", "content": text}]
    ids = tokenizer().apply_chat_template(chat)["input_ids"]
    with torch.no_grad():
        return float(judge()(torch.tensor([ids])).logits[0, 0])


def distributions(problem, ids, name):
    """Log-probabilities of what could follow, at each token of an answer: [tokens, vocab]."""
    prompt = tokenizer().apply_chat_template(problem.messages(), add_generation_prompt=True)["input_ids"]
    with torch.no_grad():
        logits = model(name)(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1]
    return logits.float().log_softmax(-1)


def likelihoods(problem, ids, name=WRITER):
    return distributions(problem, ids, name)[torch.arange(len(ids)), torch.tensor(ids)]


def ask(server, problem, best_of=None, **fields):
    body = {"model": WRITER, "messages": problem.messages(), **DRAW, **fields}
    if best_of is not None:
        body["best_of"] = best_of
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()


def content(answer, choice=0):
    return answer["choices"][choice]["message"]["content"]


def plain_ids(server, problem, index, **fields):
    """The tokens of what a plain request with a candidate's seed is answered."""
    answer = ask(server, problem, seed=seed_of(DRAW["seed"], index), return_token_ids=True, **fields)
    return answer["choices"][0]["token_ids"], content(answer)


def first_of(values):
    return max(range(len(values)), key=lambda place: (values[place], -place))
