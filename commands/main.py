"""The entry point: a lazy group of commands, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from commands import options
from commands.registry import COMMANDS
from deployer import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.errors import DeployerError


class LazyGroup(click.Group):
    """Imports a command when it is called; help and completion go by the registry."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = import_module(entry.module).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Say what was meant, where a command is misspelt."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from deployer.environment.toml import suggest

            ctx.fail(f"There is no command {args[0]!r}; {suggest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by section, without importing them."""
        for section in dict.fromkeys(entry.section for entry in COMMANDS.values()):
            with formatter.section(section):
                formatter.write_dl(
                    [(name, e.summary) for name, e in COMMANDS.items() if e.section == section]
                )


def _version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted:
        if _wants_json(sys.argv[1:]):
            from commands.output import envelope

            click.echo(envelope({"version": __version__}))
        else:
            click.echo(f"deployer {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    no_args_is_help=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@options.global_options
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version.",
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """From an environment file to a running, healthy application.

    `deployer create NAME` and `deployer deploy NAME` are all that a first application takes.
    """
    if ctx.invoked_subcommand is None:
        if options.current().json:
            ctx.fail("There is no command to run, and help is no JSON.")
        click.echo(ctx.get_help())


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        code = run(sys.argv[1:], ended=_ignore_signals)
    except KeyboardInterrupt:  # one more, just before they were ignored
        _ignore_signals()
        code = 130
    sys.exit(code)


def _ignore_signals() -> None:
    """From here on a signal could only keep the exit code from being the one that was earned."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def run(arguments: list[str], *, ended: Callable[[], None] = lambda: None) -> int:
    """Run the command line; return the exit code.

    `ended` is called when nothing is left but to tell of a failure, or to leave.
    """
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    # looking for pydantic's plugins takes longer than all of our models
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    as_json = _wants_json(arguments)
    try:
        _refuse_undecodable(arguments)
        code = cli.main(arguments, prog_name="deployer", standalone_mode=False)
        sys.stdout.flush()
        ended()
        return code if isinstance(code, int) else 0
    except (BrokenPipeError, SystemExit):
        # the reader has seen enough; what was to be done is done. click exits for it by itself
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as problem:
        ended()
        return _fail(_known(problem), as_json)


def _open_closed_streams() -> None:
    """Put /dev/null where no stream is: else the store would be opened as stdout."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)


def _refuse_undecodable(arguments: list[str]) -> None:
    """An argument that is not UTF-8 could be neither written to a file nor recorded."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise click.UsageError(f"The argument {argument!r} is not UTF-8.") from None


def _fail(error: DeployerError, as_json: bool) -> int:
    from commands import output

    try:
        output.failure(error, as_json=as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(error.exit_code)


def _usage(problem: click.ClickException) -> DeployerError:
    from deployer.errors import UsageError

    context = getattr(problem, "ctx", None)
    path = context.command_path if context else "deployer"
    return UsageError(problem.format_message(), hint=f"See: {path} --help")


def _known(problem: Exception | KeyboardInterrupt) -> DeployerError:
    from deployer.errors import DeployerError, InterruptedOperation, WorkspaceError, unusable
    from state.errors import StoreError

    if isinstance(problem, KeyboardInterrupt | click.Abort):
        return InterruptedOperation("Interrupted")
    if isinstance(problem, click.ClickException):
        return _usage(problem)
    if isinstance(problem, DeployerError):
        if problem.code == "INTERNAL":
            _crash_report(problem)
        return problem
    if isinstance(problem, StoreError):
        return WorkspaceError(problem.message, hint=problem.hint)
    found = unusable(problem)
    if found:
        return found
    error = DeployerError(f"{type(problem).__name__}: {problem}")
    error.__cause__ = problem
    _crash_report(error)
    return error


def _crash_report(error: DeployerError) -> None:
    """Write the traceback of a bug to a file that the message names."""
    import tempfile
    import traceback

    from deployer import redact

    with tempfile.NamedTemporaryFile(
        "w", prefix="deployer-crash-", suffix=".log", delete=False, encoding="utf-8"
    ) as file:
        file.write(redact.text("".join(traceback.format_exception(error.__cause__ or error))))
    error.hint = f"This is a bug in deployer; please report it with {file.name}"


def _wants_json(arguments: list[str]) -> bool:
    """Whether JSON was asked for, told without parsing: the parser may be what fails."""
    wanted: Any = os.environ.get("DEPLOYER_OUTPUT")
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument == "--output":
            wanted = following
        elif argument.startswith("--output="):
            wanted = argument.partition("=")[2]
    return bool(wanted == "json")
