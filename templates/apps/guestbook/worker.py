"""Counts the words of new entries. With `--alive` it says whether the worker does so."""

import signal
import sys
import time

import book

PAUSE = 0.5  # seconds
TOO_LONG = 10.0  # seconds of silence


def main():
    """Work until told to end."""
    opened = book.opened()
    if "--alive" in sys.argv:
        silent = book.worker_silent_for(opened)
        sys.exit(0 if silent is not None and silent < TOO_LONG else "the worker is silent")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("counting words", flush=True)
    while True:
        count = book.count_words(opened)
        if count:
            print("counted the words of %d entries" % count, flush=True)
        book.seen(opened)
        time.sleep(PAUSE)


if __name__ == "__main__":
    main()
