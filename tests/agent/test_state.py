"""Small documents: either the old one or the new one, whatever happens in between."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from lamplighter_agent.errors import AlreadyRunning, NotEnrolled, StateUnreadable
from lamplighter_agent.state import RESERVED, Broker, Configured, Entry, HubKey, Identity, Lock, State, Version
from lamplighter_protocols.commands import CommandState

IDENTITY = Identity(
    agent="a-1",
    mqtt=Broker(url="mqtt://127.0.0.1:1883", username="a-1", password="secret"),
    hub_keys=[HubKey(kid="k", public_key="A" * 43)],
)


def test_identity_is_kept_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    with pytest.raises(NotEnrolled, match="enroll HUB_URL CODE"):
        state.identity()
    state.save_identity(IDENTITY)
    assert State(tmp_path / "state").identity() == IDENTITY
    mode = stat.S_IMODE((tmp_path / "state" / "identity.json").stat().st_mode)
    assert mode == 0o600


def test_a_session_number_only_rises(tmp_path: Path) -> None:
    state = State(tmp_path)
    assert [state.next_session() for _ in range(3)] == [1, 2, 3]
    assert State(tmp_path).session() == 3
    assert state.next_session(known=40) == 41
    assert state.next_session() == 42


def test_a_life_begins_behind_what_an_earlier_one_may_have_used_unwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State(tmp_path)
    given = [state.next_session() for _ in range(20)]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _fail)
        given += [state.next_session() for _ in range(RESERVED // 2)]
    assert state.session() == 20, "the disk took nothing more"
    later = State(tmp_path)
    given += [later.next_session(), later.next_session()]
    assert given == sorted(set(given)), "no number twice"
    assert later.session() == given[-1]


def test_with_a_full_disk_from_the_start_there_still_is_a_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "session.json").write_text('{"_default": {"1": {"session": 7}}}')
    state = State(tmp_path)
    monkeypatch.setattr(os, "fsync", _fail)
    assert [state.next_session(), state.next_session()] == [8, 9]
    assert state.next_session(known=30) == 31, "what the hub knows counts"


def test_another_identity_forgets_what_the_old_hub_had_configured(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.save_identity(IDENTITY)
    state.save_configuration(Configured(device="d", force=Version(version=9)))
    state.save_identity(IDENTITY.model_copy(update={"agent": "a-2"}))
    assert state.configurations() == {}
    assert state.identity().agent == "a-2"


def test_a_crash_while_writing_leaves_the_old_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = State(tmp_path)
    state.save_configuration(Configured(device="d", force=Version(version=1)))
    for step in ("fsync", "open"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, _fail)
            with pytest.raises(OSError, match="the power"):
                state.save_configuration(Configured(device="d", force=Version(version=2)))
        assert state.configurations()["d"].force.version == 1
    state.save_configuration(Configured(device="d", force=Version(version=3)))
    assert state.configurations()["d"].force.version == 3


def _fail(*_: object) -> None:
    raise OSError("the power is gone")


def test_the_journal_replaces_and_forgets_in_one_write(tmp_path: Path) -> None:
    state = State(tmp_path)
    entries = [Entry(id=str(n), device="d", state=CommandState.RUNNING, expires_at=n) for n in range(3)]
    for entry in entries:
        state.write_journal(entry, [])
    state.write_journal(entries[1].model_copy(update={"state": CommandState.SUCCEEDED}), ["0"])
    assert [(entry.id, entry.state) for entry in state.journal().values()] == [("2", "running"), ("1", "succeeded")]


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 5_000, '{"_default": 5}', '{"_default": {"1": {"id": 5}}}'])
def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "journal.json").write_text(text)
    with pytest.raises(StateUnreadable, match=r"journal\.json"):
        State(tmp_path).journal()
    assert (tmp_path / "journal.json").read_text() == text


@pytest.mark.parametrize(
    "kept", [{"session": 1e999}, {"session": -1}, {"session": 5, "reserved": 4}, {"session": 2**60}, {"session": "x"}]
)
def test_a_session_that_nobody_counted_is_damage(tmp_path: Path, kept: dict[str, object]) -> None:
    (tmp_path / "session.json").write_text(json.dumps({"_default": {"1": kept}}))
    with pytest.raises(StateUnreadable, match=r"session\.json"):
        State(tmp_path).next_session()


def test_one_agent_a_folder(tmp_path: Path) -> None:
    first, second = Lock(tmp_path), Lock(tmp_path)
    first.take()
    with pytest.raises(AlreadyRunning):
        second.take()
    first.release()
    second.take()
    second.release()
