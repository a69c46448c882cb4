"""The suite that every driver must pass, built-in or from outside.

    from lamplighter_agent.testing import Bench, DriverSuite

    class TestThermometer(DriverSuite):
        @contextmanager
        def bench(self):
            with thermometer() as port:
                yield Bench(Thermometer, profile, {"port": port}, nobody={"port": unused_port})

The device behind `settings` must be real, or an independent imitation; behind `nobody` there is none.
"""

from __future__ import annotations

import asyncio
import json
import logging
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from lamplighter_agent.driver import (
    Context,
    Driver,
    DriverError,
    DriverSettings,
    Fatal,
    Output,
    Partial,
    Refused,
    Retriable,
)
from lamplighter_agent.outputs import flaw
from lamplighter_agent.packing import Sample, sound
from lamplighter_protocols.events import known
from lamplighter_protocols.profile import Profile

WITHIN_S: Final = 10.0
MAX_POSITION: Final = 8 * 1024


@dataclass(frozen=True)
class Bench:
    """A driver, a device of this profile behind `settings`, and nobody behind `nobody`."""

    kind: type[Driver]
    profile: Profile
    settings: dict[str, Any]
    nobody: dict[str, Any]
    folder: Path = field(default_factory=Path.cwd)

    def driver(self, settings: dict[str, Any] | None = None) -> Driver:
        """Return a new driver."""
        log = logging.getLogger("lamplighter.device.bench")
        context = Context("bench-1", self.profile, self.folder, log, {})
        return self.kind(context, self.kind.Settings.model_validate(settings or self.settings))


class DriverSuite(ABC):
    """Inherit, provide `bench`, and let pytest find the tests."""

    @abstractmethod
    def bench(self) -> AbstractContextManager[Bench]:
        """Give a bench for one test."""

    def test_settings_refuse_unknown_keys(self) -> None:
        """A misspelt key must be an error."""
        with self.bench() as bench:
            _demand(issubclass(bench.kind.Settings, DriverSettings), "Settings is no DriverSettings")
            try:
                bench.kind.Settings.model_validate({**bench.settings, "no_such_key": 1})
            except ValidationError:
                return
            raise AssertionError("settings take a key that does not exist")

    def test_construction_connects_to_nothing(self) -> None:
        """A driver for a device that is not there can be made; only `open` may fail."""
        with self.bench() as bench:
            driver = bench.driver(bench.nobody)
            _demand(driver.poll_s is None or driver.poll_s > 0, "poll_s is not positive")

    def test_nobody_there_is_retriable_or_fatal(self) -> None:
        """Opening or reading a device that is not there says so by type; closing is always possible, also twice."""
        with self.bench() as bench:
            asyncio.run(_nobody(bench.driver(bench.nobody)))

    def test_read_gives_what_the_profile_knows(self) -> None:
        """Metrics and events are the profile's, values are allowed ones, the position is small JSON."""
        with self.bench() as bench:
            output = asyncio.run(_read_once(bench.driver()))
            check_output(bench.profile, output)

    def test_it_opens_again_where_it_was(self) -> None:
        """After `close`, `open` with the last position goes on."""
        with self.bench() as bench:
            asyncio.run(_reopen(bench))

    def test_unknown_command_is_refused(self) -> None:
        """A command that the device does not have is Refused, not tried."""
        with self.bench() as bench:
            asyncio.run(_unknown_command(bench.driver()))


def _demand(holds: object, what: str) -> None:
    # Not an assert statement: those are gone where Python runs with -O.
    if not holds:
        raise AssertionError(what)


def check_output(profile: Profile, output: Output) -> None:
    """Raise AssertionError when an output is not as the contract wants it."""
    _demand(not flaw(output), flaw(output))
    for row in output.rows:
        unknown = (row.values.keys() | row.quality.keys()) - profile.metrics.keys()
        _demand(not unknown, f"metrics that profile {profile.id} does not know: {sorted(unknown)}")
        sample = Sample(row.t or 0, row.values, row.quality)
        _demand(sound(sample) is sample, f"values that no reading can have: {row.values}")
    if output.position is not None:
        _demand(len(json.dumps(output.position)) <= MAX_POSITION, "the position is too large")
    for event in output.events:
        _demand(known(event.name, profile), f"event {event.name!r} is not in profile {profile.id}")


async def _nobody(driver: Driver) -> None:
    said: str | None = None
    try:
        async with asyncio.timeout(WITHIN_S):
            await driver.open(None)
            await driver.read()
    except (Retriable, Fatal) as error:
        said = str(error)
    finally:
        await driver.close()
        await driver.close()
    _demand(said is not None, "reading a device that is not there did not fail")
    _demand(said, "the error says nothing")
    _demand("\n" not in str(said), "the error is longer than a line")


async def _read_once(driver: Driver, position: dict[str, Any] | None = None) -> Output:
    async with asyncio.timeout(WITHIN_S):
        await driver.open(position)
        try:
            return await driver.read()
        except Partial as error:
            return error.output
        finally:
            await driver.close()


async def _reopen(bench: Bench) -> None:
    driver = bench.driver()
    first = await _read_once(driver)
    again = await _read_once(driver, first.position)
    check_output(bench.profile, again)
    if first.position is not None and not first.more:
        _demand(not again.events, "events that were durable came again")


async def _unknown_command(driver: Driver) -> None:
    async with asyncio.timeout(WITHIN_S):
        await driver.open(None)
        try:
            await driver.command("no_such_command", {}, None)
        except Refused:
            return
        except DriverError as error:
            raise AssertionError(f"{type(error).__name__} instead of Refused: {error}") from error
        finally:
            with suppress(DriverError):
                await driver.close()
    raise AssertionError("a command that does not exist was not refused")
