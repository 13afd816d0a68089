"""The package that runs on hosts, imported here: to look at a local one, and to ask it."""

from __future__ import annotations

import importlib.util
import sys
from functools import lru_cache
from typing import TYPE_CHECKING

from deployer.paths import TEMPLATES

if TYPE_CHECKING:
    from types import ModuleType


@lru_cache
def host_code(module: str = "actions") -> ModuleType:
    """One of its modules."""
    if "deployer_host" not in sys.modules:
        folder = TEMPLATES / "ansible" / "module_utils" / "deployer_host"
        found = importlib.util.spec_from_file_location(
            "deployer_host", folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert found and found.loader
        package = importlib.util.module_from_spec(found)
        sys.modules["deployer_host"] = package
        found.loader.exec_module(package)
    return importlib.import_module(f"deployer_host.{module}")
