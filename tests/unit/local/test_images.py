import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from local import archive, places
from local.errors import LocalClusterError
from local.images import copies, pip_settings, snapshots, storage
from local.images.base import mirror
from local.images.place import superseded
from local.images.recipes import RECIPES, full_name


def test_chain_ids_follow_the_image_specification() -> None:
    ids = snapshots.chain_ids(["sha256:a", "sha256:b", "sha256:c"])
    second = "sha256:" + hashlib.sha256(b"sha256:a sha256:b").hexdigest()
    assert ids == ["sha256:a", second, "sha256:" + hashlib.sha256(f"{second} sha256:c".encode()).hexdigest()]
    assert snapshots.chain_ids([]) == []


def test_the_layers_beneath_a_snapshot_are_named_lowest_first() -> None:
    mount = "mount -t overlay overlay /target -o index=off,workdir=/s/4/work,upperdir=/s/4/fs,lowerdir=/s/3/fs:/s/1/fs"
    assert copies.lower(mount) == [Path("/s/1/fs"), Path("/s/3/fs")]
    assert copies.lower("mount -t bind /s/1/fs /target -o rw,rbind") == []


def test_the_directory_to_write_to() -> None:
    first = "mount -t bind /s/1/fs /target -o rw,rbind"
    later = "mount -t overlay overlay /target -o index=off,workdir=/s/2/work,upperdir=/s/2/fs,lowerdir=/s/1/fs"
    assert snapshots.upper(first) == Path("/s/1/fs")
    assert snapshots.upper(later) == Path("/s/2/fs")
    with pytest.raises(LocalClusterError, match="not overlayfs"):
        snapshots.upper("mount -t zfs pool/1 /target")


def test_layers_follow_the_parents() -> None:
    records = {
        "top": {"parent": "low", "diff-digest": "sha256:2"},
        "low": {"diff-digest": "sha256:1"},
        "other": {"diff-digest": "sha256:3"},
    }
    layers = storage.chain(records, "top", Path("/s"))
    assert [layer.diff_id for layer in layers] == ["sha256:1", "sha256:2"]
    assert layers[1].directory == Path("/s/overlay/top/diff")


def test_a_store_that_is_not_there_has_no_image(tmp_path: Path) -> None:
    assert storage.find(tmp_path, "localhost/x:1") is None


def test_archive_is_read_back_and_the_same_each_time() -> None:
    layer = archive.tar({})
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": ["sha256:a", "sha256:b"]}}).encode()
    packed = archive.write("localhost/x:1", config, [layer, layer])
    assert packed == archive.write("localhost/x:1", config, [layer, layer])
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        files = {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]
    listed = json.loads(files["index.json"])["manifests"][0]
    assert listed["annotations"] == {"io.containerd.image.name": "localhost/x:1"}
    assert listed["digest"] == archive.manifest_digest(config, [layer, layer])
    manifest = json.loads(files["blobs/sha256/" + listed["digest"][7:]])
    assert len(manifest["layers"]) == 2
    assert files["blobs/sha256/" + manifest["config"]["digest"][7:]] == config


def test_what_the_old_image_leaves() -> None:
    before = {"x:1": "sha256:old", "sha256:config": "sha256:old"}
    after = {"x:1": "sha256:new", "sha256:config": "sha256:old", "y:1": "sha256:other"}
    assert superseded(before, after, "x:1") == ["sha256:config"]
    # another tag still means it
    assert superseded(before, {**after, "z:1": "sha256:old"}, "x:1") == []
    assert superseded(before, before, "x:1") == []
    assert superseded({}, after, "x:1") == []


def test_short_names() -> None:
    assert full_name("runtime") == "localhost/deepseek-runtime:dev"
    assert full_name("localhost/other:1") == "localhost/other:1"
    assert all((places.REPOSITORY / recipe.dockerfile).is_file() for recipe in RECIPES)


LISTING = """\
:env:.timeout='180'
:env:.find-links='/opt/wheels'
global.index-url='https://one.example/simple'
global.extra-index-url='\\nhttps://two.example/simple\\nhttps://three.example/simple'
global.timeout='15'
global.cert='/etc/ca.crt'
"""


def test_pip_settings_go_into_a_build_without_paths_of_the_machine() -> None:
    text = pip_settings.configuration(pip_settings.settings(LISTING), has_ca=True)
    assert "/opt/wheels" not in text
    assert "/etc/ca.crt" not in text
    assert "cert = /run/secrets/ca.crt" in text
    assert "index-url = https://one.example/simple" in text
    assert " https://three.example/simple" in text
    assert "timeout = 180" in text  # the environment wins


@pytest.mark.parametrize(
    "sources",
    [
        "Types: deb\n# none\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n",
        "# none\ndeb [signed-by=/k.gpg] http://mirror.example/debian bookworm main\n",
        "Types: deb\nURIs: http://security.example/x\nSuites: bookworm-security\n\n"
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\n",
    ],
)
def test_mirror_of_the_machine(sources: str) -> None:
    assert mirror(["", "deb http://else.example/tool stable main\n", sources]) == "http://mirror.example/debian"


def test_no_mirror_where_the_machine_is_not_debian() -> None:
    assert mirror(["deb http://archive.example/ubuntu noble main\n"]) is None
