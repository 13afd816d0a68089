"""deployer providers."""

from __future__ import annotations

import click

from commands import operate, options, output
from deployer.providers import offered


@click.command("providers")
@options.global_options
def command() -> None:
    """List where environments can run, and why not where they can't."""
    with operate.deployer() as found:
        known = found.providers()
    data = [
        {
            "name": provider.manifest.name,
            "version": provider.manifest.version,
            "kind": provider.manifest.kind,
            "description": provider.manifest.description,
            "capabilities": sorted(offered(provider)),
            "available": reason is None,
            "reason": reason,
            "options": sorted(provider.manifest.options),
        }
        for provider, reason in known
    ]
    lines = []
    for provider, reason in known:
        lines.append(f"{provider.manifest.name:<12}{provider.manifest.description}")
        if reason:
            lines.append(f"{'':<12}not available: {reason}")
    output.result({"providers": data}, "\n".join(lines))
