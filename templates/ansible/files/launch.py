"""Becomes a service: `launch.py SERVICE RELEASE`, started by the runtime in the root folder.

Reads command and environment from the release's own manifest, so that no runtime's quoting
stands between what was released and what runs. Copied to the host; standard library only.
"""

import json
import os
import sys


def main():
    name, number = sys.argv[1:3]
    folder = os.path.join(os.getcwd(), "releases", number)
    with open(os.path.join(folder, ".deployer", "release.json")) as file:
        services = json.load(file)["services"]
    service = next(s for s in services if s["name"] == name)
    variables = dict(os.environ, **service["environment"])
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
