"""Best-of-N over HTTP on the bundled models, against transformers and PEFT scoring the same candidates."""

from __future__ import annotations

import math
import re

import pytest
from tests.end_to_end.choosing import (
    DRAW,
    PROBLEMS,
    STORE,
    WRITER,
    ask,
    content,
    distributions,
    first_of,
    likelihoods,
    plain_ids,
    reward,
)

pytestmark = pytest.mark.engine


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
