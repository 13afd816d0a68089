"""provision: the hosts are there and can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.errors import Finding, GateError
from state.records import HostRecord

if TYPE_CHECKING:
    from deployer.environment.load import Loaded
    from deployer.lifecycle.steps import Step, VerbRun
    from deployer.paths import Workspace
    from state.records import EnvironmentRecord


def inputs(workspace: Workspace, record: EnvironmentRecord, loaded: Loaded) -> dict[str, Any]:
    """What the hosts are made from."""
    return {
        "provider": loaded.configuration.provider,
        "version": loaded.provider.manifest.version,
        "options": loaded.configuration.provider_options,
    }


def prepare(run: VerbRun) -> list[Step]:
    """The one host of the provider `local` is this machine: there is nothing to make."""
    loaded = run.session.loaded()
    run.intent = inputs(run.session.workspace, run.record, loaded)
    last = run.record.intents.get("provision")
    if last and last["provider"] != run.intent["provider"]:
        raise GateError(
            f"{run.record.name} was provisioned on {last['provider']!r}, "
            f"its file now says {run.intent['provider']!r}",
            hint=f"Destroy it first: deployer destroy {run.record.name}",
            findings=[
                Finding(
                    "provider-changed",
                    f"provider: is {run.intent['provider']!r}, was {last['provider']!r}",
                    file=str(run.session.workspace.environment_file(run.record.name)),
                )
            ],
        )
    with run.looking("hosts", "This machine is the host (localhost)"):
        run.hosts = [
            HostRecord(
                name="localhost",
                connection="local",
                address="127.0.0.1",
                root=str(
                    run.session.workspace.host_dir(run.record.name).relative_to(
                        run.session.workspace.state_dir
                    )
                ),
            )
        ]
    return []
