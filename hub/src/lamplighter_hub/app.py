"""Wiring: what `lamplighter up` starts, in which order, and how it ends.

registry, series -> broker -> uplink -> ingest thread -> HTTP -> demo        (and back in the opposite order)
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI

from lamplighter_hub import console
from lamplighter_hub.api import create_app
from lamplighter_hub.assembly import Link, assemble, now_ms, prepare
from lamplighter_hub.broker.callout import ConnectRequest
from lamplighter_hub.broker.configuration import HUB_USER, NatsOptions
from lamplighter_hub.broker.nats import NatsServer
from lamplighter_hub.broker.side import EmbeddedSide, MosquittoSide
from lamplighter_hub.demo import Demo
from lamplighter_hub.errors import Unavailable
from lamplighter_hub.http_server import HttpServer, listen
from lamplighter_hub.ingest.announce import announcer, each
from lamplighter_hub.ingest.directory import ServicesDirectory, birth_asker
from lamplighter_hub.ingest.foreign import known_in
from lamplighter_hub.ingest.judge import Judge
from lamplighter_hub.ingest.pipeline import Pipeline
from lamplighter_hub.ingest.recall import Recall
from lamplighter_hub.ingest.throttle import Throttle
from lamplighter_hub.ledger.fetching import Fetcher
from lamplighter_hub.series.ageing import ageing
from lamplighter_hub.services import Services
from lamplighter_hub.settings import Settings
from lamplighter_hub.uplink.inbox import Waiting
from lamplighter_hub.uplink.session import Session
from lamplighter_protocols.errors import LamplighterError
from lamplighter_protocols.records import Stream

log = logging.getLogger(__name__)

TICK_S: Final = 1.0
SETTLE_S: Final = 5.0
Clocked = Callable[[int], None]
"""Something to be done each second; it is told the time in ms."""
LOG_FORMAT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def run(settings: Settings) -> int:
    """Run the hub until it is told to end; return the exit code. A mistake of the user is one line."""
    logging.basicConfig(level=settings.log_level.upper(), format=LOG_FORMAT, stream=sys.stderr)
    for noisy in ("alembic", "nats", "httpx", "uvicorn", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        asyncio.run(_serve(settings.model_copy(update={"data": prepare(settings.data)})))
    except LamplighterError as error:
        print(f"lamplighter: {error}", file=sys.stderr)  # noqa: T201 - for whoever started it
        return 1
    return 0


async def _serve(settings: Settings) -> None:
    stop = _stop_signal()
    async with contextlib.AsyncExitStack() as running:
        listener = running.enter_context(contextlib.closing(listen(settings.host, settings.port)))
        url = _public_url(settings, listener)
        link = Link()
        side = MosquittoSide(settings.mosquitto_dir) if settings.mqtt_url else EmbeddedSide()
        services = running.enter_context(_services(settings, side, link))
        broker = running.enter_context(_broker(settings, services, side))
        session = running.enter_context(_uplink(settings, services, broker, link))
        fetch = running.enter_context(_ingest(services, session))
        running.enter_context(ageing(services))
        services.verification.start()
        app = create_app(services)
        console.mount(app, services)
        await running.enter_async_context(_repeating("tick", lambda: _tick(services, session, fetch), TICK_S))
        await running.enter_async_context(_repeating("settle", services.quarantine.settle, SETTLE_S))
        await running.enter_async_context(_http(app, listener))
        running.callback(services.live.close)  # open streams end first, or they would use up the server's grace
        services.access.local_access(settings.data, url)
        _greet(services, url, session.where)
        gc.collect()
        gc.set_threshold(20_000)  # a group of messages makes more than the usual 700 at once, and they all stay
        gc.freeze()  # what the start made stays to the end: looking through it again took a tenth of ingest's time
        await running.enter_async_context(_demo(settings, services, url))
        await stop.wait()
        log.info("ending")


def _stop_signal() -> asyncio.Event:
    """Return an event that Ctrl-C or SIGTERM sets; a second one ends at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def first(number: signal.Signals) -> None:
        stop.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, first, number)
    return stop


