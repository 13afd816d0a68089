"""The Debian packages that an app needs. On hosts configure installs them; here they must be there.

Nothing is installed on the machine that deployer itself runs on: that takes root, and is its
owner's to decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.errors import Finding, GateError
from deployer.tools.host_code import host_code

if TYPE_CHECKING:
    from deployer.environment.load import Loaded


def check_here(loaded: Loaded) -> None:
    """Refuse what this machine lacks, for an environment on it. Raises `GateError`.

    On a machine without dpkg nobody can tell by their names: there the start of the services will.
    """
    wanted = loaded.app.manifest.packages
    absent = host_code("survey").absent(wanted) if loaded.provider.local else []
    if absent:
        names = " ".join(absent)
        findings = [
            Finding(
                "package-missing",
                f"the app {loaded.app.manifest.name} needs the package {name}, "
                "which is not installed on this machine",
                fix=f"apt-get install {name}",
                file=loaded.app.file.shown,
                line=loaded.app.file.line(["packages"]),
                value=name,
            )
            for name in absent
        ]
        raise GateError(
            f"{loaded.app.manifest.name} needs packages that this machine lacks: {names}",
            hint=f"Install them: sudo apt-get install --no-install-recommends {names}. Their own "
            "services need not run.",
            findings=findings,
        )
