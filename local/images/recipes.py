"""The project's three images and where their recipes are."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """One image: a Dockerfile below the repository's root and a stage of it."""

    key: str
    name: str
    dockerfile: str
    target: str | None = None


RECIPES = (
    Recipe("operator", "localhost/deepseek-operator:dev", "operator/Dockerfile"),
    Recipe("gateway", "localhost/deepseek-gateway:dev", "runtime/Dockerfile", "gateway"),
    Recipe("runtime", "localhost/deepseek-runtime:dev", "runtime/Dockerfile", "compute"),
)


def full_name(name: str) -> str:
    """The image's name: `operator` means localhost/deepseek-operator:dev, other names mean themselves."""
    return next((recipe.name for recipe in RECIPES if recipe.key == name), name)
