"""Becomes a service: `launch.py SERVICE RELEASE [VARIABLES]`, started in the root folder.

Reads command and environment from the release's own manifest, so that no runtime's quoting
stands between what was released and what runs, and secret variables from a file that only its
user can read. VARIABLES names a file beside this one with what
to start from, for a runtime that would take a meaning out of values. Copied to the host;
standard library only.
"""

import json
import os
import sys


def secrets(name, wanted):
    try:
        with open(os.path.join("shared", ".secrets", name + ".env")) as file:
            found = json.load(file)
    except (OSError, ValueError):
        sys.exit("the secrets of %s are gone from this host: run `deployer run`" % name)
    return {key: value for key, value in found.items() if key in wanted}


def main():
    name, number = sys.argv[1:3]
    folder = os.path.join(os.getcwd(), "releases", number)
    with open(os.path.join(folder, ".deployer", "release.json")) as file:
        services = json.load(file)["services"]
    service = next(s for s in services if s["name"] == name)
    variables = dict(os.environ)
    for beside in sys.argv[3:]:
        with open(os.path.join("runtime", beside)) as file:
            variables.update(json.load(file))
    variables.update(service["environment"])
    if service.get("secrets"):
        variables.update(secrets(name, service["secrets"]))
    variables.update(DEPLOYER_RELEASE=number, DEPLOYER_SERVICE=name)
    for key in [k for k in variables if k.startswith("SUPERVISOR_")]:
        del variables[key]
    os.chdir(folder)
    command = service["command"]
    try:
        os.execvpe(command[0], command, variables)
    except OSError as error:
        sys.exit("%s can't be started: %s" % (command[0], error.strerror))


main()
