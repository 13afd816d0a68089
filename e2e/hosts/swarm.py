"""Two BitTorrent clients that can find each other by a tracker alone."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import libtorrent

from e2e.support import until

if TYPE_CHECKING:
    from pathlib import Path

ALONE = {  # no way to other peers than the tracker's
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "allow_multiple_connections_per_ip": True,
    "alert_mask": libtorrent.alert.category_t.all_categories,
}
SWARM_DEADLINE = 30.0  # seconds


class Swarm:
    """A file, one client that has it, and one that wants it. `tracker` is a URL."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder / name
        (self.folder / "seed").mkdir(parents=True)
        (self.folder / "leech").mkdir()
        file = self.folder / "seed" / "data"
        file.write_text(f"this goes from peer to peer by {name}\n" * 1000)
        made = libtorrent.create_torrent(
            libtorrent.list_files(str(file)), 0, libtorrent.create_torrent.v1_only
        )
        libtorrent.set_piece_hashes(made, str(self.folder / "seed"))
        self.info = libtorrent.torrent_info(made.generate())

    @property
    def info_hash(self) -> str:
        """In hexadecimal, as a whitelist has it."""
        return str(self.info.info_hash())

    def transfer(self, tracker: str) -> list[str]:
        """Let one client announce that it has the file, and another fetch it from there.

        Returns what the tracker refused. Fails if the file does not arrive.
        """
        here = _address_towards(tracker)
        seed, seeding = self._join("seed", here, tracker)
        said: list[Any] = []
        try:
            until("the first has announced", lambda: _told(seed, said), SWARM_DEADLINE)
            if any(isinstance(one, libtorrent.tracker_error_alert) for one in said):
                return [one.error_message() for one in said]
            assert [one.url for one in said] == [tracker]
            leech, leeching = self._join("leech", here, tracker)
            until("the file arrived", lambda: leeching.status().is_seeding, SWARM_DEADLINE)
            assert seeding.status().total_payload_upload >= self.info.total_size()
            leech.pause()
        finally:
            seed.pause()
        got = (self.folder / "leech" / "data").read_bytes()
        assert got == (self.folder / "seed" / "data").read_bytes()
        return []

    def _join(self, role: str, here: str, tracker: str) -> tuple[Any, Any]:
        session = libtorrent.session({**ALONE, "listen_interfaces": f"{here}:0"})
        wish = libtorrent.add_torrent_params()
        wish.ti, wish.save_path, wish.trackers = self.info, str(self.folder / role), [tracker]
        return session, session.add_torrent(wish)


def _told(session: Any, said: list[Any]) -> list[Any]:
    kinds = (libtorrent.tracker_reply_alert, libtorrent.tracker_error_alert)
    said += [alert for alert in session.pop_alerts() if isinstance(alert, kinds)]
    return said


def _address_towards(tracker: str) -> str:
    """The address of this machine that a tracker sees."""
    host, port = tracker.split("/")[2].rsplit(":", 1)
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.connect((host, int(port)))
        return str(probe.getsockname()[0])
