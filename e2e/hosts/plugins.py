"""Where this machine keeps plugins of Terraform's on disk, and how to have it take no others."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

AWS = Path("registry.terraform.io/hashicorp/aws")
MISSING = (
    "no mirror with Terraform's AWS plugin; make one: "
    "terraform -chdir=templates/providers/aws providers mirror /usr/local/share/terraform/plugins"
)


@cache
def aws_mirror() -> Path | None:
    """The folder of a mirror on disk that has the plugin for AWS."""
    usual = [Path("/usr/share/terraform"), Path("/usr/local/share/terraform")]
    bases = [*_children(Path("/opt")), *usual, Path("~/.terraform.d").expanduser()]
    named = os.environ.get("TF_PLUGIN_MIRROR")
    folders = [Path(named)] if named else [f for base in bases for f in (base, *_children(base))]
    return next((folder for folder in folders if any((folder / AWS).glob("*"))), None)


def configuration(folder: Path, mirror: Path) -> Path:
    """A CLI configuration by which Terraform takes plugins from `mirror`, and downloads none."""
    file = folder / "terraform.tfrc"
    file.write_text(f'provider_installation {{ filesystem_mirror {{ path = "{mirror}" }} }}\n')
    return file


def _children(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_dir())
