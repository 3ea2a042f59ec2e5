"""Best-of-N over HTTP on the bundled models, against transformers and PEFT scoring the same candidates."""

from __future__ import annotations

import asyncio
import json
import math
import re
from functools import cache

import httpx
import openai
import pytest
import torch
from peft import PeftModel
from tests.servers import wait_for
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from motet_alignment.store import AdapterStore
from motet_benchmarks.gym import instances
from motet_decoding.best_of.candidate import seed_of
from motet_models import ADAPTERS, EXPERT

pytestmark = pytest.mark.engine

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


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.family)
def test_the_winner_is_who_scores_best_offline(bundled, problem):
    answer = ask(bundled, problem, {"n": 6, "by": "reward:motet-reward", "candidates": True})
    told = answer["motet"]["best_of"]
    texts = [candidate["text"] for candidate in told["texts"]]
    expected = [reward(problem, text) for text in texts]
    assert told["scores"] == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert told["choices"] == [first_of(told["scores"])]
    assert content(answer) == texts[told["choices"][0]]
    assert told["by"] == f"reward:{STORE.get('motet-reward').reference}"
    assert (
        answer["usage"]["completion_tokens"]
        == told["tokens"]
        == sum(each["tokens"] for each in told["texts"])
    )
    assert (told["n"], told["candidates"], told["rejected"]) == (6, 6, 0)


def test_candidates_are_what_plain_requests_with_their_seeds_are_answered(bundled):
    problem = PROBLEMS[0]
    told = ask(bundled, problem, {"n": 4, "by": "likelihood", "candidates": True})["motet"]["best_of"]
    assert [each["text"] for each in told["texts"]] == [
        plain_ids(bundled, problem, index)[1] for index in range(4)
    ]
    assert len({each["text"] for each in told["texts"]}) > 1


def test_one_candidate_is_plain_decoding(bundled):
    for fields in ({}, {"temperature": 0}, {"logprobs": True, "top_logprobs": 2}):
        for problem in PROBLEMS[:3]:
            plain, best = ask(bundled, problem, **fields), ask(bundled, problem, {"n": 1}, **fields)
            assert best["choices"] == plain["choices"]
            assert best["usage"] == plain["usage"]


def test_every_scorer_gives_what_transformers_and_peft_give(bundled):
    names = ["likelihood:sum", "certainty", "implicit:motet-dpo", "implicit:motet-dpo:motet-sft", "reward"]
    beta = 0.1 if (said := STORE.get("motet-dpo").manifest.settings.get("beta")) is None else float(said)
    for problem in PROBLEMS[:3]:
        told = ask(bundled, problem, {"n": 3, "by": "likelihood", "report": names})["motet"]["best_of"]
        report = {name.split("@")[0]: scores for name, scores in told["report"].items()}
        for index in range(3):
            ids, text = plain_ids(bundled, problem, index)
            logs = likelihoods(problem, ids)
            rows = distributions(problem, ids, WRITER)
            uniform = float((-math.log(rows.shape[1]) - rows.mean(-1)).mean())
            dpo, sft, base = (
                float(likelihoods(problem, ids, name).sum()) for name in ("motet-dpo", WRITER, None)
            )
            close = {"rel": 1e-3, "abs": 1e-3}
            assert told["scores"][index] == pytest.approx(float(logs.mean()), **close)
            assert report["likelihood:sum"][index] == pytest.approx(float(logs.sum()), **close)
            assert report["certainty"][index] == pytest.approx(uniform, **close)
            scores = told["report"]
            assert scores[names[2]][index] == pytest.approx(beta * (dpo - base), **close)
            assert scores[names[3]][index] == pytest.approx(beta * (dpo - sft), **close)
            assert scores["reward"][index] == pytest.approx(reward(problem, text), **close)
        assert told["choices"] == [first_of(told["scores"])]


def test_a_sum_of_scorers_is_their_sum(bundled):
    best_of = {"n": 4, "by": "reward+0.5*likelihood:sum", "report": ["reward", "likelihood:sum"]}
    told = ask(bundled, PROBLEMS[0], best_of)["motet"]["best_of"]
    rewards, logs = told["report"]["reward"], told["report"]["likelihood:sum"]
    expected = [reward + 0.5 * log for reward, log in zip(rewards, logs, strict=True)]
    assert told["scores"] == pytest.approx(expected, abs=1e-4)
    assert told["by"] == f"reward:{STORE.get('motet-reward').reference}+0.5*likelihood:sum"


