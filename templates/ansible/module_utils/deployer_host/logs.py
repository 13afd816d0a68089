"""Services' log files: their last lines, and what is added to them."""

import os
import select
import time

from . import dates, place

BLOCK = 64 * 1024
POLL = 0.2  # seconds between two looks for more


def files(root):
    """{service: path} of every log there is below a root folder."""
    folder = os.path.join(root, "logs")
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return {}
    found = {name[:-4]: os.path.join(folder, name) for name in names if name.endswith(".log")}
    found.pop("supervisord", None)
    return found


def path(spec, service):
    """The log file of a service."""
    return place.path(spec, "logs", service + ".log")


def last(spec, service, lines=20):
    """The last lines that a service wrote."""
    return tail(path(spec, service), lines)


def of_all(paths, lines, since=None):
    """The last lines of each file, as [service, line]; `since`: none from before, Unix time."""
    found = []
    for service, path in paths.items():
        last = tail(path, lines)
        kept = last if since is None else dates.since(last, since)
        found += [[service, line] for line in kept]
    return found


def tail(path, lines=20):
    """The last lines of a log file."""
    if lines == 0:
        return []
    content = b""
    try:
        with open(path, "rb") as file:
            end = file.seek(0, 2)
            while end > 0 and content.count(b"\n") <= lines:
                start = max(0, end - BLOCK)
                file.seek(start)
                content = file.read(end - start) + content
                end = start
    except OSError:
        return []
    return content.decode("utf-8", "replace").splitlines()[-lines:]


def follow(paths, reader=None):
    """What is added to the files from now on, line by line; ends when `reader` has no more."""
    at = {service: _size(path) or 0 for service, path in paths.items()}
    rest = dict.fromkeys(paths, b"")
    while True:
        quiet = True
        for service, path in paths.items():
            size = _size(path)
            if size is None:
                continue
            if size < at[service]:
                at[service] = 0  # rotated: it begins anew
            if size == at[service]:
                continue
            quiet = False
            with open(path, "rb") as file:
                file.seek(at[service])
                added = file.read(size - at[service])
            at[service] = size
            whole = (rest[service] + added).split(b"\n")
            rest[service] = whole.pop()
            for line in whole:
                yield [service, line.decode("utf-8", "replace")]
        if quiet:
            if reader is None:
                time.sleep(POLL)
            elif select.select([reader], [], [], POLL)[0] and not reader.read1(1):
                return


def _size(path):
    try:
        return os.stat(path).st_size
    except OSError:
        return None
