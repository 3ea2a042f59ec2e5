"""An engine of the training's own draws what the model in training would draw."""

from __future__ import annotations

import dataclasses
import json
from contextlib import closing

import psutil
import pytest
import torch

from motet_alignment.errors import TrainError
from motet_alignment.train.devices import Place
from motet_alignment.train.ppo.rollout import PolicyFiles
from motet_alignment.train.ppo.samplers import engine_private
from motet_alignment.train.ppo.samplers.engine_sampler import CPU_WORKER, EngineSampler
from motet_benchmarks.ppo.reference import EngineReference

from .policy import check_distribution, check_greedy, check_logprobs, check_seeds

CPU = Place("cpu", "fp32")


@pytest.fixture(scope="module")
def engine(settings, base):
    """With what the benchmark asks of it besides."""
    sampler = EngineReference(settings, base, CPU)
    yield sampler
    sampler.close()


@pytest.fixture
def sampler(engine, versions):
    engine.follow(versions[0])
    return engine


def test_greedy_answers_are_those_of_transformers(sampler, policies, prompts, settings):
    check_greedy(sampler, policies[0], prompts, settings.max_answer)


def test_a_seed_is_an_answer(sampler, prompts):
    check_seeds(sampler, prompts)


def test_told_logprobs_are_those_of_training(sampler, policies, prompts):
    check_logprobs(policies[0], sampler.sample(prompts, range(len(prompts))))


def test_drawn_from_the_policy(sampler, policies, prompts):
    check_distribution(sampler, policies[0], prompts)


def test_what_it_makes_of_given_answers(sampler, policies, prompts):
    """At temperature 1, whatever they were drawn at."""
    answers = sampler.sample(prompts[:8], range(8))
    for answer, found in zip(answers, sampler.logprobs(answers), strict=True):
        assert found == pytest.approx(policies[0].logprobs(answer, 1.0).tolist(), abs=1e-3)


def test_another_version_takes_the_place_of_the_first(sampler, versions, policies, prompts, settings):
    before = engine_private.loaded_adapters(sampler._llm)
    first = sampler.sample(prompts, [0] * len(prompts), greedy=True)
    sampler.follow(versions[1])
    after = engine_private.loaded_adapters(sampler._llm)
    assert len(before) == len(after) == 1
    assert before != after
    check_greedy(sampler, policies[1], prompts, settings.max_answer)
    assert sampler.sample(prompts, [0] * len(prompts), greedy=True) != first


def test_prompts_longer_than_one_step_of_the_engine(sampler, policies, prompts, base):
    """Together they exceed what the engine reads at once, so that some are read in pieces."""
    long = [
        dataclasses.replace(prompt, ids=(prompt.ids * 100)[: base.context - 8 + place])
        for place, prompt in enumerate(prompts[:8])
    ]
    found = sampler.sample(long, range(len(long)))
    assert all(one.ended or len(one.ids) == 8 - place for place, one in enumerate(found))
    assert not all(one.ended for one in found)
    check_logprobs(policies[0], found)


def test_a_version_that_is_none(sampler, tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4}))
    with pytest.raises(TrainError, match=r"the engine doesn't take the policy of iteration 7"):
        sampler.follow(PolicyFiles(tmp_path, 7))


def test_nothing_followed_yet(engine, prompts, monkeypatch):
    monkeypatch.setattr(engine, "_adapter", None)
    with pytest.raises(TrainError, match="follows no policy"):
        engine.sample(prompts[:1], [0])


def test_several_processes_are_refused(settings, base):
    with pytest.raises(TrainError, match=r"--rollouts engine: 2 .*--url .*--rollouts transformers"):
        EngineSampler(settings, base, Place("cpu", "fp32", processes=2))


def test_a_base_that_the_engine_has_no_class_for(settings, base, tmp_path):
    config = json.loads((base.folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["NoSuchModel"]}))
    with pytest.raises(TrainError, match=r"--rollouts engine: the engine doesn't start: .*NoSuchModel"):
        EngineSampler(settings, dataclasses.replace(base, folder=tmp_path), CPU)


@pytest.mark.gpu
@pytest.mark.engine
def test_a_rest_gives_memory_back_and_changes_no_answer(settings, base, versions, prompts):
    with closing(EngineSampler(settings, base, Place("cuda", "fp32"))) as engine:
        engine.follow(versions[0])
        first = engine.sample(prompts, range(len(prompts)))
        awake = torch.cuda.mem_get_info()[0]
        engine.rest()
        assert torch.cuda.mem_get_info()[0] > awake
        assert [one.ids for one in engine.sample(prompts, range(len(prompts)))] == [one.ids for one in first]
        engine.rest()
        engine.follow(versions[1])
        assert [one.ids for one in engine.sample(prompts, range(len(prompts)))] != [one.ids for one in first]


def test_the_worker_is_the_decoders():
    from motet_decoding.engine import launch

    assert CPU_WORKER == launch.CPU_WORKER


def test_an_engine_that_has_ended(sampler, prompts):
    """The last test of the engine: killed, so that nothing tells of its end."""
    for process in sampler._llm.llm_engine.engine_core.resources.engine_manager.processes:
        for one in (*psutil.Process(process.pid).children(recursive=True), process):
            one.kill()
    with pytest.raises(TrainError, match="the engine that answers has ended"):
        sampler.sample(prompts, range(len(prompts)))
    sampler.close()
