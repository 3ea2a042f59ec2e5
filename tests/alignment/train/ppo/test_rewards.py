"""Rewards: their sum and its parts, reward adapters against plain transformers, functions, and every bad end."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tests.alignment.train.conftest import write_lines
from tests.server.making import make_lora, publish

from motet_alignment.data import Message
from motet_alignment.errors import DataError, StoreError, TrainError
from motet_alignment.store import AdapterStore
from motet_alignment.train.devices import Place
from motet_alignment.train.models import Base, find_adapter, open_base
from motet_alignment.train.ppo.prompts import read_prompts
from motet_alignment.train.ppo.rewards import Rewards, first_reward_adapter, make_rewards
from motet_alignment.train.ppo.rewards.adapter import conversation_ids, own_tokenizer
from motet_alignment.train.ppo.rollout import Prompt, Rollout
from motet_alignment.train.ppo.settings import PpoSettings
from motet_benchmarks.gym.splits import instances
from motet_models import ADAPTERS, EXPERT


def prompt(question: str, place: int = 1, **row) -> Prompt:
    return Prompt((Message(role="user", content=question),), (1, 2), row, f"prompts.jsonl:{place}")


def answer(asked: Prompt, text: str, tokens: int = 3, *, ended: bool = True) -> Rollout:
    return Rollout(asked, tuple(range(tokens)), text, ended, None)


class Spy:
    """Scores conversations by their length, and shows what it was given."""

    def __init__(self) -> None:
        self.adapters: list[str] = []
        self.seen: list[list[int]] = []

    def add_reward(self, adapter):
        self.adapters.append(adapter.reference)

        def score(sequences):
            self.seen += [list(sequence) for sequence in sequences]
            return [float(len(sequence)) for sequence in sequences]

        return score


def settings_of(**options) -> PpoSettings:
    return PpoSettings(**{"data": ["prompts.jsonl"], "reward": ["gym"], "precision": "fp32", **options})


@pytest.fixture(scope="module")
def expert() -> Base:
    return open_base(settings_of())


@pytest.fixture
def made(tmp_path: Path):
    def make(*specs: str, base: Base | None = None, scorers=None, weights=None, **options) -> Rewards:
        settings = settings_of(reward=specs, store=tmp_path / "store", **options)
        weights = weights or (1.0,) * len(specs)
        return make_rewards(specs, weights, settings, base or open_base(settings), scorers or Spy())

    return make


@pytest.fixture
def function(tmp_path: Path):
    """The spec of a function `reward` with this body, in a file of its own."""

    def write(*body: str, name: str = "mine.py") -> str:
        path = tmp_path / name
        path.write_text("\n".join(["def reward(answered):", *(f"    {line}" for line in body)]))
        return f"python:{path}:reward"

    return write


def test_rewards_are_weighed_and_penalties_taken_off(expert, made, function):
    length = function("return [len(one.answer) for one in answered]")
    rewards = made(
        "gym",
        length,
        base=expert,
        weights=(2.0, -0.5),
        missing_end_penalty=1.5,
        length_penalty=0.25,
        length_free=2,
    )
    sums = prompt("1 + 1?", answer="2")
    found = rewards([answer(sums, "2", 2), answer(sums, "three", 6, ended=False)])
    assert [one.total for one in found] == [2 - 0.5, -2.5 - 1.5 - 1.0]
    assert [dict(one.parts) for one in found] == [
        {"gym": 1.0, length: 1.0, "missing_end": 0.0, "length": 0.0},
        {"gym": 0.0, length: 5.0, "missing_end": -1.5, "length": -1.0},
    ]
    assert rewards([]) == []


def test_there_are_no_parts_for_penalties_that_there_are_not(expert):
    settings = settings_of(missing_end_penalty=1.0)
    late = answer(prompt("1 + 1?", answer="2"), "2", ended=False)
    (plain,) = make_rewards(("gym",), (1.0,), settings, expert, Spy(), penalised=False)([late])
    assert (plain.total, dict(plain.parts)) == (1.0, {"gym": 1.0})
    (one,) = make_rewards(("gym",), (1.0,), settings, expert, Spy())([late])
    assert (one.total, dict(one.parts)) == (0.0, {"gym": 1.0, "missing_end": -1.0})


def test_a_reward_adapter_scores_as_plain_transformers_do_beside_a_policy_and_values():
    from motet_alignment.train.ppo.actor_critic import ActorCritic
    from motet_benchmarks.toys.adapted import Scorer

    problems = [one for problem in instances("test", count=1, seed=3) for one in (problem, problem)]
    texts = [
        said
        for problem in problems[::2]
        for said in (problem.answer, f" {problem.mistakes[0].text}\nAnswer: ")
    ]
    texts[5] = ""
    settings = settings_of(**{"from": "motet-sft"}, reward=["adapter:motet-reward"], batch_tokens=300)
    base = open_base(settings)
    adapter = first_reward_adapter(settings, base)
    assert adapter is not None
    # Values that start at the adapter itself, and a reference, must not be taken for it.
    actor = ActorCritic(settings, base, Place("cpu", "fp32"), reference=base.start, reward=adapter)
    rewards = make_rewards(settings.reward, (1.0,), settings, base, actor)
    rollouts = [
        Rollout(
            Prompt(tuple(map(Message.model_validate, problem.messages())), (1,), {}, "a:1"),
            (2,),
            text,
            True,
            None,
        )
        for problem, text in zip(problems, texts, strict=True)
    ]
    found = [one.total for one in rewards(rollouts)]
    scorer = Scorer(EXPERT, AdapterStore(ADAPTERS).get("motet-reward").path)
    # It renders as training does, which no answer without a word passes.
    said = [place for place, text in enumerate(texts) if text]
    expected = scorer([(problems[place], texts[place]) for place in said])
    assert [found[place] for place in said] == pytest.approx(expected, abs=1e-4)
    assert len({round(score, 3) for score in found}) > len(found) / 2
    assert math.isfinite(found[5])


def test_a_conversation_is_rendered_in_the_judge_s_own_template_and_cut_to_the_context(tiny, tmp_path, made):
    store = AdapterStore(tmp_path / "store")
    lora = make_lora(tmp_path / "lora", tiny, seed=1, reward=True)
    publish(store, lora, tiny, "judge", kind="reward")
    (lora / "chat_template.jinja").write_text(
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    )
    publish(store, lora, tiny, "bracketed", kind="reward")
    mine = tmp_path / "mine.jinja"
    mine.write_text("{% for m in messages %}{{ m.content }}|{% endfor %}")
    # The policy's template is not its judges'.
    base = open_base(settings_of(model=str(tiny), chat_template=mine))
    spy = Spy()
    specs = ("adapter:judge", "adapter:bracketed")
    for rollout in (answer(prompt("Hi"), "Yes"), answer(prompt("Hi"), "")):
        made(*specs, base=base, scorers=spy, model=str(tiny))([rollout])
    texts = [base.tokenizer.decode(ids) for ids in spy.seen]
    chatml = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n{}<|im_end|>\n"
    assert texts == [chatml.format("Yes"), "[user]Hi[assistant]Yes", chatml.format(""), "[user]Hi[assistant]"]
    long = answer(prompt("Hi"), "1" * 600)
    (found,) = made("adapter:judge", base=base, scorers=spy, model=str(tiny))([long])
    assert found.total == base.context == 512
    whole = conversation_ids(own_tokenizer(base, None), made_answered(long))
    assert spy.seen[-1] == whole[:512]


def made_answered(rollout: Rollout):
    from motet_alignment.train.ppo.rewards.reward import answered_by

    return answered_by(rollout)


def test_an_adapter_of_another_kind_or_base_or_none_is_refused(tiny, tmp_path, made, expert):
    store = AdapterStore(tmp_path / "store")
    foreign = publish(
        store, make_lora(tmp_path / "lora", tiny, seed=1, reward=True), tiny, "foreign", kind="reward"
    )
    for reference in ("foreign", foreign.reference):
        with pytest.raises(
            TrainError,
            match=rf"--reward adapter:{reference}: {foreign.reference} was trained on .*tiny, whose weights "
            r"are not those of .*expert, which is being trained",
        ):
            made(f"adapter:{reference}", base=expert)
    with pytest.raises(
        TrainError, match=r"adapter:motet-sft: motet-sft@\w+ is a sft adapter, which gives no rewards"
    ):
        made("adapter:motet-sft", base=expert)
    with pytest.raises(TrainError, match=r"--reward adapter:nobody: there is no adapter nobody in .*store"):
        made("adapter:nobody", base=expert)
    with pytest.raises(TrainError, match="--reward adapter::"):
        made("adapter:", base=expert)
    settings = settings_of(reward=["gym", "adapter:foreign"], store=store.root)
    with pytest.raises(TrainError, match="was trained on"):
        first_reward_adapter(settings, expert)
    assert first_reward_adapter(settings_of(), expert) is None


def test_bundled_adapters_are_found_where_the_store_has_no_such_name(tiny, tmp_path):
    store = AdapterStore(tmp_path / "store")
    bundled = AdapterStore(ADAPTERS).get("motet-reward")
    assert find_adapter("motet-reward", store.root) == bundled
    assert find_adapter(bundled.reference[:-6], store.root) == bundled
    own = publish(
        store, make_lora(tmp_path / "lora", tiny, seed=1, reward=True), tiny, "motet-reward", kind="reward"
    )
    assert find_adapter("motet-reward", store.root) == own
    with pytest.raises(
        StoreError, match=f"no motet-reward@{bundled.version}; motet-reward has {own.version}"
    ):
        find_adapter(bundled.reference, store.root)
    with pytest.raises(StoreError, match=r"there is no adapter nobody in .*store"):
        find_adapter("nobody", store.root)
    started = open_base(settings_of(**{"from": "motet-sft"}, store=store.root)).start
    assert started == AdapterStore(ADAPTERS).get("motet-sft")
    with pytest.raises(TrainError, match=r"--from motet-sft@.*: it was trained on"):
        open_base(settings_of(**{"from": "motet-sft"}, store=store.root, model=str(tiny)))


def test_what_is_no_reward_is_told_with_what_is_one(made, expert):
    with pytest.raises(
        TrainError, match=r"--reward gmy: there is no such grader; installed: .*gym.*adapter:NAME"
    ):
        made("gmy", base=expert)
    with pytest.raises(TrainError, match="--reward gym: given twice"):
        made("gym", "gym", base=expert)
    with pytest.raises(TrainError, match="--gold gmy: there is no such grader"):
        make_rewards(["gmy"], [1.0], settings_of(), expert, Spy(), option="--gold")


def test_prompts_that_a_grader_cannot_grade_are_named_before_any_answer(tiny, tmp_path, made):
    data = write_lines(tmp_path / "p.jsonl", [{"prompt": "1?", "answer": "1"}, {"prompt": "2?"}])
    settings = settings_of(data=[data], model=str(tiny), held_out=0)
    base = open_base(settings)
    with pytest.raises(DataError, match=r"p\.jsonl:2: the grader gym compares with the column answer"):
        made("gym", base=base).check(read_prompts(settings, base).train)


def test_a_reward_that_fails_is_named_with_its_line_and_sample_before_any_answer(made, expert, function):
    bad = function("word = answered[0].answer.upper()", "return [int(word)]")
    asked = [prompt("How many?", 7)]
    path = bad.split(":")[1]
    with pytest.raises(TrainError) as told:
        made(bad, base=expert).check(asked)
    assert str(told.value) == (
        f"""--reward {bad}: {path}:3: ValueError: invalid literal for int() with base 10: "I DON'T KNOW.", for """
        f"""prompts.jsonl:7, asked 'How many?', answered "I don't know.\""""
    )


