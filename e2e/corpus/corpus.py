"""Judges the value gate on real files: named, pinned Ansible collections and Terraform modules.

Fetches the packages with pip, looks at every file that has a reader, and prints each finding with
its judgement from `judged.json`: "right" (a deployment should not have it), "on purpose" (what
the rule says is so, and a test or an example wants it so) or "wrong" (the rule errs). Exits 1 if
a finding was not judged yet, or a judged one is not there any more.

`--write` takes the findings of this run into `judged.json`; new ones are "unjudged" there, for a
person to judge. `docs/generate.py` makes the table in docs/value-rules.md of it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from deployer.preflight import values
from deployer.preflight.values.files import Files

JUDGED = Path(__file__).with_name("judged.json")
PACKAGES = {"ansible": "11.7.0", "mlstacks": "0.10.0", "nebari": "2025.10.1"}
# the wheel of ansible leaves out the collections' tests, which are most of their YAML
SOURCE_ONLY = "ansible"
COLLECTIONS = (
    *("ansible.posix", "community.crypto", "community.docker", "community.general"),
    "community.zabbix",
)


def main() -> int:
    """Fetch, judge, print. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="take the findings into judged.json")
    parser.add_argument(
        "--fetched", type=Path, help="a folder for the packages, kept for next time"
    )
    chosen = parser.parse_args()
    known = json.loads(JUDGED.read_text(encoding="utf-8")) if JUDGED.exists() else {}
    with tempfile.TemporaryDirectory(prefix="deployer-corpus-") as folder:
        found = {
            name: _examined(root, version, known.get(name, {}))
            for name, version, root in _parts(chosen.fetched or Path(folder), Path(folder))
        }
    missing = 0
    for name, part in found.items():
        print(f"{name} {part['version']}: {part['files']} files, {len(part['findings'])} findings")
        for one in part["findings"]:
            print(f"  {one['judged']:<10} {one['rule']:<12} {one['file']}:{one['line']}")
        now = {_key(one) for one in part["findings"]}
        gone = [one for one in known.get(name, {}).get("findings", []) if _key(one) not in now]
        for one in gone:
            print(f"  gone       {one['rule']:<12} {one['file']}:{one['line']}")
        missing += len(gone) + sum(one["judged"] == "unjudged" for one in part["findings"])
    if chosen.write:
        JUDGED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 1 if missing else 0


def _parts(fetched: Path, folder: Path) -> list[tuple[str, str, Path]]:
    """Name, version and folder of everything that is judged."""
    for package, version in PACKAGES.items():
        _unpack(_fetched(package, version, fetched), folder / package)
    parts = []
    base = next((folder / "ansible").glob("*/ansible_collections"))
    for name in COLLECTIONS:
        root = base / name.replace(".", "/")
        manifest = json.loads((root / "MANIFEST.json").read_text(encoding="utf-8"))
        parts.append((name, manifest["collection_info"]["version"], root))
    return [*parts, *((p, PACKAGES[p], folder / p) for p in ("mlstacks", "nebari"))]


def _fetched(package: str, version: str, folder: Path) -> Path:
    known = list(folder.glob(f"{package}-{version}*"))
    if not known:
        kind = "--no-binary" if package == SOURCE_ONLY else "--only-binary"
        words = ["download", "--quiet", "--no-deps", kind, package, "--dest", str(folder)]
        subprocess.run([sys.executable, "-m", "pip", *words, f"{package}=={version}"], check=True)
        known = list(folder.glob(f"{package}-{version}*"))
    return known[0]


def _unpack(archive: Path, folder: Path) -> None:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(folder)
    else:
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")


def _examined(root: Path, version: str, known: dict[str, Any]) -> dict[str, Any]:
    files = Files()
    files.add(root, ".")
    judged = {_key(one): one["judged"] for one in known.get("findings", [])}
    findings = []
    for finding in values.examine(files):
        one = {"file": finding.file, "line": finding.line, "rule": finding.rule}
        one["judged"] = judged.get(_key(one), "unjudged")
        if one not in findings:
            findings.append(one)
    return {"version": version, "files": len(files.readable()), "findings": findings}


def _key(one: dict[str, Any]) -> tuple[object, ...]:
    return one["file"], one["line"], one["rule"]


if __name__ == "__main__":
    sys.exit(main())
