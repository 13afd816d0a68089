"""What the commands do, importable as a library: an environment file to a running application.

from deployer import Deployer

deployer = Deployer.open()
deployer.create("demo")
print(deployer.deploy("demo").urls)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Deployer", "DeployerError", "Workspace", "__version__"]

if TYPE_CHECKING:
    from deployer.api import Deployer
    from deployer.errors import DeployerError
    from deployer.paths import Workspace


def __getattr__(name: str) -> Any:
    # lazily, so that `deployer --version` doesn't pay for the engine
    if name == "Deployer":
        from deployer.api import Deployer

        return Deployer
    if name == "DeployerError":
        from deployer.errors import DeployerError

        return DeployerError
    if name == "Workspace":
        from deployer.paths import Workspace

        return Workspace
    raise AttributeError(name)