def test_of_many_answers_the_one_that_fails_is_named(made, expert, function):
    bad = function("return [1 / len(one.answer) for one in answered]")
    rollouts = [answer(prompt("x" * 200, place), "" if place == 3 else "yes") for place in range(1, 6)]
    says = r"ZeroDivisionError: .*, for prompts\.jsonl:3, asked 'x{80}\.\.\.', answered ''$"
    with pytest.raises(TrainError, match=says):
        made(bad, base=expert)(rollouts)
    together = function("assert len(answered) < 3, 'too many'", "return [0] * len(answered)", name="other.py")
    with pytest.raises(
        TrainError,
        match=r"other\.py:2: AssertionError: too many, for 5 answers together, from prompts\.jsonl:1",
    ):
        made(together, base=expert)(rollouts)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return [1.0]", r"gave 1 rewards for 2 answers, from prompts\.jsonl:1 to prompts\.jsonl:2"),
        (
            "return [1.0, float('nan')]",
            r"nan is no finite number, for prompts\.jsonl:2, asked 'b', answered 'd'",
        ),
        ("return ['1', '2']", r"'1' is no finite number, for prompts\.jsonl:1"),
        ("return [1.0, None]", r"None is no finite number, for prompts\.jsonl:2"),
        ("return [1.0, [2.0] * 99]", r"\[2\.0, [2.0, ]{70,80}is no finite number, for prompts\.jsonl:2"),
        ("import torch; return torch.zeros(2, 3)", r"tensor\(\[0\., 0\., 0\.\]\) is no finite number"),
        ("return None", r"TypeError: 'NoneType' object is not iterable"),
        ("return [1, 10 ** 400]", r"0 is no finite number, for prompts\.jsonl:2"),
    ],
)
def test_what_is_no_number_for_each_is_named(made, expert, function, body, says):
    with pytest.raises(TrainError, match=rf"^--reward python:.*mine\.py:reward: .*{says}"):
        made(function(body), base=expert)([answer(prompt("a", 1), "c"), answer(prompt("b", 2), "d")])


