"""When a line of a log was written, as the line itself says."""

import datetime
import re
import time

HEAD = 300  # characters of a line that are searched
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MONTH = "(?P<month>%s)" % "|".join(MONTHS)
CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?P<part>[.,]\d+)?"
ZONE = r"\s?(?P<zone>Z|UTC|[+-]\d\d:?\d\d)?"
FORMS = [
    re.compile(form)
    for form in (
        # ISO 8601 and RFC 3339, and with slashes as Go and nginx write it
        r"(?P<year>\d{4})[-/](?P<month>\d\d)[-/](?P<day>\d\d)[T ]" + CLOCK + ZONE,
        # the common log format, and Python's http.server
        r"\[(?P<day>\d\d)/" + MONTH + r"/(?P<year>\d{4})[: ]" + CLOCK + ZONE + r"\]",
        # syslog, RFC 3164: without a year
        "^" + MONTH + r" {1,2}(?P<day>\d{1,2}) " + CLOCK,
    )
]
# seconds since 1970, as JSON loggers write them
STAMP = re.compile(r'"(?:ts|time|timestamp)": ?(\d{10}(?:\.\d+)?)[,}]')


def written(line):
    """Unix time of a line; None if it says none. Without a zone it is this host's time."""
    head = line[:HEAD]
    stamp = STAMP.search(head)
    if stamp:
        return float(stamp.group(1))
    for form in FORMS:
        found = form.search(head)
        if found:
            try:
                return _moment(found.groupdict())
            except (ValueError, OverflowError):
                return None
    return None


def _moment(said):
    month = said["month"]
    clock = (int(said["hour"]), int(said["minute"]), int(said["second"]))
    fraction = float("0." + said["part"][1:]) if said["part"] else 0.0

    def in_year(year):
        day = (MONTHS.index(month) + 1 if month in MONTHS else int(month), int(said["day"]))
        zone = _zone(said.get("zone"))
        return datetime.datetime(year, *day, *clock, tzinfo=zone).timestamp() + fraction

    if said.get("year"):
        return in_year(int(said["year"]))
    this = datetime.date.today().year
    found = in_year(this)
    # a day's grace for clocks that differ: what lies further ahead is last year's
    return found if found < time.time() + 86400 else in_year(this - 1)


def _zone(said):
    if not said:
        return None
    if said in ("Z", "UTC"):
        return datetime.timezone.utc
    away = datetime.timedelta(hours=int(said[1:3]), minutes=int(said[-2:]))
    return datetime.timezone(away if said[0] == "+" else -away)


def since(lines, moment):
    """The lines from `moment` (Unix time) on; all of them if none says when it was written.

    A line that says nothing belongs to the one before it.
    """
    kept, dated, late = [], False, False
    for line in lines:
        when = written(line)
        if when is not None:
            dated, late = True, when >= moment
        if late:
            kept.append(line)
    return kept if dated else lines
