"""Counts the words of new entries."""

import signal
import sys
import time

import book

PAUSE = 0.5  # seconds


def main():
    """Work until told to end."""
    opened = book.opened()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("counting words", flush=True)
    while True:
        count = book.count_words(opened)
        if count:
            print("counted the words of %d entries" % count, flush=True)
        time.sleep(PAUSE)


if __name__ == "__main__":
    main()
