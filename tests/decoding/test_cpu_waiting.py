"""vLLM's readers, real ones over shared memory, wait without taking a core from the model."""

from __future__ import annotations

import threading
import time

import pytest


@pytest.fixture
def queue():
    from vllm.distributed.device_communicators.shm_broadcast import MessageQueue

    from motet_decoding.engine.cpu_waiting import wait_gently

    wait_gently()
    writer = MessageQueue(n_reader=1, n_local_reader=1)
    reader = MessageQueue.create_from_handle(writer.export_handle(), 0)
    for end in (writer, reader):
        threading.Thread(target=end.wait_until_ready, daemon=True).start()
    time.sleep(0.2)
    return writer, reader


def test_a_long_wait_takes_little_of_a_core_and_gets_the_message(queue):
    writer, reader = queue
    writer.enqueue("first")
    assert reader.dequeue(timeout=10) == "first"
    sender = threading.Timer(0.6, writer.enqueue, ["second"])
    sender.start()
    started = time.thread_time()
    assert reader.dequeue(timeout=10) == "second"
    # Spinning would take all of the 0.6 s; what is left here is the sleeps' own cost.
    assert time.thread_time() - started < 0.3


def test_waiting_gently_twice_is_waiting_gently(queue):
    from vllm.distributed.device_communicators.shm_broadcast import SpinCondition

    from motet_decoding.engine.cpu_waiting import wait_gently

    before = SpinCondition.wait
    wait_gently()
    assert SpinCondition.wait is before
    assert before.__module__ == "motet_decoding.engine.cpu_waiting"
