"""Pushes the project's images to a registry, from where clusters of other machines pull them."""

from local import programs
from local.images import docker, storage
from local.images.recipes import RECIPES
from local.progress import alive


def push_images(registry: str, tag: str) -> None:
    """Pushes all images as REGISTRY/deepseek-KEY:TAG, with the credentials that the builder has for the registry."""
    for recipe in RECIPES:
        name = f"{registry}/deepseek-{recipe.key}:{tag}"
        with alive(f"pushing {name}"):
            if docker.has(recipe.name):
                programs.output(["docker", "tag", recipe.name, name])
                programs.output(["docker", "push", name])
            else:
                storage.buildah("push", recipe.name, f"docker://{name}")
