"""A hook of the application's: run in its current release, as that one's own manifest says."""

import json
import os

from . import commands, fence, place, releases


def run(request, line, check):
    """Run the hook `request["hook"]`, if the current release has it.

    `line` and `check` are those of `commands.run`. Returns {release}: the number of the release
    that it ran in, None where it did not. Raises `HostProblem` if it fails.
    """
    spec, name = request["spec"], request["hook"]
    with fence.held(spec, name):
        place.check_owner(spec, missing_ok=True)
        number = releases.current(spec)
        kept = (releases.manifest(spec, number) if number is not None else None) or {}
        argv = kept.get("hooks", {}).get(name)
        if argv is None:
            return {"release": None}
        facts = dict(request["facts"], host=spec["host"])
        if (facts["release"] or {}).get("number") != number:
            facts["release"] = {"number": number, "version": None}
        commands.run(
            spec,
            [os.path.join(".", argv[0])] + argv[1:],
            releases.folder(spec, number),
            dict(
                request["variables"],
                DEPLOYER_RELEASE=str(number),
                DEPLOYER_HOST=spec["host"],
                DEPLOYER_SHARED=place.path(spec, place.SHARED),
            ),
            request["timeout"],
            line,
            stdin=json.dumps(facts) + "\n",
            check=check,
        )
    return {"release": number}
