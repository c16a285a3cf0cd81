"""The `edgekit` command. A command is imported when it is called: `--help` stays instant."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from edgekit.cli.errors import debugging, report

COMMANDS: dict[str, tuple[str, str]] = {
    "convert": ("edgekit.cli.convert", "Compile a model into one verified artifact per target."),
    "inspect": ("edgekit.cli.inspect", "Show what is in a model and what each target can take."),
    "doctor": ("edgekit.cli.doctor", "Show runtimes, extras and CPU features of this machine."),
    "build": ("edgekit.cli.build", "Build a TensorRT plan from a bundle, where there is a GPU."),
}
"""Command → (module, one line of help). The module's click command is called `command`."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, does) for name, (_, does) in COMMANDS.items()])


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from edgekit import __version__

        click.echo(f"edgekit {__version__}")
        ctx.exit()


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log what is done to stderr.")
def cli(verbose: bool) -> None:
    """Compile a trained model for edge targets, and prove how far it drifted from float.

    Exit codes: 0 done, 2 usage, 3 a gate failed, 4 model or operator not supported,
    5 a runtime or extra is missing, 6 bad input file or data, 1 anything else.
    """
    import logging

    level = logging.DEBUG if verbose or debugging() else logging.WARNING
    logging.basicConfig(level=level, stream=sys.stderr, format="%(name)s: %(message)s")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit code."""

    def work() -> int:
        try:
            code = cli.main(args=arguments, prog_name="edgekit", standalone_mode=False)
        except click.ClickException as e:
            e.show()
            return e.exit_code
        except click.exceptions.Abort:
            raise KeyboardInterrupt from None
        return code if isinstance(code, int) else 0

    return report(work)


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run())


if __name__ == "__main__":
    main()
