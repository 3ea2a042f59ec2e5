"""Which scorer a request means, what it keeps loaded, and what is said where there is none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from tests.server.best_of.judging import CHAT, Service, candidate, state

from motet_decoding.best_of import registry
from motet_decoding.best_of.likelihood import LikelihoodScorer
from motet_decoding.best_of.scorer import ScorerError
from motet_decoding.errors import LaunchError, RequestError
from motet_server.adapters.leases import Leases, chat_template
from motet_server.best_of.scorers import Scorers, beta_of
from motet_server.reward_models import RewardModels
from motet_server.settings import RewardModel, ServerSettings

pytestmark = pytest.mark.anyio

FIELD = "best_of.by"


def model(name: str) -> RewardModel:
    return RewardModel(name=name, model="m", url="http://127.0.0.1:9", key="k", process=1, log="/nowhere")


def client(mode: str = "raw_logprobs") -> SimpleNamespace:
    """What is read of the engine's client before it is asked anything."""
    model_config = SimpleNamespace(logprobs_mode=mode)
    cache_config = SimpleNamespace(kv_sharing_fast_prefill=False)
    return SimpleNamespace(vllm_config=SimpleNamespace(model_config=model_config, cache_config=cache_config))


def scorers(service: Service | None = None, *models: str, **settings: object) -> Scorers:
    rewards = RewardModels([model(name) for name in models])
    return Scorers(ServerSettings(**settings), state(), client(), lambda: service, lambda: rewards)


async def refusal(of: Scorers, name: str, leases: Leases | None = None) -> RequestError:
    with pytest.raises(RequestError) as error:
        await of.resolve(name, FIELD, leases)
    assert error.value.field == FIELD
    assert str(error.value).startswith(f"{FIELD}: ")
    return error.value


async def test_scorers_that_need_nothing_of_the_server_are_there_without_adapters():
    plain = scorers()
    assert (await plain.resolve("likelihood:sum", FIELD, None)).name == "likelihood:sum"
    assert isinstance(await plain.resolve("likelihood", FIELD, None), LikelihoodScorer)
    assert (await plain.resolve("certainty", FIELD, None)).needs == {"certainty"}
    assert "likelihood:sum" in (await refusal(plain, "likelihood:median")).message
    assert "nothing behind a colon" in (await refusal(plain, "certainty:x")).message


async def test_an_unknown_scorer_is_told_which_there_are():
    service = Service()
    service.stock("judge", "reward")
    service.stock("tutor", "sft")
    message = (await refusal(scorers(service, "beside"), "length")).message
    assert message == (
        "there is no scorer 'length'; this server has reward:judge, reward:beside, implicit:tutor, "
        "certainty, likelihood, vote"
    )


async def test_a_reward_adapter_is_kept_for_the_request_and_neither_answers_nor_lends_its_template():
    service = Service()
    entry = service.stock("judge", "reward", template="its own")
    leases = Leases(service.shelf)
    chat_template.set("the answering adapter's")
    scorer = await scorers(service).resolve("reward:judge", FIELD, leases)
    assert scorer.name == "reward:judge@0123456789ab"
    assert (scorer.needs, scorer.alone) == (frozenset(), True)
    assert chat_template.get() == "the answering adapter's"
    assert entry.users == 1
    assert leases.entries == []  # the header names these
    again = await scorers(service).resolve("reward:judge@012345", "best_of.report.0", leases)
    assert (again.name, entry.users) == (scorer.name, 2)
    leases.close()
    assert entry.users == 0
    leases.close()
    assert entry.users == 0


async def test_the_header_names_who_answers_and_not_who_judges():
    service = Service()
    service.stock("judge", "reward")
    service.stock("tutor", "sft")
    leases, sent = Leases(service.shelf), []

    async def send(message):
        sent.append(message)

    await leases.borrow("judge")
    await leases.telling(send)({"type": "http.response.start", "status": 200, "headers": []})
    await leases.take("tutor")
    await leases.telling(send)({"type": "http.response.start", "status": 200, "headers": []})
    assert [message["headers"] for message in sent] == [[], [(b"x-motet-adapter", b"tutor@0123456789ab")]]
    leases.close()


async def test_reward_alone_means_the_one_there_is_or_the_servers_choice():
    service = Service()
    leases = Leases(service.shelf)
    nothing = await refusal(scorers(), "reward")
    assert "no reward adapter and no reward model" in nothing.message
    service.stock("judge", "reward")
    service.stock("tutor", "sft")
    only = scorers(service)
    assert (only.rewards(), only.default_reward()) == (["judge"], "judge")
    assert (await only.resolve("reward", FIELD, leases)).name == "reward:judge@0123456789ab"
    both = scorers(service, "beside")
    assert (both.rewards(), both.default_reward()) == (["judge", "beside"], None)
    assert (await refusal(both, "reward", leases)).message == (
        "there are several rewards; name one of reward:judge, reward:beside"
    )
    for by in ("reward:beside", "vote:reward:beside"):
        chosen = scorers(service, "beside", best_of_by=by)
        assert chosen.default_reward() == "beside"
        assert (await chosen.resolve("reward", FIELD, leases)).name == "reward:beside"
    leases.close()