def test_numbers_of_any_library_will_do(made, expert, function):
    spec = function(
        "import numpy, torch", "return (number for number in (numpy.float32(1.5), torch.tensor(2.5), True))"
    )
    found = made(spec, base=expert)([answer(prompt("a"), "b")] * 3)
    assert [one.total for one in found] == [1.5, 2.5, 1.0]
    assert {type(one.total) for one in found} == {float}


def test_a_function_sees_all_of_an_answer_and_files_are_told_apart(made, expert, tmp_path, function):
    spec = function(
        "(one,) = answered",
        "assert [turn.content for turn in one.messages] == ['a']",
        "assert (one.answer, one.ended, one.row, one.source) == ('b', False, {'k': [1]}, 'prompts.jsonl:1')",
        "assert (one.prompt_ids, one.answer_ids) == ((1, 2), (0, 1, 2, 3))",
        "return [4]",
    )
    other = tmp_path / "other"
    other.mkdir()
    # A dataclass looks its module up, and a file of the same name is another file.
    (other / "mine.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Kept:\n    value: int\n"
        "def reward(answered):\n    return [Kept(5).value for one in answered]\ndef second(answered):\n    return [6]\n"
    )
    specs = (spec, f"python:{other}/mine.py:reward", f"python:{other}/mine.py:second")
    (found,) = made(*specs, base=expert)([answer(prompt("a", k=[1]), "b", 4, ended=False)])
    assert list(found.parts.values()) == [4.0, 5.0, 6.0]


