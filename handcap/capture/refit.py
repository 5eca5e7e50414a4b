"""Clocks of boards whose journal was lost: fitted again from the exchanges that lie among the boards' messages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from handcap import session as session_store
from handcap.devices import Exchange, fit_recording
from handcap.session.journal import Journal, read_clock_fits


def refit_clocks(session: Path, journal: Journal, take: str) -> list[str]:
    """Journal what ties each board's clock to the session's, where a recovered take has nothing of it.

    Without a fit its inertial samples cannot be read. Returns the devices mended. Raises SessionError.
    """
    recorded = session_store.read(session).take(take)
    mended: list[str] = []
    for device in recorded.devices:
        known = {fit.boot_id for fit in read_clock_fits(session, take, device)}
        if None in known:
            continue
        segments = [s for s in fit_recording(_exchanges(recorded, device)) if s.boot_id not in known]
        with journal.together():
            for segment in segments:
                for fit, estimate in zip(segment.for_journal(), segment.estimates, strict=True):
                    dt_s, residual_s = fit.dt_session_device_s, estimate.residual_s
                    journal.clock_fit(device, fit.t_ns, dt_s, fit.skew, residual_s, take=take, boot_id=segment.boot_id)
        mended += [device] if segments else []
    return mended


def _exchanges(take: session_store.Take, device: str) -> Iterator[tuple[Exchange, int]]:
    for arrived_ns, envelope in take.wire(device):
        if envelope.HasField("sync_response"):
            told = envelope.sync_response
            exchange = Exchange(told.host_sent_t_ns, told.board_received_t_ns, told.board_sent_t_ns, arrived_ns)
            yield exchange, envelope.boot_id
