"""Groups in vLLM's own schedulers: members draw together or not at all, whatever is short, and nothing is left over."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from tests.decoding.lockstep_play import BLOCK, Worker, make_request, make_scheduler, play, token_after

from motet_decoding.engine.arguments import AMATEUR, AdapterFile, Heard, Member, Mix, engine_arguments
from motet_decoding.testing import llama_config, write_model

BASE = Member()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_model(tmp_path_factory.mktemp("model"), llama_config(64, 1), seed=0))


def scheduler_of(model, **options):
    return make_scheduler(
        model,
        **{"blocks": 100, "max_num_seqs": 8, "max_num_batched_tokens": 16, "max_model_len": 48, **options},
    )


def run(scheduler, worker, steps=200):
    """Steps until nothing is left; the tokens and the ends of the requests."""
    tokens, ends = {}, {}
    for _ in range(steps):
        if not scheduler.has_requests():
            return tokens, ends
        step = scheduler.schedule()
        for outputs in scheduler.update_from_output(step, worker.run(step)).values():
            for output in outputs.outputs:
                tokens.setdefault(output.request_id, []).extend(output.new_token_ids)
                if output.finish_reason is not None:
                    ends[output.request_id] = str(output.finish_reason)
    raise AssertionError("nothing moves any more")


def alone(prompt, count):
    known = list(prompt)
    for _ in range(count):
        known.append(token_after(known))
    return known[len(prompt) :]


@pytest.mark.parametrize("policy", ["fcfs", "priority"])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_random_groups_under_random_bounds(model, policy, asynchronous):
    played = [play(model, seed, asynchronous=asynchronous, policy=policy) for seed in range(1000, 1012)]
    assert sum(each.group_draws for each in played) > 500
    assert sum(each.plain_draws for each in played) > 500
    assert sum(each.preemptions for each in played) > 50


def test_prompts_of_different_lengths_are_read_before_any_member_draws(model):
    scheduler = scheduler_of(model)
    worker = Worker(scheduler._key)
    voices = [Member(tokens=(7,)), Member(tokens=tuple(range(40))), BASE]
    scheduler.add_request(make_request("a", [1, 2, 3], voices=voices, max_tokens=5))
    scheduler.add_request(make_request("b", [4], max_tokens=5))
    assert run(scheduler, worker) == (
        {"a": alone([1, 2, 3], 5), "b": alone([4], 5)},
        {"a": "length", "b": "length"},
    )
    assert worker.group_draws == 5


def test_the_leaders_stop_token_ends_its_followers(model):
    scheduler = scheduler_of(model)
    answer = alone([1, 2, 3], 30)
    stop = next(token for place, token in enumerate(answer) if place > 3 and token not in answer[:place])
    scheduler.add_request(make_request("a", [1, 2, 3], voices=[BASE], max_tokens=30, eos=stop))
    tokens, ends = run(scheduler, Worker(scheduler._key))
    assert tokens["a"] == answer[: answer.index(stop) + 1]
    assert ends == {"a": "stop"}
    assert scheduler.books_are_empty()


def test_no_member_outgrows_the_context(model):
    scheduler = scheduler_of(model)
    scheduler.add_request(make_request("a", [1], voices=[Member(tokens=tuple(range(44)))], max_tokens=30))
    tokens, ends = run(scheduler, Worker(scheduler._key))
    assert (len(tokens["a"]), ends) == (4, {"a": "length"})


@pytest.mark.parametrize(
    ("options", "voices"),
    [
        ({"max_num_seqs": 2}, [BASE, BASE]),
        ({}, [Member(tokens=tuple(range(48)))]),
        ({"blocks": 12}, [Member(tokens=tuple(range(20))), Member(tokens=tuple(range(20)))]),
        (
            {"lora_slots": 2},
            [
                Member(adapter=AdapterFile(name=f"a{number}", number=number, path="/a"))
                for number in (1, 2, 3)
            ],
        ),
    ],
    ids=["too many members", "a prompt that fills the context", "no room in the cache", "no slots"],
)
def test_a_group_that_can_never_be_served_ends_with_an_error_and_others_go_on(model, options, voices):
    scheduler = scheduler_of(model, **options)
    scheduler.add_request(make_request("a", [1, 2, 3], voices=voices, max_tokens=20))
    scheduler.add_request(make_request("b", [4], max_tokens=5))
    tokens, ends = run(scheduler, Worker(scheduler._key))
    assert ends == {"a": "error", "b": "length"}
    assert tokens["b"] == alone([4], 5)
    assert scheduler.books_are_empty()


def test_two_groups_that_stand_in_each_others_way_are_served_one_after_the_other(model):
    scheduler = scheduler_of(model, blocks=18, scheduling_policy="priority")
    worker = Worker(scheduler._key)
    voices = [Member(tokens=tuple(range(20, 40)))]
    scheduler.add_request(make_request("a", list(range(20)), voices=voices, max_tokens=12, priority=1))
    step = scheduler.schedule()
    scheduler.update_from_output(step, worker.run(step))
    scheduler.add_request(make_request("b", list(range(10, 30)), voices=voices, max_tokens=12, priority=0))
    tokens, ends = run(scheduler, worker)
    assert tokens == {"a": alone(list(range(20)), 12), "b": alone(list(range(10, 30)), 12)}
    assert ends == {"a": "length", "b": "length"}


def test_groups_that_came_at_the_same_time_are_told_apart(model):
    """As the answers of one request with n = 3 do."""
    scheduler = scheduler_of(model, blocks=22, scheduling_policy="priority", max_num_batched_tokens=64)
    worker = Worker(scheduler._key)
    for place in range(3):
        scheduler.add_request(
            make_request(f"n{place}", [1, 2, 3, place], voices=[BASE], max_tokens=30, arrival=1.0)
        )
    tokens, ends = run(scheduler, worker)
    assert tokens == {f"n{place}": alone([1, 2, 3, place], 30) for place in range(3)}
    assert set(ends.values()) == {"length"}
    assert worker.preemptions


def test_a_pause_that_waits_for_the_running_ones_does_not_wait_for_half_a_group(model):
    from vllm.v1.core.sched.interface import PauseState

    scheduler = scheduler_of(model, max_num_batched_tokens=8)
    worker = Worker(scheduler._key)
    voices = [Member(tokens=tuple(range(20, 32)))]
    scheduler.add_request(make_request("a", list(range(12)), voices=voices, max_tokens=5))
    step = scheduler.schedule()
    scheduler.update_from_output(step, worker.run(step))
    assert len(scheduler.running) == len(scheduler.waiting) == 1
    scheduler.set_pause_state(PauseState.PAUSED_NEW)
    for _ in range(3):
        step = scheduler.schedule()
        scheduler.update_from_output(step, worker.run(step))
    assert not scheduler.running
    assert scheduler.get_num_unfinished_requests() == 0  # of those that the pause waits for
    scheduler.set_pause_state(PauseState.UNPAUSED)
    assert run(scheduler, worker) == ({"a": alone(list(range(12)), 5)}, {"a": "length"})


def test_two_groups_never_each_hold_the_slot_that_the_other_waits_for(model):
    """Nor while others are served: the first group's leader waits for its grammar as the second group comes."""
    from vllm.v1.request import RequestStatus

    scheduler = scheduler_of(model, lora_slots=2, max_num_seqs=16)
    worker = Worker(scheduler._key)

    def voices(number):
        return [Member(adapter=AdapterFile(name=f"a{number}", number=number, path="/nowhere"))]

    first = make_request("g1", [1, 2, 3], voices=voices(3), max_tokens=5, adapter=1)
    scheduler.add_request(first)
    first.status = RequestStatus.WAITING_FOR_STRUCTURED_OUTPUT_GRAMMAR
    first.structured_output_request = SimpleNamespace(grammar=None)
    scheduler.add_request(make_request("g2", [1, 2, 4], voices=voices(4), max_tokens=5, adapter=2))
    ends = {}
    for number in range(60):
        if number == 2:
            first.structured_output_request, first.status = None, RequestStatus.WAITING
        scheduler.add_request(make_request(f"p{number}", [number % 50, 1, 2], max_tokens=12))
        step = scheduler.schedule()
        for outputs in scheduler.update_from_output(step, worker.run(step)).values():
            ends |= {
                each.request_id: str(each.finish_reason) for each in outputs.outputs if each.finish_reason
            }
    assert (ends["g1"], ends["g2"]) == ("length", "length")


