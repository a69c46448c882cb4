"""Devices as pure functions: the same input gives the same state, and what they show fits their profile."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter_firmware_sim.chance import draw, wander
from lamplighter_firmware_sim.devices.air import AirStation
from lamplighter_firmware_sim.devices.device import Device, Failed, NotReady, Observation, Occupied, Refused
from lamplighter_firmware_sim.devices.flood import FloodGauge
from lamplighter_firmware_sim.devices.installed import KEPT_EVENTS, Installed
from lamplighter_firmware_sim.devices.kiosk import REBOOT_MS, TRAY_SHEETS, Kiosk
from lamplighter_firmware_sim.devices.noise import SoundLevelMeter
from lamplighter_firmware_sim.devices.phases import PLANS
from lamplighter_firmware_sim.street.layout import STREET, Place
from lamplighter_firmware_sim.world import FaultKind, Weather, weather_at
from lamplighter_protocols.configuration import check_fields
from lamplighter_protocols.profile import load_profiles
from lamplighter_protocols.readings import Quality

PROFILES = load_profiles()
PLACES = pytest.mark.parametrize("place", STREET, ids=[place.device for place in STREET])
STORM = Weather(rain_mm_h=80)
DRY = Weather()


@PLACES
def test_what_a_device_shows_fits_its_profile(place: Place) -> None:
    profile = PROFILES[place.profile]
    state = place.start(3)
    silent = 0
    for second in range(3_000):
        state = state.step(1_000, weather_at(3, 1_700_000_000_000 + second * 20_000))
        try:
            shown = state.observe()
        except NotReady:
            silent += 1
            continue
        for name, value in shown.metrics.items():
            metric = profile.metrics[name]
            if metric.type == "number":
                assert isinstance(value, int | float)
                assert metric.range is None or metric.range[0] <= value <= metric.range[1], (name, value)
            elif metric.type == "boolean":
                assert isinstance(value, bool)
            else:
                assert value in metric.choices, (name, value)
        for name, quality in shown.quality.items():
            assert name in profile.metrics
            assert Quality(quality)
        for event in state.events:
            assert event.name in profile.events, event.name
            assert 0 <= event.after_ms <= 1_000
    assert silent == 0


@PLACES
def test_every_metric_of_the_profile_is_shown_sooner_or_later(place: Place) -> None:
    state, seen = place.start(3), set[str]()
    for _ in range(400):
        state = state.step(1_000, DRY)
        seen |= state.observe().metrics.keys()
    assert seen == PROFILES[place.profile].metrics.keys()


@PLACES
def test_configuration_is_the_profiles(place: Place) -> None:
    profile, state = PROFILES[place.profile], place.start(1)
    assert check_fields(profile.configuration, state.configuration()) == []
    if profile.simulated:
        assert state.configuration().keys() == profile.configuration.keys()
    with pytest.raises(Refused, match="no such field: nonsense"):
        state.configure({"nonsense": 1})
    with pytest.raises(Refused):
        state.command("nonsense", {}, None)


@PLACES
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), steps=st.lists(st.integers(1, 120_000), max_size=12))
def test_steps_are_pure(place: Place, seed: int, steps: list[int]) -> None:
    def run() -> Device:
        state = place.start(seed)
        for index, step in enumerate(steps):
            state = state.step(step, weather_at(seed, index * 60_000))
        return state

    assert run() == run()


@PLACES
def test_values_move(place: Place) -> None:
    state = place.start(1)
    state = state.step(20_000, weather_at(1, 43_200_000))
    before = state.observe().metrics
    state = state.step(2_000, weather_at(1, 43_202_000))
    assert before != state.observe().metrics


def test_chance_is_even_and_curves_are_smooth() -> None:
    numbers = [draw(1, n, "x") for n in range(5_000)]
    assert 0.48 < sum(numbers) / len(numbers) < 0.52
    assert min(numbers) < 0.01
    assert max(numbers) > 0.99
    curve = [wander(1, t, 10_000, "x") for t in range(0, 100_000, 100)]
    assert max(abs(b - a) for a, b in pairwise(curve)) < 0.05


def test_gas_cells_warm_up_and_a_zero_check_passes() -> None:
    state = AirStation(1).step(1_000, DRY)
    assert state.observe().quality == dict.fromkeys(("so2", "no2", "co", "o3"), "warming_up")
    state = state.step(20_000, DRY)
    assert state.observe().quality == {}
    state, _ = state.command("zero_check", {}, None)
    assert state.observe().quality["pm25"] == "warming_up"
    assert state.step(61_000, DRY).observe().quality == {}


def test_the_calibration_slope_acts() -> None:
    state = AirStation(1).step(20_000, DRY)
    doubled = state.configure({"pm25_slope": 2.0})
    plain, scaled = (float(s.observe().metrics["pm25"]) for s in (state, doubled))
    assert abs(scaled - 2 * plain) <= 1


def test_a_self_test_hides_the_microphone() -> None:
    state, _ = SoundLevelMeter(1).step(20_000, DRY).command("self_test", {}, None)
    shown = state.observe()
    assert shown.metrics["state"] == "self_test"
    assert shown.quality["laeq_1s"] == "sensor_fault"
    assert state.step(10_001, DRY).observe().metrics["state"] == "measuring"


def test_statistics_can_be_reset() -> None:
    state = SoundLevelMeter(1)
    for _ in range(300):
        state = state.step(1_000, DRY)
    fresh, _ = state.command("reset_statistics", {}, None)
    assert float(fresh.observe().metrics["lafmax"]) < float(state.observe().metrics["lafmax"])
    assert fresh.observe().quality == {"la90": "no_data"}


def test_water_rises_in_rain_and_alarms_have_hysteresis() -> None:
    state, seen = FloodGauge(1), list[str]()
    for weather, seconds in ((STORM, 400), (DRY, 2_400)):
        for _ in range(seconds):
            state = state.step(1_000, weather)
            shown = state.observe().metrics
            if not seen or seen[-1] != shown["alarm"]:
                seen.append(str(shown["alarm"]))
    assert seen == ["normal", "warning", "danger", "warning", "normal"]
    assert state.rain_mm == pytest.approx(80 / 3600 * 400)
    assert state.command("reset_rain", {}, None)[0].rain_mm == 0


def test_level_is_reference_minus_distance() -> None:
    shown = FloodGauge(1, water_m=0.98).configure({"reference": 4.2}).step(1, DRY).observe().metrics
    assert float(shown["level"]) == pytest.approx(4.2 - float(shown["distance"]) / 1000, abs=1e-9)
    assert shown["level"] == pytest.approx(0.98, abs=0.01)


def test_a_submerged_sensor_gets_no_echo() -> None:
    seen = FloodGauge(1, water_m=4.1).step(1, DRY).observe()
    assert seen.metrics["submerged"] is True
    assert seen.quality == {"level": "sensor_fault", "distance": "no_data"}


# kiosk


def busy_kiosk() -> Kiosk:
    state = Kiosk(1)
    for _ in range(1_000):
        state = state.step(1_000, Weather(traffic=1.0))
        if state.in_session:
            return state
    pytest.fail("nobody came")


def test_a_day_at_the_kiosk() -> None:
    state, seen = Kiosk(11), list[tuple[str, dict[str, object]]]()
    for _ in range(6 * 3_600):
        state = state.step(1_000, Weather(traffic=1.0))
        assert 0 <= state.sheets <= TRAY_SHEETS
        assert (state.paper == "out") == (state.sheets == 0 and not state.jammed)
        seen += [(event.name, dict(event.data)) for event in state.events]
    names = [name for name, _ in seen]
    for name in ("session_ended", "rated", "paper_low", "paper_out", "door_open", "door_closed", "session_abandoned"):
        assert name in names, name
    assert names.index("paper_low") < names.index("paper_out") < names.index("door_open")
    assert names.count("door_open") - names.count("door_closed") in (0, 1)
    assert state.sessions - 1_204 == names.count("session_ended") + names.count("session_abandoned")
    assert all(1 <= int(str(data["grade"])) <= 5 for name, data in seen if name == "rated")


def test_nobody_is_thrown_out_of_a_session() -> None:
    state = busy_kiosk()
    with pytest.raises(Occupied):
        state.command("reboot", {"grace_s": 0}, None)
    with pytest.raises(Occupied):
        state.command("restart_app", {}, None)
    locked, answer = state.command("lock", {}, None)
    assert answer == {"after_session": True}
    assert locked.observe().metrics["ui_state"] == "in_session"
    while locked.in_session:
        locked = locked.step(1_000, DRY)
    assert locked.observe().metrics["ui_state"] == "locked"
    for _ in range(600):
        locked = locked.step(1_000, Weather(traffic=1.0))
        assert not locked.in_session
    assert locked.command("unlock", {}, None)[0].observe().metrics["ui_state"] == "in_service"


def test_a_reboot_takes_a_while() -> None:
    state, _ = Kiosk(1).command("reboot", {}, None)
    with pytest.raises(NotReady):
        state.observe()
    with pytest.raises(NotReady):
        state.command("lock", {}, None)
    state = state.step(REBOOT_MS, DRY)
    assert [event.name for event in state.events] == ["rebooted"]
    assert state.observe().metrics["ui_state"] == "in_service"


def test_test_pages_need_paper() -> None:
    state, answer = Kiosk(1, sheets=39).command("print_test_page", {"copies": 2}, None)
    assert answer == {"pages": 2, "paper_left": 15}
    assert [event.name for event in state.events] == ["paper_low"]
    with pytest.raises(Failed, match="paper is out"):
        Kiosk(1, sheets=0).command("print_test_page", {}, None)
    with pytest.raises(Refused):
        Kiosk(1).command("print_test_page", {"copies": 4}, None)


def test_opening_hours() -> None:
    with pytest.raises(Refused, match="opens_at"):
        Kiosk(1).configure({"opens_at": 20, "closes_at": 8})
    closed = Kiosk(1).configure({"opens_at": 8, "closes_at": 10}).step(1, DRY)
    assert closed.observe().metrics["ui_state"] == "locked"


# installed


def installed(state: Device, faults: frozenset[FaultKind] = frozenset(), now: int = 1_795_000_000_000) -> Installed:
    return Installed("d", state, lambda: now, lambda: faults)


def test_events_wait_until_they_are_acknowledged() -> None:
    device = installed(Kiosk(1, sheets=39))
    device.command("print_test_page", {"copies": 2})
    device.command("print_test_page", {"copies": 1})
    [low] = device.events_after(0)
    assert (low.name, low.t) == ("paper_low", 1_795_000_000_000)
    assert device.events_after(0) == [low]
    assert device.events_after(low.number) == []
    assert low.number > installed(Kiosk(1), now=1_794_999_999_000)._number


def test_events_are_bounded_and_the_lost_are_counted() -> None:
    device = installed(Kiosk(1, sheets=39))
    state = device.state
    for _ in range(KEPT_EVENTS + 5):
        device.state = state
        device.command("print_test_page", {"copies": 2})
    assert len(device.events_after(0)) == KEPT_EVENTS
    assert device.dropped == 5


def test_events_are_dated_within_a_fast_step() -> None:
    device = installed(busy_kiosk())
    device.advance(100_000, DRY, speed=10.0)
    first = device.events_after(0)[0]
    assert 1_795_000_000_000 - 10_000 < first.t <= 1_795_000_000_000


def test_faults_are_seen() -> None:
    with pytest.raises(NotReady):
        installed(AirStation(1), frozenset({FaultKind.SILENT})).observe()
    with pytest.raises(NotReady):
        installed(AirStation(1), frozenset({FaultKind.SILENT})).command("zero_check", {})
    broken: Observation = installed(AirStation(1), frozenset({FaultKind.SENSOR})).observe()
    assert broken.quality["pm25"] == "sensor_fault"


def test_a_refusal_leaves_an_event() -> None:
    from lamplighter_firmware_sim.devices.signal import SignalController

    device = installed(SignalController(1))
    with pytest.raises(Refused):
        device.command("set_plan", {"plan": 99}, 60.0)
    assert [event.name for event in device.events_after(0)] == ["request_refused"]
    assert 99 not in PLANS
