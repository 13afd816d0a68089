"""Is a service healthy? Its checks counted, over and over in `run`, at once in a look."""

import queue
import threading
import time

from . import checks

POLICY = {"timeout": 60.0, "interval": 0.5, "success_threshold": 2, "failure_threshold": 3}
SPAN = 3.0  # seconds within which the checks of a look begin, however far apart others are
GRACE = 1.0  # seconds more than its own that a check gets until it isn't waited for


def policy(spec):
    """When the services of an environment are healthy; what an older record lacks is filled in."""
    return dict(POLICY, **(spec.get("health") or {}))


class Counter:
    """Checks of one service, in a row: one that passes zeroes the failures, and the other way.

    What isn't healthy becomes it by `success_threshold` passes in a row; what is ceases to be by
    `failure_threshold` failures in a row.
    """

    def __init__(self, policy, healthy=False):
        self.healthy = healthy
        self.passes = self.failures = 0
        self._policy = policy

    def add(self, passed):
        """Count one check; returns whether the service is healthy now."""
        self.passes = self.passes + 1 if passed else 0
        self.failures = 0 if passed else self.failures + 1
        if self.passes >= self._policy["success_threshold"]:
            self.healthy = True
        elif self.failures >= self._policy["failure_threshold"]:
            self.healthy = False
        return self.healthy


def unhealthy(services, check, policy, span=0.0):
    """Which of the services that are up are unhealthy: {name: why}. Nothing where one check passes.

    `check(service)` is None or why not; it is called in threads, for all services side by side.
    A service is unhealthy after `failure_threshold` failures in a row that began `interval` apart,
    and not before `span` seconds. The next check begins although the last one hangs, so that all of
    it takes little longer than one.
    """
    threshold = policy["failure_threshold"]
    pause = min(policy["interval"], SPAN / threshold)
    left = {service["name"]: service for service in services if service.get("health")}
    counters = {name: Counter(policy, healthy=True) for name in left}
    begun, open_ = dict.fromkeys(left, 0), dict.fromkeys(left, 0)
    answers = queue.Queue()
    wrong, last = {}, {}

    def ask(service):
        try:
            answers.put((service["name"], check(service)))
        except Exception as error:  # told by whoever waits for the answer
            answers.put((service["name"], error))

    began = due = time.monotonic()
    patience = max([checks.timeout(service) for service in left.values()], default=0.0)
    limit = began + max(span, SPAN) + patience + GRACE
    while left:
        now = time.monotonic()
        if now >= limit:
            wrong.update((name, last.get(name) or "its check doesn't end") for name in left)
            break
        if now >= due:
            due = now + pause
            for name, service in left.items():
                wanted = begun[name] < threshold or now - began < span
                if wanted and open_[name] < threshold:
                    begun[name] += 1
                    open_[name] += 1
                    threading.Thread(target=ask, args=(service,), daemon=True).start()
        try:
            name, problem = answers.get(timeout=max(0.0, due - now))
        except queue.Empty:
            pass
        else:
            if isinstance(problem, Exception):
                raise problem
            open_[name] -= 1
            last[name] = problem
            counters[name].add(problem is None)
            if problem is None:
                left.pop(name, None)
        waited = time.monotonic() - began >= span
        for name in [name for name in left if waited and not counters[name].healthy]:
            wrong[name] = last[name]
            del left[name]
    return wrong


def wait(services, states, check, policy, patience):
    """Wait until each service is up and passed its check often enough in a row.

    `states()` gives {name: (up, given up, word)}, `check(services)` which of some fail one check:
    {name: why}. Gives up after `patience` seconds on each that doesn't pass, on one as soon as its
    runtime has. Returns ({name: seconds}, {name: why not}).
    """
    started = time.monotonic()
    unchecked = dict(policy, success_threshold=1)
    counters = {s["name"]: Counter(policy if s.get("health") else unchecked) for s in services}
    left = {service["name"]: service for service in services}
    healthy, failed = {}, {}
    while left:
        seen = dict.fromkeys(left, (False, False, "not there"))
        seen.update(states())
        for name in [name for name in left if seen[name][1]]:
            failed[name] = "it " + seen[name][2]
            del left[name]
        up = [service for name, service in left.items() if seen[name][0]]
        wrong = {name: "it is %s" % seen[name][2] for name in left if not seen[name][0]}
        wrong.update(check(up))
        for name in list(left):
            if counters[name].add(name not in wrong):
                healthy[name] = time.monotonic() - started
                del left[name]
        if time.monotonic() - started >= patience:
            # what passes may finish its row: another service's slow check took the time
            failed.update((name, wrong[name]) for name in left if name in wrong)
            left = {name: service for name, service in left.items() if name not in wrong}
        if left:
            # what is only coming up costs nothing to look at again; checks keep their interval
            checked = any(seen[name][0] for name in left)
            time.sleep(policy["interval"] if checked else min(policy["interval"], 0.1))
    return healthy, failed
