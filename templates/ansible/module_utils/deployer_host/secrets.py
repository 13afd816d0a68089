"""The secret variables of services: a file for each, which nobody else can read.

The launcher reads it at each start. It outlives releases, and is written by `run`: what is up
goes on with what it was started with.
"""

import json
import os

from . import place, users

FOLDER = ".secrets"


def write(spec):
    """Let services have `spec["secrets"]`, {service: variables}, from their next start on.

    Returns the names of the services for which they are others now.
    """
    folder = place.path(spec, place.SHARED, FOLDER)
    secrets = spec.get("secrets", {})
    wanted = {service + ".env": service for service in secrets}
    changed = set()
    with users.acting(spec):  # the user may have put links there that root must not follow
        if wanted or os.path.lexists(folder):
            place.private(folder)
            for name in set(os.listdir(folder)) - set(wanted):
                place.discard(os.path.join(folder, name))
                changed.add(name[: -len(".env")])
        for name, service in wanted.items():
            text = json.dumps(secrets[service], sort_keys=True)
            if place.write(os.path.join(folder, name), text, mode=0o600):
                changed.add(service)
    return changed
