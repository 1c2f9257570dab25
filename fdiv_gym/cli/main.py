"""The command line: assembles the commands, and turns errors into one line and an exit status."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer

from fdiv_gym.cli.bench import bench
from fdiv_gym.cli.check import check
from fdiv_gym.cli.compare import compare
from fdiv_gym.cli.describe import describe
from fdiv_gym.cli.eval import evaluate
from fdiv_gym.cli.exit_status import ExitStatus
from fdiv_gym.cli.leaderboard import leaderboard
from fdiv_gym.cli.library_messages import make_printable
from fdiv_gym.cli.list import list_
from fdiv_gym.cli.models import add, list_models, models, remove
from fdiv_gym.cli.models_merge import merge
from fdiv_gym.cli.new import new
from fdiv_gym.cli.plugins import plugins
from fdiv_gym.cli.push import push
from fdiv_gym.cli.report import report
from fdiv_gym.cli.rescore import rescore
from fdiv_gym.cli.screen import echo, secho
from fdiv_gym.cli.train import train
from fdiv_gym.cli.verify import bundle, verify
from fdiv_gym.errors import FdivGymError

app = typer.Typer(
    name="fdiv-gym",
    help="Align language models on text environments with f-divergence objectives. "
    "Every divergence, objective, environment, judge, engine and trainer is a plugin.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def settings(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if any plugin is broken.")] = False,
) -> None:
    """Options before the command."""
    os.environ["FDIV_GYM_DEBUG"] = "1" if debug else ""
    if strict:
        from fdiv_gym.registry.discovery import discovery

        discovery.refuse_broken()


def _interruptible(command: Callable[..., None]) -> Callable[..., None]:
    """The command, with a message when it is interrupted: typer itself ends it without one."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except KeyboardInterrupt:
            _exit_interrupted()

    return run


def _exit_interrupted() -> NoReturn:
    echo("interrupted; run the same command again", err=True)
    sys.exit(ExitStatus.INTERRUPTED)


# In the order of the help text; train, evaluate and bench have messages of their own.
app.command("train", no_args_is_help=True)(train)
app.command("report", no_args_is_help=True)(_interruptible(report))
app.command("compare", no_args_is_help=True)(_interruptible(compare))
app.command("eval", no_args_is_help=True)(evaluate)
app.command("bench", no_args_is_help=True)(bench)
app.command("bundle", no_args_is_help=True)(_interruptible(bundle))
app.command("verify", no_args_is_help=True)(_interruptible(verify))
app.command("leaderboard", no_args_is_help=True)(_interruptible(leaderboard))
app.command("rescore", no_args_is_help=True)(_interruptible(rescore))
app.command("push", no_args_is_help=True)(_interruptible(push))
app.command("plugins")(_interruptible(plugins))
app.command("list")(_interruptible(list_))
app.command("describe", no_args_is_help=True)(_interruptible(describe))
app.command("check", no_args_is_help=True)(_interruptible(check))
app.command("new", no_args_is_help=True)(_interruptible(new))
models.command("add", no_args_is_help=True)(_interruptible(add))
models.command("list")(_interruptible(list_models))
models.command("remove", no_args_is_help=True)(_interruptible(remove))
models.command("merge", no_args_is_help=True)(_interruptible(merge))
app.add_typer(models, name="models")


def main() -> None:
    """Entry point of the console script."""
    from fdiv_gym.runs import stopped_as_by_ctrl_c

    make_printable()
    try:
        with stopped_as_by_ctrl_c():
            app()
    except FdivGymError as error:
        if os.environ.get("FDIV_GYM_DEBUG"):
            echo(traceback.format_exc(), err=True, nl=False)
            sys.exit(ExitStatus.FAILED)
        _show_error(str(error))
        sys.exit(ExitStatus.ERROR)
    except KeyboardInterrupt:
        _exit_interrupted()
    except BrokenPipeError:
        sys.exit(ExitStatus.BROKEN_PIPE)
    except Exception as error:
        _exit_if_a_plugin_failed(error)
        echo(traceback.format_exc(), err=True, nl=False)
        sys.exit(ExitStatus.FAILED)


def _exit_if_a_plugin_failed(error: Exception) -> None:
    from fdiv_gym.registry import culprit_of
    from fdiv_gym.registry.messages import cause_of

    culprit = culprit_of(error)
    if culprit is not None and not os.environ.get("FDIV_GYM_DEBUG"):
        _show_error(f"{culprit} failed: {cause_of(error)}")
        sys.exit(ExitStatus.ERROR)


def _show_error(text: str) -> None:
    secho("error: ", fg=typer.colors.RED, bold=True, err=True, nl=False)
    echo(" ".join(text.split()), err=True)
