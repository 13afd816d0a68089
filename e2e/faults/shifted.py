"""Runs deployer with a clock that is off: `python shifted.py SECONDS ARGUMENTS...`.

A fake clock because the real one is the whole machine's; libfaketime hangs in Python's own waits.
"""

import datetime
import sys
import time

OFFSET = float(sys.argv.pop(1))
_time, _datetime = time.time, datetime.datetime


class Shifted(_datetime):
    """The class `datetime`, that many seconds off."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> _datetime:  # type: ignore[override]
        """The moment that the shifted clock shows."""
        return _datetime.now(tz) + datetime.timedelta(seconds=OFFSET)


# before anything else imports them
time.time = lambda: _time() + OFFSET
datetime.datetime = Shifted  # type: ignore[misc]

from commands.main import main  # noqa: E402

main()
