"""Runtimes: how services run on a host."""

from __future__ import annotations

REQUIRES: dict[str, frozenset[str]] = {
    "systemd": frozenset({"python3", "systemd"}),
    "supervisor": frozenset({"python3"}),
}
"""Every runtime with the capabilities that it needs of a provider."""

PACKAGES: dict[str, frozenset[str]] = {
    "systemd": frozenset({"logrotate"}),
    "supervisor": frozenset({"supervisor"}),
}
"""The packages that a runtime needs on hosts that are not this machine."""
