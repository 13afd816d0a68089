"""Which apps there are to deploy or to copy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.commands.conftest import Workspace


def test_apps_are_listed_with_the_folder_to_copy_from(workspace: Workspace) -> None:
    workspace.file("apps/broken/app.toml", "name = 5\n")

    found = {one["name"]: one for one in workspace("apps", "--output", "json").data["apps"]}
    said = workspace("apps").out

    assert {"guestbook", "opentracker", "static-site"} < set(found)
    site = Path(found["static-site"]["folder"])
    assert (site / "public" / "index.html").is_file() and str(site) in said
    assert "app.toml:1: name: must be text" in found["broken"]["problem"]
    assert "broken        not usable" in said
