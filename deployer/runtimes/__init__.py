"""Runtimes: how services run on a host."""

from __future__ import annotations

REQUIRES: dict[str, frozenset[str]] = {
    "supervisor": frozenset({"python3"}),
}
"""Every runtime with the capabilities that it needs of a provider."""
