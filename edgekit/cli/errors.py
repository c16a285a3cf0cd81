"""Every way a command can end in an error, as one message and one exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from edgekit.errors import EdgeKitError

_BUG = 1


def report(work: Callable[[], int]) -> int:
    """Run `work`, turn what it raises into a message on stderr, give the exit code."""
    try:
        return work()
    except EdgeKitError as e:
        click.echo(f"error: {e.message}", err=True)
        if e.hint:
            click.echo(f"hint: {e.hint}", err=True)
        return e.exit_code
    except KeyboardInterrupt:
        click.echo("interrupted; nothing was written.", err=True)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`| head`); the interpreter must not complain again.
        sys.stdout = None
        return 0
    except MemoryError:
        click.echo("error: out of memory.", err=True)
        click.echo("hint: use fewer --samples, or a machine with more memory", err=True)
        return _BUG
    except Exception as e:
        click.echo(f"error: {type(e).__name__}: {e}", err=True)
        click.echo("hint: this is a bug in EdgeKit; EDGEKIT_DEBUG=1 shows where", err=True)
        if debugging():
            raise
        return _BUG


def debugging() -> bool:
    """Whether the user asked for tracebacks."""
    import os

    return os.environ.get("EDGEKIT_DEBUG", "") not in ("", "0")