async def test_the_servers_choice_is_not_replaced_by_another_while_it_is_not_there():
    service = Service()
    service.stock("judge", "reward")
    gone = scorers(service, best_of_by="reward:other")
    assert gone.default_reward() is None
    assert (await refusal(gone, "reward", Leases(service.shelf))).message == (
        "there is no reward adapter or reward model 'other'; this server has judge"
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("reward:tutor", "tutor writes text and gives no rewards"),
        ("reward:base", "base is the model itself"),
        (
            "reward:nobody",
            "there is no reward adapter or reward model 'nobody'; this server has judge, beside",
        ),
        ("reward:judge@ffffff", "judge has no version ffffff"),
        ("reward:broken", "can't be served: of another base"),
        ("implicit", "must name an adapter"),
        ("implicit:judge", "judge gives rewards and writes no text"),
        ("implicit:beside", "beside gives rewards and writes no text"),
        ("implicit:base", "base is the model itself"),
        ("implicit:nobody", "there is no adapter that writes text 'nobody'; this server has tutor"),
        ("implicit:tutor:judge", "judge gives rewards and writes no text"),
    ],
)
async def test_what_can_not_judge_is_refused_with_the_reason(name, says):
    service = Service()
    service.stock("judge", "reward")
    service.stock("tutor", "sft")
    service.stock("broken", "reward", refused="of another base")
    leases = Leases(service.shelf)
    assert says in (await refusal(scorers(service, "beside"), name, leases)).message
    leases.close()
    assert all(entry.users == 0 for entry in service.shelf.entries())


async def test_a_server_without_adapters_says_that_there_are_none():
    message = (await refusal(scorers(), "reward:judge")).message
    assert message == "there is no reward adapter or reward model 'judge'; this server has none"


async def test_an_adapter_that_finds_no_room_keeps_its_status():
    service = Service(most=1, patience=0.01)
    service.stock("tutor", "sft")
    service.stock("judge", "reward")
    leases = Leases(service.shelf)
    await leases.take("tutor")
    error = await refusal(scorers(service), "reward:judge", leases)
    assert (error.status, error.kind, error.retry_after) == (503, "ServiceUnavailableError", 5)
    leases.close()


async def test_an_implicit_reward_is_of_the_version_and_scaled_as_it_was_trained():
    pytest.importorskip("motet_decoding.engine.implicit")
    service = Service()
    first = service.stock("tuned", "dpo", settings={"beta": 0.3})
    other = service.stock("tutor", "sft")
    leases = Leases(service.shelf)
    scorer = await scorers(service).resolve("implicit:tuned:tutor", FIELD, leases)
    assert scorer.name == f"implicit:{first.reference}:{other.reference}"
    assert (first.users, other.users) == (1, 1)
    assert (
        await scorers(service).resolve("implicit:tutor", FIELD, leases)
    ).name == f"implicit:{other.reference}"
    leases.close()


@pytest.mark.parametrize(
    ("kind", "settings", "beta"),
    [
        ("dpo", {"beta": 0.3}, 0.3),
        ("dpo", {"beta": 2}, 2.0),
        ("dpo", {}, 0.1),
        ("dpo", {"beta": None}, 0.1),
        ("dpo", {"beta": True}, 0.1),
        ("dpo", {"beta": 0}, 0.1),
        ("dpo", {"beta": "0.3"}, 0.1),
        ("sft", {"beta": 0.3}, 0.1),
    ],
)
def test_beta_is_the_adapters_own_where_it_was_trained_with_one(kind, settings, beta):
    assert beta_of(kind, settings) == beta


async def test_somebodys_own_are_there_by_name_and_take_no_argument(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "def longest(question, candidates):\n    return [len(each.text) for each in candidates]\n"
    )
    mine = scorers(scorers={"longest": f"python:{file}:longest", "far": "http://127.0.0.1:9/score"})
    assert (await mine.resolve("longest", FIELD, None)).name == "longest"
    assert (await mine.resolve("far", FIELD, None)).name == "far"
    assert "longest takes nothing behind a colon" in (await refusal(mine, "longest:x")).message
    assert (await refusal(mine, "nobody")).message.endswith("likelihood, longest, far, vote")
    file.unlink()
    with pytest.raises(LaunchError, match="--scorer longest"):
        scorers(scorers={"longest": f"python:{file}:longest"})


async def test_what_another_distribution_registers_is_held_to_the_contract(monkeypatch):
    class Shy:
        name, needs, alone = "shy:x", frozenset({"logprobs"}), True

        async def score(self, question, candidates):
            return []

    def make(argument):
        if argument != "x":
            raise ValueError("shy wants an x")
        return Shy()

    entry = SimpleNamespace(name="shy", dist=SimpleNamespace(name="another"), load=lambda: make)
    own = registry.installed()
    monkeypatch.setattr(registry, "installed", lambda: {**own, "shy": entry})
    plain = scorers()
    assert (await refusal(plain, "shy")).message == "shy wants an x"
    scorer = await plain.resolve("shy:x", FIELD, None)
    assert (scorer.name, scorer.needs, scorer.alone) == ("shy:x", {"logprobs"}, True)
    with pytest.raises(ScorerError, match=r"^shy:x: must give 1 numbers"):
        await scorer.score(CHAT, [candidate(0, "a")])


async def test_an_engine_that_tells_no_log_probabilities_gives_no_implicit_rewards():
    of = Scorers(ServerSettings(), state(), client("raw_logits"), lambda: None, RewardModels)
    assert "raw_logits" in (await refusal(of, "implicit:tutor")).message
