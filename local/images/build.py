"""Builds the project's images with Docker where its engine answers, else with buildah."""

import tempfile
from collections.abc import Collection
from pathlib import Path

from local import places, prerequisites, programs
from local.errors import LocalClusterError
from local.images import docker, pip_settings, storage
from local.images.base import base
from local.images.recipes import RECIPES
from local.locks import locked
from local.progress import alive


def build_images(only: Collection[str] | None, flavour: str) -> None:
    """Builds all images or those named; dependencies are built again only when their lock file changed."""
    by_docker = docker.answers()
    if not by_docker:
        prerequisites.require_root("python3 -m local build-images")
        if needs := prerequisites.missing(prerequisites.IMAGES):
            raise LocalClusterError(prerequisites.sentence(needs))
    with locked(places.cache() / "images" / "lock", "another build of images"), tempfile.TemporaryDirectory() as work:
        arguments = pip_settings.write(Path(work))
        if not by_docker:
            # what a build that failed or was killed left: its files can be the size of torch
            storage.buildah("rm", "--all")
            arguments += ["--build-arg", f"BASE={base()}"]
        for recipe in RECIPES:
            if only and recipe.key not in only:
                continue
            words = [*arguments, "--tag", recipe.name, "--file", str(places.REPOSITORY / recipe.dockerfile)]
            if recipe.target:
                words += ["--target", recipe.target, "--build-arg", f"FLAVOUR={flavour}"]
            with alive(f"building {recipe.name}"):
                if by_docker:
                    programs.output(
                        ["docker", "build", *words, places.REPOSITORY], environment={"DOCKER_BUILDKIT": "1"}
                    )
                else:
                    # no namespaces or network of a container are needed to install and compile
                    storage.buildah("bud", "--layers", "--isolation", "chroot", *words, places.REPOSITORY)
        if not by_docker:
            # layers that no image has any more, such as the code's of earlier builds
            storage.buildah("rmi", "--prune")
