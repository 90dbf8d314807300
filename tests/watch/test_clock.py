"""After the wall clock was set nothing is dropped for its age, for a day."""

from __future__ import annotations

from catalog.watch.clock import HOLD_SECONDS, STEP_SECONDS, Clock

YEARS = 30 * 365 * 86_400.0


class Machine:
    """Two clocks: `pass_` lets time go by, `set` sets the wall clock."""

    def __init__(self) -> None:
        self.wall = 1.0e9
        self.running = 100.0
        self.clock = Clock(lambda: self.wall, lambda: self.running)

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.running += seconds

    def set(self, seconds: float) -> None:
        self.wall += seconds


def test_time_that_goes_by_is_believed() -> None:
    machine = Machine()
    for seconds in (0, 1, 3600, YEARS):
        machine.pass_(seconds)
        assert machine.clock.can_be_trusted()
    machine.set(STEP_SECONDS / 2)  # what a time server does now and then
    machine.set(-STEP_SECONDS / 2)
    assert machine.clock.can_be_trusted()


def test_a_step_is_not_believed_for_a_day() -> None:
    for step in (YEARS, -YEARS):
        machine = Machine()
        machine.set(step)
        assert not machine.clock.can_be_trusted()
        machine.pass_(HOLD_SECONDS / 2)
        assert not machine.clock.can_be_trusted()
        machine.set(-step)  # and put right: from then on it is a day again
        machine.pass_(HOLD_SECONDS * 0.9)
        assert not machine.clock.can_be_trusted()
        machine.pass_(HOLD_SECONDS)
        assert machine.clock.can_be_trusted()


def test_the_machines_own() -> None:
    assert Clock().can_be_trusted()