def test_a_function_that_is_not_there_is_named(made, expert, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("x = 1\n")
    for spec, says in (
        (f"python:{tmp_path}/none.py:reward", f"there is no file {tmp_path}/none.py"),
        (f"python:{path}:reward", f"{path} has no function reward"),
        (f"python:{path}:x", f"{path} has no function x"),
        ("python:reward", r"must be python:FILE\.py:FUNCTION or python:MODULE:FUNCTION"),
        ("python:no_such_module:reward", "ModuleNotFoundError: No module named 'no_such_module'"),
    ):
        with pytest.raises(TrainError, match=rf"^--reward {spec}: {says}"):
            made(spec, base=expert)
    path.write_text("x = 1\ndef reward(:\n")
    with pytest.raises(TrainError, match=rf"{path}:2: SyntaxError: invalid syntax"):
        made(f"python:{path}:reward", base=expert)
    path.write_text("x = 1\n\ny = 1 / 0\n")
    with pytest.raises(TrainError, match=rf"{path}:3: ZeroDivisionError: division by zero"):
        made(f"python:{path}:reward", base=expert)
    path.write_text("def reward(answered):\n    return [0] * len(answered)\n")
    made(f"python:{path}:reward", base=expert).check([prompt("a")])


def test_a_function_of_a_module(made, expert):
    (found,) = made("python:tests.alignment.train.ppo.graders:loud", base=expert)(
        [answer(prompt("a"), "YES!")]
    )
    assert found.total == 1.0
