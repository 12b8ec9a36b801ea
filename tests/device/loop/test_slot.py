"""The slot of one frame between two threads of the loop."""

import threading
import time

import pytest

from device.loop.slot import Slot

pytestmark = pytest.mark.timeout(60)  # a test that hangs has found a deadlock


def test_a_newer_item_replaces_one_not_yet_taken_and_is_counted() -> None:
    dropped: list[int] = []
    slot: Slot[int] = Slot(True, lambda: dropped.append(1), threading.Event())
    assert slot.put(1)
    assert slot.put(2)
    assert slot.put(3)
    assert slot.take() == 3
    assert len(dropped) == 2


def test_without_newest_every_item_arrives_in_order_even_with_a_slow_taker() -> None:
    slot: Slot[int] = Slot(False, lambda: pytest.fail("dropped"), threading.Event())
    giver = threading.Thread(target=lambda: [slot.put(i) for i in range(20)] and slot.close(), daemon=True)
    giver.start()
    taken = []
    while (item := slot.take()) is not None:
        taken.append(item)
        time.sleep(0.002)
    giver.join()
    assert taken == list(range(20))


def test_put_returns_only_when_its_item_is_taken() -> None:
    slot: Slot[int] = Slot(False, lambda: None, threading.Event())
    returned = threading.Event()
    giver = threading.Thread(target=lambda: slot.put(7) and returned.set(), daemon=True)
    giver.start()
    assert not returned.wait(0.3)
    assert slot.take() == 7
    assert returned.wait(10)
    giver.join()


def test_a_closed_slot_gives_its_last_item_then_none_and_accepts_nothing() -> None:
    dropped: list[int] = []
    slot: Slot[int] = Slot(True, lambda: dropped.append(1), threading.Event())
    slot.put(1)
    slot.close()
    assert not slot.put(2)
    assert slot.take() == 1
    assert slot.take() is None
    assert slot.take() is None
    assert not dropped


@pytest.mark.parametrize("ending", ["close", "stop"])
def test_close_and_stop_wake_waiting_threads(ending: str) -> None:
    stop = threading.Event()
    empty: Slot[int] = Slot(False, lambda: None, stop)
    full: Slot[int] = Slot(False, lambda: None, stop)
    waiting = [threading.Thread(target=empty.take, daemon=True), threading.Thread(target=full.put, args=(1,), daemon=True)]
    for thread in waiting:
        thread.start()
    time.sleep(0.2)
    assert all(thread.is_alive() for thread in waiting)
    if ending == "close":
        empty.close()
        full.close()
    else:
        stop.set()
    for thread in waiting:
        thread.join(10)
        assert not thread.is_alive()


def test_take_returns_none_after_its_timeout() -> None:
    slot: Slot[int] = Slot(True, lambda: None, threading.Event())
    assert slot.take(0.05) is None
    assert not slot.over
