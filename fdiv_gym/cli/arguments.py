"""Arguments shared by several commands, and their completion."""

from __future__ import annotations

from typing import Annotated

import typer

from fdiv_gym.registry.kinds import KINDS, templates


def complete_kind(incomplete: str) -> list[str]:
    """The kinds that start with ``incomplete``."""
    return [kind for kind in KINDS if kind.startswith(incomplete)]


def complete_template(incomplete: str) -> list[str]:
    """The templates that start with ``incomplete``."""
    return [name for name in templates() if name.startswith(incomplete)]


def complete_name(ctx: typer.Context, incomplete: str) -> list[str]:
    """The registered names of the given kind that start with ``incomplete``."""
    from fdiv_gym.registry.discovery import discovery

    kind = ctx.params.get("kind")
    if kind not in KINDS:
        return []
    return [name for name in discovery.registry.names(kind) if name.startswith(incomplete)]


def complete_package(incomplete: str) -> list[str]:
    """The distributions with plugins that start with ``incomplete``."""
    from fdiv_gym.registry.discovery import discovery

    return sorted({p.distribution for p in discovery.plugins() if p.distribution.startswith(incomplete)})


KIND_LIST = ", ".join(KINDS)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TrustEndpoints = Annotated[
    bool,
    typer.Option("--trust-endpoints", help="Send prompts and responses to the servers that the run folder names."),
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run the model's own Python code, if the run folder asks for it.")
]
TemplateArgument = Annotated[
    str,
    typer.Argument(
        help=f"{KIND_LIST}; or conversation: an environment of several turns.", autocompletion=complete_template
    ),
]
OptionalKind = Annotated[str | None, typer.Argument(help=f"{KIND_LIST}.", autocompletion=complete_kind)]
OptionalName = Annotated[str | None, typer.Argument(help="A registered name.", autocompletion=complete_name)]