def test_the_same_request_is_chosen_the_same_in_any_company(bundled):
    body = {"n": 8, "by": "vote:reward", "return": 3, "candidates": True}
    alone = ask(bundled, PROBLEMS[0], body)

    async def crowd():
        async with httpx.AsyncClient(base_url=bundled.url, timeout=300) as client:
            asked = {"model": WRITER, "messages": PROBLEMS[0].messages(), **DRAW, "best_of": body}
            return await asyncio.gather(*(client.post("/v1/chat/completions", json=asked) for _ in range(6)))

    for answer in asyncio.run(crowd()):
        told = answer.json()
        assert told["motet"] == alone["motet"]
        assert told["choices"] == alone["choices"]


def test_a_vote_is_won_by_the_answer_that_most_candidates_give(bundled):
    vote = {"n": 8, "by": "vote", "return": 8, "vote": {"pattern": r"^([a-z]+)"}, "candidates": True}
    problem = next(each for each in PROBLEMS if each.answer.isalpha() and each.answer.islower())
    told = ask(bundled, problem, vote)["motet"]["best_of"]
    answers, scores = told["answers"], told["scores"]
    assert any(answers)
    for text, answer, score in zip(told["texts"], answers, scores, strict=True):
        assert answer == (None if (word := re.match("[a-z]+", text["text"])) is None else word[0])
        assert score == (None if answer is None else float(answers.count(answer)))
    best = max(score for score in scores if score is not None)
    assert scores[told["choices"][0]] == best
    assert sorted(told["choices"]) == list(range(8))


def test_a_stream_is_the_winner_and_counts_everybody(bundled):
    problem = PROBLEMS[0]
    best_of = {"n": 6, "by": "reward", "provisional": True}
    whole = ask(bundled, problem, {**best_of, "provisional": False})
    stream = bundled.client().chat.completions.create(
        model=WRITER,
        messages=problem.messages(),
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"best_of": best_of},
        **DRAW,
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == content(whole)
    told = [chunk.model_extra["motet"]["best_of"] for chunk in chunks if chunk.model_extra.get("motet")]
    provisional = [each["provisional"] for each in told if "provisional" in each]
    scores = [each["score"] for each in provisional]
    assert scores == sorted(scores)
    assert provisional[-1]["text"] == text
    assert told[-1] == whole["motet"]["best_of"]
    assert chunks[-1].usage.completion_tokens == whole["usage"]["completion_tokens"]
    # As a plain stream comes: token by token.
    assert sum(bool(chunk.choices and chunk.choices[0].delta.content) for chunk in chunks) > 1


def test_completions_take_openais_integer_and_several_prompts(bundled):
    prompts = [f"What is {number} + 5?\n" for number in (1, 2)]
    body = {"model": WRITER, "prompt": prompts, **DRAW, "best_of": 4, "n": 2, "logprobs": 0}
    answer = httpx.post(f"{bundled.url}/v1/completions", json=body, timeout=120).raise_for_status().json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    told = answer["motet"]["best_of"]
    assert len(told) == 2
    for place, each in enumerate(told):
        assert each["by"] == "likelihood"
        order = sorted(range(4), key=lambda index: (-each["scores"][index], index))
        assert each["choices"] == order[:2]
        logprobs = answer["choices"][2 * place]["logprobs"]["token_logprobs"]
        assert sum(logprobs) / len(logprobs) == pytest.approx(max(each["scores"]), abs=1e-4)
    assert answer["usage"]["completion_tokens"] == sum(each["tokens"] for each in told)


def test_the_preset_is_listed_and_chooses(bundled):
    client = bundled.client()
    listed = [each.id for each in client.models.list().data]
    assert {"motet-toy:best-of-8", f"{WRITER}:best-of-8"} <= set(listed)
    assert "motet-reward:best-of-8" not in listed
    answer = client.chat.completions.create(
        model=f"{WRITER}:best-of-8", messages=PROBLEMS[0].messages(), **DRAW
    )
    assert answer.model.endswith(":best-of-8")
    assert answer.model_extra["motet"]["best_of"]["n"] == 8
    same = ask(bundled, PROBLEMS[0], {"n": 8, "by": "reward:motet-reward"})
    assert answer.choices[0].message.content == content(same)