@contextlib.contextmanager
def _services(settings: Settings, side: EmbeddedSide | MosquittoSide, link: Link) -> Iterator[Services]:
    services = assemble(settings, side, link)
    try:
        yield services
    finally:
        services.presence.flush()
        services.refusals.flush()
        services.verification.close()
        services.series.close()
        services.backups.close()
        services.registry.close()


@contextlib.contextmanager
def _broker(settings: Settings, services: Services, side: EmbeddedSide | MosquittoSide) -> Iterator[NatsServer | None]:
    """Start the embedded broker, unless another one is named."""
    if not isinstance(side, EmbeddedSide):
        side.entries = services.enrolment.broker_entries
        side.identities_changed()
        yield None
        return

    def decide(request: ConnectRequest) -> str | None:
        return services.enrolment.authenticate(request.username, request.password, request.client_id)

    def refused(request: ConnectRequest, reason: str) -> None:
        services.refusals.record(request.username, reason, f"MQTT from {request.host}, client id {request.client_id!r}")

    options = NatsOptions(settings.data / "broker", settings.host, settings.mqtt_port)
    server = NatsServer(options, decide, refused)
    server.start()
    side.server = server
    services.facts["broker"] = lambda: _broker_facts(server)
    try:
        yield server
    finally:
        server.stop()


def _broker_facts(server: NatsServer) -> dict[str, Any]:
    return {
        "kind": "nats-server",
        "version": server.version,
        "pid": server.pid,
        "url": server.url,
        "trouble": server.trouble,
        "restarts": server.restarts,
        "connects_allowed": server.tally.allowed,
        "connects_refused": server.tally.refused,
    }


@contextlib.contextmanager
def _uplink(settings: Settings, services: Services, broker: NatsServer | None, link: Link) -> Iterator[Session]:
    """Open the hub's MQTT session and let the services speak through it."""
    if broker is None:
        session = Session(settings.mqtt_url, HUB_USER, max_queue_bytes=settings.queue_bytes)
        services.facts["broker"] = lambda: {"kind": "external", "url": session.where, "trouble": session.trouble}
    else:
        session = Session(broker.url, HUB_USER, broker.username, broker.password, max_queue_bytes=settings.queue_bytes)
    link.session, link.embedded = session, broker is not None
    services.facts["uplink"] = lambda: _uplink_facts(session)
    services.facts["queue"] = lambda: _queue_facts(session)
    session.start()
    try:
        yield session
    finally:
        session.stop()


def _uplink_facts(session: Session) -> dict[str, Any]:
    return {
        "connected": session.connected.is_set(),
        "trouble": session.trouble,
        "queued": session.queued,
        "queued_bytes": session.queued_bytes,
        "shed": session.shed,
        "left_out": session.left_out,
        **vars(session.counters),
    }


def _queue_facts(session: Session) -> dict[str, Any]:
    """Return for each stream how many messages wait, for how long the next one has, and how many were shed."""
    return {str(stream): _lane_facts(lane, now_ms()) for stream, lane in session.waiting().items()}


def _lane_facts(lane: Waiting, now: int) -> dict[str, float]:
    waited = 0 if lane.next_ms is None else max(0, now - lane.next_ms)
    return {"queued": lane.messages, "waited_s": waited / 1000, "shed": lane.shed}


