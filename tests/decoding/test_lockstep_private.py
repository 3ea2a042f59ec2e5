"""What lockstep groups rely on in vLLM's scheduler and samplers; a change there fails here, and says where."""

from __future__ import annotations

import inspect
import re
from types import SimpleNamespace

import pytest
import torch
from vllm.v1.core.kv_cache_manager import KVCacheManager
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine.core import EngineCore
from vllm.v1.sample.sampler import Sampler as V1Sampler
from vllm.v1.worker.gpu.model_runner import GPUModelRunner as V2Runner
from vllm.v1.worker.gpu.sample.sampler import Sampler as V2Sampler
from vllm.v1.worker.gpu_model_runner import GPUModelRunner as V1Runner

from motet_decoding.engine import lockstep_private as private
from motet_decoding.engine.following import follow_leaders

SCHEDULE = inspect.getsource(Scheduler.schedule)


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("self._reserve_prefill_lookahead(", 2),
        ("self._handle_blocked_waiting_request(request)", 1),
        ("self._get_local_prefix_cache_hit(request)", 1),
        ("self._request_blocks_can_be_freed(preempted_req)", 1),
        ("self._preempt_request(", 1),
        ("self._make_cached_request_data(", 1),
        ("preempted_req = self.running[-1]", 1),
        ("preempted_req = self.running.pop()", 1),
        ("while req_index < len(self.running) and token_budget > 0:", 1),
        ("if new_blocks is None:\n                # Cannot schedule this request.\n                break", 1),
    ],
)
def test_a_step_is_planned_as_groups_rely_on(text, times):
    assert SCHEDULE.count(text) == times


def test_tokens_are_granted_before_blocks_are_allotted():
    running, waiting = SCHEDULE.split("# Next, schedule the WAITING requests.")
    for part in (running, waiting):
        granted, allotted = part.index("self._reserve_prefill_lookahead("), part.index(".allocate_slots(")
        assert granted < allotted
    after = running[running.index("self._reserve_prefill_lookahead(") :]
    passed_over = after[after.index("if num_new_tokens == 0:") : after.index("allocate_slots")]
    assert "req_index += 1\n                continue" in passed_over


def test_a_request_whose_grammar_fails_is_ended_with_an_error():
    update = inspect.getsource(Scheduler.update_from_output)
    assert "set(self.grammar_compile_error_reqs)" in update
    assert "self.finish_requests(\n                error_req_ids, RequestStatus.FINISHED_ERROR" in update
    assert "self.scheduler.update_from_output(" in inspect.getsource(EngineCore.step)


def test_blocks_are_reckoned_as_they_are_allotted():
    allocate = inspect.getsource(KVCacheManager.allocate_slots)
    asked = inspect.getsource(private.blocks_to_go_on)
    call = allocate[allocate.rindex("self.coordinator.get_num_blocks_to_allocate(") :]
    names = re.findall(r"^\s+(\w+)=", call[: call.index("\n        )")], re.MULTILINE)
    assert len(names) > 5
    assert [name for name in names if f"{name}=" not in asked] == []


def test_the_runners_call_their_samplers_as_followers_rely_on():
    assert (
        "self.sampler(\n                logits=logits,\n                sampling_metadata=sampling_metadata"
        in (inspect.getsource(V1Runner._sample))
    )
    assert "self.sampler(logits, input_batch)" in inspect.getsource(V2Runner)
    assert "self.logits_processors: list[LogitsProcessor]" in inspect.getsource(V2Sampler.__init__)


class Processor:
    """Knows that rows 1 and 3 follow rows 0 and 2."""

    def leading(self):
        return torch.tensor([1, 3]), torch.tensor([0, 2])


@pytest.fixture
def drawn(monkeypatch):
    tokens = torch.tensor([[7], [8], [9], [10], [11]])

    def draw(self, *arguments, **options):
        assert len(arguments) + len(options) == 2
        return SimpleNamespace(sampled_token_ids=tokens)

    for sampler, method in ((V1Sampler, "forward"), (V2Sampler, "__call__")):
        monkeypatch.setattr(sampler, method, draw)
    private.copy_leaders_draws()
    return tokens


def test_followers_take_what_the_v1_sampler_drew_for_their_leader(drawn):
    metadata = SimpleNamespace(logitsprocs=SimpleNamespace(non_argmax_invariant=[object(), Processor()]))
    V1Sampler()(logits=torch.zeros(5, 4), sampling_metadata=metadata)
    assert drawn.flatten().tolist() == [7, 7, 9, 9, 11]


def test_followers_take_what_the_v2_sampler_drew_for_their_leader(drawn):
    sampler = V2Sampler.__new__(V2Sampler)
    sampler.logits_processors = [object(), Processor()]
    sampler(torch.zeros(5, 4), SimpleNamespace())
    assert drawn.flatten().tolist() == [7, 7, 9, 9, 11]


def test_the_samplers_are_changed_once(drawn):
    changed = V1Sampler.forward, V2Sampler.__call__
    private.copy_leaders_draws()
    assert (V1Sampler.forward, V2Sampler.__call__) == changed


def test_without_groups_draws_stay_as_they_are():
    tokens = torch.tensor([[1], [2]])
    follow_leaders(tokens, None)
    assert tokens.tolist() == [[1], [2]]
