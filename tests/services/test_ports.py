"""A port that is handed out is still free when a program comes to listen there."""

from __future__ import annotations

from services.ports import OUTGOING, free_port, listens


def test_no_outgoing_connection_takes_a_port_that_was_handed_out() -> None:
    ports = {free_port() for _ in range(50)}
    assert max(ports) < OUTGOING
    assert len(ports) > 40, "programs that start side by side get different ones"
    assert not any(map(listens, ports))
