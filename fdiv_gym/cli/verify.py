"""The commands ``fdiv-gym bundle`` and ``fdiv-gym verify``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdiv_gym.cli.arguments import JsonFlag
from fdiv_gym.cli.exit_status import ExitStatus
from fdiv_gym.cli.screen import echo, write_json

if TYPE_CHECKING:
    from fdiv_gym.bench import Verified

SHOWN = 20
"""Disagreements that are printed."""


def bundle(
    bench: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a finished bench.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The bundle; default: DIR/bundle.")] = None,
    limit_mb: Annotated[
        float, typer.Option("--limit-mb", min=0.1, help="Leave samples out beyond this many megabytes.")
    ] = 10.0,
) -> None:
    """Write what is published of a bench: evidence from which others recompute its numbers.

    A bundle holds the matrix, the configurations, the records and tuning trials, the samples of the last evaluations,
    the tables, the report, and a manifest with the SHA-256 of each file. Paths, hosts that are not public, and secrets
    of this machine are replaced. The same folder gives the same bytes.

    Samples that do not fit are left out, those of the tuning first; the manifest names them with their hashes.

    Example: fdiv-gym bundle benches/small
    """
    from fdiv_gym.bench.bundle import write_bundle
    from fdiv_gym.bench.bundle_files import Bundle

    done = write_bundle(bench, output, limit_mb=limit_mb)
    echo(f"wrote {done}\nSHA-256 of its manifest: {Bundle(done).digest()}\ncheck it with: fdiv-gym verify {done}")


def verify(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder of a bundle, with manifest.json.")],
    strict_plugins: Annotated[
        bool, typer.Option("--strict-plugins", help="Fail if a plugin has other code here than in the bundle.")
    ] = False,
    digest: Annotated[
        str | None, typer.Option("--digest", help="Fail if the SHA-256 of the manifest is another one than this.")
    ] = None,
    json_: JsonFlag = False,
) -> None:
    """Recompute the numbers of a bundle without training, and name what disagrees.

    Rewards are recomputed from the samples by the installed environments, metrics from the rewards, and every number of
    every table and the report from the records. No server is asked, and no code of the bundle is run. What could not be
    checked is listed, e.g. rewards by a judge that needs a model.

    Some numbers do not follow from anything else in a bundle, such as seconds and learning curves before their last
    point. Only the SHA-256 of the manifest covers them: compare it with one from a source that you trust (--digest).

    The exit status is 1 if anything disagrees.

    Example: fdiv-gym verify benches/small/bundle
    """
    from fdiv_gym.bench import verify_bundle

    done = verify_bundle(path, strict_plugins=strict_plugins)
    other = digest is not None and digest.lower() != done.digest
    if json_:
        write_json(done.to_dict() | {"digest_expected": digest})
    else:
        _show(done)
        if other:
            echo(f"the digest is not the expected one, {digest}")
    if other or not done.clean:
        sys.exit(ExitStatus.FAILED)


def _show(done: Verified) -> None:
    for fault in done.faults[:SHOWN]:
        echo(f"DISAGREES  {fault}")
    left = len(done.faults) - SHOWN + done.more
    if left > 0:
        echo(f"and {left} more disagreements (all of them: --json)")
    for note in done.notes:
        echo(f"note: {note}")
    counts = ", ".join(f"{number} {what}" for what, number in done.counts.items())
    echo(f"recomputed: {counts or 'nothing'}")
    echo(f"SHA-256 of the manifest: {done.digest or 'none'}")
    number = len(done.faults) + done.more
    echo("verified: nothing disagrees" if done.clean else f"NOT verified: {number} disagreements")
