"""What can go wrong with the store and the lease. `deployer` gives these their exit codes."""

from __future__ import annotations


class StoreError(Exception):
    """The store can't be used: read-only, full, damaged or written by a newer version."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class OutdatedTokenError(StoreError):
    """Another operation took the lease over: this one may not write any more."""


class ConflictError(StoreError):
    """The environment was changed between reading and writing (compare-and-set failed)."""


class LockedError(Exception):
    """Another operation holds the lease. `holder` says who, as recorded; it may be empty."""

    def __init__(self, name: str, holder: dict[str, object]) -> None:
        super().__init__(f"{name} is locked")
        self.name = name
        self.holder = holder
