"""Which device each slot sees, and how much memory: without one, from what the process is told there is."""

import psutil
import pytest

from pkt_bench.executors.places import memory_share, places


@pytest.fixture(autouse=True)
def three_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,GPU-ab12")


def test_every_gpu_has_a_slot_of_its_own():
    assert [each["CUDA_VISIBLE_DEVICES"] for each in places("cuda", 1, 10)] == ["0", "2", "GPU-ab12"]


def test_a_gpu_that_was_asked_for_is_the_only_one_and_several_slots_share_it():
    assert [each["CUDA_VISIBLE_DEVICES"] for each in places("cuda:1", 1, 10)] == ["2"]
    assert [each["CUDA_VISIBLE_DEVICES"] for each in places("cuda:1", 2, 10)] == ["2", "2"]


def test_more_slots_than_gpus_take_turns_and_there_are_no_more_than_jobs():
    assert [each["CUDA_VISIBLE_DEVICES"] for each in places("cuda", 5, 10)] == ["0", "2", "GPU-ab12", "0", "2"]
    assert len(places("cuda", 5, 2)) == 2


def test_slots_of_a_processor_see_what_everybody_sees():
    assert places("cpu", 4, 3) == [{}, {}, {}]


def test_the_shares_of_all_slots_together_leave_a_tenth_of_the_memory():
    total = psutil.virtual_memory().total

    assert 3 * memory_share(3) <= 0.9 * total
    assert memory_share(1) >= memory_share(2)