def test_a_hit_of_a_window_has_every_block_that_the_window_needs(model):
    """A prompt one token longer than whole blocks: a member must compute two of them, so its hit is a block shorter."""
    scheduler = scheduler_of(model, window=5, max_num_batched_tokens=64)
    worker = Worker(scheduler._key, window=5)
    prompt = list(range(4 * BLOCK + 1))
    for request_id in ("a", "b"):
        scheduler.add_request(
            make_request(request_id, prompt, voices=[Member(tokens=(7, 8, 9))], max_tokens=3)
        )
        tokens, _ = run(scheduler, worker)
        assert tokens == {request_id: alone(prompt, 3)}
    assert worker.hits >= 2 * BLOCK


def test_a_follower_has_the_salt_of_the_client_and_not_the_amateurs(model):
    from vllm.v1.request import RequestStatus

    scheduler = scheduler_of(model)
    mix = Mix(voices=(AMATEUR, Heard(source="member", member=1)))
    for salt in (None, "the client's"):
        asked = engine_arguments(mix, salt, [Member(tokens=(7, 8))])
        leader = make_request("a", [1, 2, 3])
        leader.sampling_params.extra_args, leader.cache_salt = asked.extra_args, asked.cache_salt
        scheduler.add_request(leader)
        assert leader.cache_salt.startswith(scheduler._key)
        assert scheduler.requests["a~1"].cache_salt == salt
        scheduler.finish_requests("a", RequestStatus.FINISHED_ABORTED)


def test_a_lost_lockstep_ends_the_group_with_an_error(model):
    scheduler = scheduler_of(model)
    worker = Worker(scheduler._key)
    scheduler.add_request(make_request("a", [1, 2, 3], voices=[BASE], max_tokens=20))
    ends = {}
    while scheduler.has_requests():
        step = scheduler.schedule()
        output = worker.run(step)
        for row, tokens in enumerate(output.sampled_token_ids):
            if tokens and output.req_ids[row] != "a":
                tokens[0] += 1
        for outputs in scheduler.update_from_output(step, output).values():
            ends |= {
                each.request_id: str(each.finish_reason) for each in outputs.outputs if each.finish_reason
            }
    assert ends == {"a": "error"}
    assert scheduler.books_are_empty()


def test_plain_requests_are_planned_as_by_vllm_alone(model):
    from vllm.v1.core.sched.scheduler import Scheduler

    def steps(kind):
        scheduler = scheduler_of(model, blocks=20, kind=kind)
        worker = Worker("motet-none")
        for number in range(8):
            scheduler.add_request(make_request(f"r{number}", list(range(number, 12)), max_tokens=9))
        planned = []
        while scheduler.has_requests():
            step = scheduler.schedule()
            planned.append((dict(step.num_scheduled_tokens), sorted(step.preempted_req_ids or ())))
            scheduler.update_from_output(step, worker.run(step))
        return planned

    assert steps(None) == steps(Scheduler)
