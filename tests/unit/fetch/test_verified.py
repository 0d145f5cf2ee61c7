"""A repository that is signed by its maker is fetched with its signature, and sealed only if that covers all of it."""

from pathlib import Path

import pytest
from deepseek_runtime.job.errors import DataError
from deepseek_runtime.wire.verification import SignatureCheck, Verification

from tests.hub_server import Hub, running
from tests.unit.fetch.world import REPO, fetch, repository, small_chunks, tokenizer
from tests.unit.signing.official import KeyPair, key_pair, sign


def signed(directory: Path) -> tuple[dict[str, bytes], KeyPair]:
    """A repository's files as its maker signs them: all of them, also those that are never fetched."""
    pair, folder = key_pair(directory), directory / "tiny"
    folder.mkdir()
    for name, content in repository(900, 300).items():
        (folder / name).write_bytes(content)
    sign(folder, pair)
    return {path.name: path.read_bytes() for path in folder.iterdir()}, pair


def test_what_its_maker_signed_is_sealed_and_what_was_changed_or_taken_away_is_not(tmp_path: Path) -> None:
    files, pair = signed(tmp_path)
    asked = Verification(signature=SignatureCheck(public_key=pair.pem))
    with running(Hub(REPO, files)) as url, small_chunks():
        result = fetch(url, tmp_path / "volume", verification=asked)
    assert result.verification is not None
    assert (result.verification.asked, result.verification.signed_name) == (asked.identity, "tiny")
    assert (tmp_path / "volume" / "artifact" / "model.sig").read_bytes() == files["model.sig"]
    changed = {**files, "tokenizer.json": tokenizer("another", "model")}
    missing = {name: content for name, content in files.items() if name != "empty.json"}
    for number, (wrong, said) in enumerate(
        ((changed, "tokenizer.json: SHA-256 is"), (missing, "empty.json is signed"))
    ):
        volume = tmp_path / f"volume-{number}"
        with running(Hub(REPO, wrong)) as url, small_chunks(), pytest.raises(DataError, match=said) as caught:
            fetch(url, volume, verification=asked)
        assert caught.value.reason == "SignatureInvalid"
        assert not (volume / "result.json").exists()


def test_a_signature_is_taken_along_before_anybody_asks_for_it(tmp_path: Path) -> None:
    files, _ = signed(tmp_path)
    with running(Hub(REPO, files)) as url, small_chunks():
        result = fetch(url, tmp_path / "volume")
    assert result.verification is None
    assert (tmp_path / "volume" / "artifact" / "model.sig").exists()