@contextlib.contextmanager
def _ingest(services: Services, session: Session) -> Iterator[Clocked]:
    """Run the ingest thread. It ends after the group in hand, before the session is closed.

    Yields what must be called each second (with the time in ms) to fetch what is missing.
    """
    throttle = Throttle(now_ms, lambda: session.fill, session.arrivals)
    wait_ms = round(services.settings.fetch_after_s * 1000)
    fetcher = Fetcher(services.ledger, services.presence.online, services.keys.sign, session.publish, wait_ms)
    pipeline = _pipeline(services, session, throttle)
    services.facts["ingest"] = lambda: dict(pipeline.counts)
    services.facts["throttle"] = throttle.facts
    services.facts["series"] = lambda: services.series.counts()._asdict()
    services.facts["ledger"] = lambda: services.ledger.totals() | fetcher.facts(now_ms())
    stop = threading.Event()
    thread = threading.Thread(target=pipeline.run, args=(stop,), name="ingest", daemon=True)
    thread.start()

    def fetch(now: int) -> None:
        if session.connected.is_set():
            fetcher.tick(now, hold=(Stream.BACKLOG,) if throttle.active else ())

    try:
        yield fetch
    finally:
        stop.set()
        thread.join()
        services.quarantine.desk.close()


def _pipeline(services: Services, session: Session, throttle: Throttle) -> Pipeline:
    return Pipeline(
        session,
        services.series,
        services.ledger,
        ServicesDirectory(services, birth_asker(services.keys, session.publish, now_ms)),
        services.devices.owner_profile,
        known_in(services.series),
        now_ms,
        each(announcer(services.live), services.quarantine.clocks.notice),
        throttle.worded,
        Judge(Recall(services.series)),
        services.quarantine.desk,
    )


@contextlib.asynccontextmanager
async def _repeating(name: str, work: Callable[[], None], every_s: float) -> AsyncIterator[None]:
    """Do something again and again in a thread. While a store is away this is said once."""

    async def repeat() -> None:
        away = ""
        while True:
            try:
                await asyncio.to_thread(work)
                away = ""
            except Unavailable as error:
                if not away:
                    log.warning("%s; it is asked again every %g s", error, every_s)
                away = str(error)
            except Exception:  # supervision: a store that fails for a moment must not end the clock
                log.exception("%s failed; the next one tries again", name)
            await asyncio.sleep(every_s)

    task = asyncio.create_task(repeat(), name=name)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _tick(services: Services, session: Session, fetch: Clocked) -> None:
    """Look who fell silent, what expired, what must be said again, what is missing."""
    now = now_ms()
    services.presence.sweep(now, listening=session.connected.is_set())
    services.commands.tick(now)
    services.configuration.tick(now)
    fetch(now)
    services.refusals.flush()
    services.live.publish("tick", {"t": now, **services.presence.summary(), **services.facts["ingest"]()})


@contextlib.asynccontextmanager
async def _http(app: FastAPI, listener: socket.socket) -> AsyncIterator[None]:
    server = HttpServer(app)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    try:
        yield
    finally:
        server.stop()
        await task


@contextlib.asynccontextmanager
async def _demo(settings: Settings, services: Services, url: str) -> AsyncIterator[None]:
    if not settings.demo:
        yield
        return

    def code(agent: str) -> str:
        return services.enrolment.new_code("demo", agent=agent)[1]

    demo = Demo(settings.data / "street", url, code)
    try:
        await demo.start()
        yield
    finally:
        await demo.stop()


def _public_url(settings: Settings, listener: socket.socket) -> str:
    if settings.public_url:
        return settings.public_url.rstrip("/")
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 - to connect to
    return f"http://{host}:{listener.getsockname()[1]}"


def _greet(services: Services, url: str, broker: str) -> None:
    """Say what listens where, and how the first administrator gets in."""
    print(f"Lamplighter {version('lamplighter-hub')} keeps its data in {services.settings.data}")  # noqa: T201
    print(f"  console and API  {url}")  # noqa: T201
    print(f"  MQTT broker      {broker}")  # noqa: T201
    print("  Ctrl-C ends it, and what is stored stays")  # noqa: T201
    link = services.access.first_link(url)
    if link:
        print(f"  Open this once to sign in as administrator (valid for an hour):\n\n    {link}\n", flush=True)  # noqa: T201
    else:
        print("  `lamplighter sign-in-link` makes a new link into the console", flush=True)  # noqa: T201
