"""A running server draws what the model in training would draw, and is left as it was found."""

from __future__ import annotations

import dataclasses

import httpx
import pytest
from tests.servers import running_server

from motet_alignment.errors import TrainError
from motet_alignment.train.devices import Place
from motet_alignment.train.ppo.samplers import make_sampler
from motet_alignment.train.ppo.samplers.server_sampler import ServerSampler
from motet_models import EXPERT

from .policy import check_greedy, check_logprobs, check_seeds

CPU = Place("cpu", "fp32")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("server")
    arguments = [str(EXPERT), "--dtype", "float32", "--adapters", str(root / "store")]
    arguments += ["--logprobs-mode", "processed_logprobs"]
    yield from running_server(arguments, root / "serve.log")


@pytest.fixture(scope="module")
def asked(settings, server):
    return settings.model_copy(update={"url": server.url, "name": "learner"})


@pytest.fixture(scope="module")
def running(asked, base, policies):
    sampler = make_sampler(asked, base, CPU, policies[0])
    yield sampler
    sampler.close()


@pytest.fixture
def sampler(running, versions):
    running.follow(versions[0])
    return running


def published(server) -> dict[str, list[str]]:
    """Names and versions but for those that are only being unloaded still."""
    listing = httpx.get(f"{server.url}/v1/adapters").json()["data"]
    there = {
        one["name"]: [version["version"] for version in one["versions"] if not version["removed"]]
        for one in listing
    }
    return {name: versions for name, versions in there.items() if versions}


def test_greedy_answers_are_those_of_transformers(sampler, policies, prompts, settings):
    check_greedy(sampler, policies[0], prompts, settings.max_answer)


def test_a_seed_is_an_answer(sampler, prompts):
    # Which requests share a step, and so the last bits, is a matter of when they arrive.
    check_seeds(sampler, prompts, exact=False)


def test_told_logprobs_are_those_of_training(sampler, policies, prompts):
    check_logprobs(policies[0], sampler.sample(prompts, range(len(prompts))))


def test_another_version_takes_the_place_of_the_first(sampler, server, versions, policies, prompts, settings):
    name, version = str(sampler._reference).split("@")
    assert name.startswith("learner-rollouts-")
    assert published(server) == {name: [version]}
    sampler.follow(versions[1])
    ((_, now),) = published(server).items()
    assert now != [version]
    check_greedy(sampler, policies[1], prompts, settings.max_answer)
    sampler.follow(versions[1])
    assert published(server) == {name: now}, "the same content is the same version, and stays"


def test_nothing_stays_behind(asked, base, server, versions, prompts):
    before = published(server)
    sampler = ServerSampler(asked, base, CPU)
    with pytest.raises(TrainError, match="follows no policy"):
        sampler.sample(prompts[:1], [0])
    sampler.follow(versions[0])
    assert len(published(server)) == len(before) + 1
    sampler.close()
    sampler.close()
    assert published(server) == before


def test_a_version_that_was_removed_meanwhile(asked, base, server, versions, prompts):
    sampler = ServerSampler(asked, base, CPU)
    sampler.follow(versions[0])
    httpx.delete(f"{server.url}/v1/adapters/{sampler._reference}").raise_for_status()
    with pytest.raises(TrainError, match=rf"--url {server.url}: .*learner-rollouts-"):
        sampler.sample(prompts, range(len(prompts)))
    sampler.close()


def test_a_server_of_another_base(asked, base, versions, server):
    before = published(server)
    other = base.fingerprint.model_copy(update={"tokenizer": "0" * 64})
    sampler = ServerSampler(asked, dataclasses.replace(base, fingerprint=other), CPU)
    with pytest.raises(TrainError, match=rf"--url {server.url}: .*the tokenizer of .* differ"):
        sampler.follow(versions[0])
    sampler.close()
    assert published(server) == before