def test_candidates_may_be_contrasted(bundled):
    contrast = {"strength": 0.5, "plausibility": 0.1}
    problem = PROBLEMS[1]
    answer = ask(bundled, problem, {"n": 3, "by": "likelihood", "candidates": True}, contrast=contrast)
    texts = [each["text"] for each in answer["motet"]["best_of"]["texts"]]
    for index, text in enumerate(texts):
        ids, alone = plain_ids(bundled, problem, index, contrast=contrast)
        assert text == alone
        # The likelihood is the answering model's own, whatever the candidates were drawn from.
        score = answer["motet"]["best_of"]["scores"][index]
        assert score == pytest.approx(float(likelihoods(problem, ids).mean()), abs=1e-3)
    assert answer["motet"]["contrast"]["strength"] == 0.5


def test_early_rejection_keeps_its_bound_and_is_the_same_every_time(bundled):
    best_of = {
        "n": 16,
        "by": "reward",
        "reject": {"at": 4, "share": 0.5, "max_total_tokens": 150},
        "candidates": True,
    }
    first, second = (ask(bundled, PROBLEMS[0], best_of, ignore_eos=True) for _ in range(2))
    assert first["motet"] == second["motet"]
    told = first["motet"]["best_of"]
    assert told["tokens"] == sum(each["tokens"] for each in told["texts"]) <= 150
    assert told["candidates"] == 16
    assert told["rejected"] == sum(each["finish_reason"] == "rejected" for each in told["texts"]) >= 8
    assert [score is None for score in told["scores"]] == [
        each["finish_reason"] == "rejected" for each in told["texts"]
    ]
    survivor = told["texts"][told["choices"][0]]
    assert content(first) == survivor["text"]
    assert told["scores"][survivor["index"]] == pytest.approx(reward(PROBLEMS[0], survivor["text"]), abs=1e-3)
    # What goes on is what it would have been: the beginning is the candidate's own.
    _, text = plain_ids(bundled, PROBLEMS[0], survivor["index"], ignore_eos=True)
    assert survivor["text"][:3] == text[:3]


def test_a_search_over_steps_is_bounded_and_streams(bundled):
    best_of = {"n": 8, "by": "reward", "steps": {"width": 4, "until": " ", "max_total_tokens": 400}}
    whole = ask(bundled, PROBLEMS[0], best_of)
    told = whole["motet"]["best_of"]
    assert told["tokens"] <= 400
    assert len(told["scores"]) == 4
    assert told["choices"] == [first_of(told["scores"])]
    stream = bundled.client().chat.completions.create(
        model=WRITER, messages=PROBLEMS[0].messages(), stream=True, extra_body={"best_of": best_of}, **DRAW
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == content(whole)


@pytest.mark.parametrize(
    ("best_of", "field", "status"),
    [
        ({"n": 0}, "best_of.n", 400),
        ({"n": 65}, "best_of.n", 400),
        ({"n": 4, "return": 5}, "best_of.return", 400),
        ({"n": 4, "by": "reward:nobody"}, "best_of.by", 400),
        ({"n": 4, "by": "reward:motet-sft"}, "best_of.by", 400),
        ({"n": 4, "by": "wisdom"}, "best_of.by", 400),
        ({"n": 4, "by": "implicit:nobody"}, "best_of.by", 400),
        ({"n": 4, "by": "implicit"}, "best_of.by", 400),
        ({"n": 4, "by": "likelihood:median"}, "best_of.by", 400),
        ({"n": 4, "report": ["wisdom"]}, "best_of.report.0", 400),
        ({"n": 4, "by": "vote", "vote": {"pattern": "("}}, "best_of.vote.pattern", 400),
        ({"n": 4, "by": "vote", "vote": {"pattern": "((a{500}){500}){500}"}}, "best_of.vote.pattern", 400),
        ({"n": 4, "reject": {"at": 4, "by": "wisdom"}}, "best_of.reject.by", 400),
        ({"n": 4, "reject": {"at": 4, "max_total_tokens": 5}}, "best_of.reject.max_total_tokens", 400),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_cant_be_honoured_is_an_error_that_names_it(bundled, best_of, field, status, stream):
    body = {"model": WRITER, "messages": PROBLEMS[0].messages(), **DRAW, "best_of": best_of, "stream": stream}
    answer = httpx.post(f"{bundled.url}/v1/chat/completions", json=body, timeout=60)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, field), answer.text


def test_a_client_that_leaves_ends_every_candidate(bundled):
    body = {
        "model": WRITER,
        "messages": PROBLEMS[0].messages(),
        "best_of": {"n": 32, "by": "likelihood"},
        "ignore_eos": True,
        "max_tokens": 400,
    }
    running = "vllm:num_requests_running"
    wait_for(lambda: bundled.metric(running) == 0)
    for stream in (False, True):

        async def leave(stream=stream):
            async with httpx.AsyncClient(base_url=bundled.url, timeout=60) as client:
                asked = client.post("/v1/chat/completions", json={**body, "stream": stream})
                task = asyncio.ensure_future(asked)
                while await asyncio.to_thread(bundled.metric, running) < 32:
                    assert not task.done()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        asyncio.run(leave())
        wait_for(lambda: bundled.metric(running) == 0)


def test_thirty_two_at_once_beside_plain_and_contrast_traffic(bundled):
    """None is lost, and nobody's answer is another's: greedy ones are what they are alone."""
    contrast = {"strength": 0.5, "plausibility": 0.05}
    greedy = {"temperature": 0, "seed": None}
    alone = {
        kind: [content(ask(bundled, problem, **greedy, **fields)) for problem in PROBLEMS]
        for kind, fields in (("plain", {}), ("contrast", {"contrast": contrast}))
    }

    async def run():
        async with openai.AsyncOpenAI(
            base_url=f"{bundled.url}/v1", api_key="none", max_retries=0, timeout=300
        ) as client:

            async def one(problem, extra, **fields):
                answer = await client.chat.completions.create(
                    model=WRITER, messages=problem.messages(), max_tokens=32, extra_body=extra, **fields
                )
                return answer.choices[0].message.content, answer.model_extra.get("motet")

            chosen = [
                one(PROBLEMS[i % len(PROBLEMS)], {"best_of": {"n": 8, "by": "reward"}}, seed=i)
                for i in range(32)
            ]
            plain = [one(problem, None, temperature=0) for problem in PROBLEMS]
            contrasted = [one(problem, {"contrast": contrast}, temperature=0) for problem in PROBLEMS]
            return await asyncio.gather(
                asyncio.gather(*chosen), asyncio.gather(*plain), asyncio.gather(*contrasted)
            )

    chosen, plain, contrasted = asyncio.run(run())
    assert [text for text, _ in plain] == alone["plain"]
    assert [text for text, _ in contrasted] == alone["contrast"]
    for text, told in chosen:
        assert told["best_of"]["candidates"] == 8
        assert text is not None


def test_metrics_count_candidates(bundled):
    names = ("motet_candidates_total", "motet_candidates_rejected_total", "motet_candidate_tokens_total")
    before = [bundled.metric(name) for name in names]
    scored = bundled.metric("motet_scorer_seconds_count", by="reward")
    asked = bundled.metric("motet_best_of_requests_total", route="chat", by="reward")
    told = ask(bundled, PROBLEMS[0], {"n": 8, "by": "reward", "reject": {"at": 2}})["motet"]["best_of"]
    after = [bundled.metric(name) for name in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [8, told["rejected"], told["tokens"]]
    assert bundled.metric("motet_scorer_seconds_count", by="reward") > scored
    assert bundled.metric("motet_best_of_requests_total", route="chat", by="reward") == asked + 1


def test_the_description_of_the_api_knows_the_field(bundled):
    schema = json.loads(httpx.get(f"{bundled.url}/openapi.json", timeout=60).text)
    for name in ("ChatCompletionRequest", "CompletionRequest"):
        described = schema["components"]["schemas"][name]["properties"]["best_of"]
        assert "n" in described["anyOf"][0]["properties"]
