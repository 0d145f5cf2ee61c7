"""What cannot be fetched is refused before its bytes are, with a sentence that says what to do."""

import json
import re
import struct
from collections import namedtuple
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from deepseek_runtime.fetch import hub as hub_source
from deepseek_runtime.fetch import model
from deepseek_runtime.fetch.troubles import Patience
from deepseek_runtime.job import space
from deepseek_runtime.job.errors import ConfigurationError, JobError
from deepseek_runtime.job.run import run
from deepseek_runtime.wire.exit_codes import ExitCode

from tests.hub_server import Fault, Hub, running
from tests.unit.fetch.world import (
    CONFIG,
    REPO,
    TOKEN,
    Silent,
    fetch,
    job,
    repository,
    small_chunks,
    token_file,
    tokenizer,
)

Refusal = tuple[int, dict[str, str]]


def refused(hub: Hub, directory: Path, **more: Any) -> JobError:
    with running(hub) as url, small_chunks(), pytest.raises(JobError) as caught:
        fetch(url, directory / "volume", **more)
    assert TOKEN not in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("refusal", "token", "reason", "says"),
    [
        ((401, {"X-Error-Code": "RepoNotFound"}), False, "AccessDenied", "give tokenSecretRef"),
        ((401, {}), True, "AccessDenied", "does not accept the token"),
        ((401, {"X-Error-Code": "GatedRepo"}), True, "AccessDenied", "accept the licence at http.*/tiny/model"),
        ((403, {"X-Error-Code": "GatedRepo"}), True, "AccessDenied", "Accept the licence at http.*/tiny/model"),
        ((404, {"X-Error-Code": "RepoNotFound"}), False, "SourceNotFound", "Correct repo or revision"),
        ((418, {}), False, "InvalidSource", "answers 418"),
    ],
)
def test_the_hub_refuses(tmp_path: Path, refusal: Refusal, token: bool, reason: str, says: str) -> None:
    more = {"token_file": token_file(tmp_path)} if token else {}
    error = refused(Hub(REPO, repository(100), refusal=refusal), tmp_path, **more)
    assert (error.reason, error.code) == (reason, ExitCode.CONFIGURATION)
    assert re.search(says, error.message)


def test_a_wrong_token(tmp_path: Path) -> None:
    error = refused(Hub(REPO, repository(100), token="hf_another"), tmp_path, token_file=token_file(tmp_path))
    assert error.reason == "AccessDenied"


def test_a_revision_that_is_not_there(tmp_path: Path) -> None:
    error = refused(Hub(REPO, repository(100)), tmp_path, revision="v2/x")
    assert error.reason == "SourceNotFound"
    assert "revision v2/x" in error.message


def test_history_rewritten_while_it_is_fetched(tmp_path: Path) -> None:
    hub, files = Hub(REPO, repository(100)), hub_source.Hub.files

    def listing(*arguments: Any) -> Any:
        listed = files(*arguments)
        hub.commit = "f" * 40
        return listed

    with mock.patch.object(hub_source.Hub, "files", listing):
        error = refused(hub, tmp_path)
    assert (error.reason, error.code) == ("RevisionMoved", ExitCode.DATA)
    assert "what main is now" in error.message


def test_a_hub_that_stays_silent_is_given_up(tmp_path: Path) -> None:
    hub = Hub(REPO, repository(100), refusal=(503, {}))
    with running(hub) as url, pytest.raises(JobError) as caught:
        model.run(job(url, tmp_path), Silent(), Patience(first=0.01, longest=0.02, total=0.2))
    assert (caught.value.reason, caught.value.code) == ("SourceUnreachable", ExitCode.INTERNAL)
    assert "answers 503" in caught.value.message
    assert "goes on from there" in caught.value.message


def test_bytes_that_stay_wrong(tmp_path: Path) -> None:
    hub = Hub(REPO, repository(50_000))
    hub.faults.extend([Fault(corrupt=True)] * 40)
    error = refused(hub, tmp_path)
    assert (error.reason, error.code) == ("DigestMismatch", ExitCode.DATA)
    assert "expected" in error.message


@pytest.mark.parametrize("endpoint", ["http://localhost:1", "http://169.254.169.254", "http://[::ffff:127.0.0.1]:1"])
def test_addresses_within_are_refused_before_anything_is_sent(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match=r"fetch\.allowedNetworks") as caught:
        fetch(endpoint, tmp_path, allowed_networks=())
    assert caught.value.reason == "AddressRefused"


def test_a_redirect_leads_nowhere_that_is_refused(tmp_path: Path) -> None:
    hub = Hub(REPO, repository(100), cdn="http://169.254.169.254/latest")
    assert refused(hub, tmp_path).reason == "AddressRefused"


def test_a_redirect_in_a_circle(tmp_path: Path) -> None:
    hub = Hub(REPO, repository(100), refusal=(302, {"Location": "/api/models/tiny/model/revision/main"}))
    assert refused(hub, tmp_path).reason == "UnsafeRedirect"


@pytest.mark.parametrize(
    ("changes", "reason", "says"),
    [
        ({"architectures": ["Qwen2ForCausalLM"]}, "UnknownArchitecture", "Qwen2ForCausalLM; this runtime has Deepseek"),
        ({"architectures": {"a": 1}}, "UnknownArchitecture", "names the architecture None"),
        ({"architectures": None}, "UnknownArchitecture", "names the architecture None"),
        ({"quantization_config": {"quant_method": "fp8"}}, "UnsupportedQuantization", r"quantized \(fp8\)"),
        ({"auto_map": {"AutoConfig": "x.Y"}, "architectures": ["LlamaForCausalLM", "X"]}, "UnsafeModel", "auto_map"),
        ({"hidden_size": "64"}, "InvalidConfig", "config.hidden_size is '64'"),
        ({"num_hidden_layers": 10**9}, "InvalidConfig", "config.num_hidden_layers"),
        ({"vocab_size": None}, "InvalidConfig", "vocab_size"),
        ({"num_attention_heads": 5}, "InvalidConfig", "must be a multiple"),
    ],
)
def test_what_this_runtime_cannot_read(tmp_path: Path, changes: dict[str, Any], reason: str, says: str) -> None:
    hub = Hub(REPO, repository(100_000, **changes))
    error = refused(hub, tmp_path)
    assert (error.reason, error.code) == (reason, ExitCode.DATA)
    assert re.search(says, error.message)
    assert not [path for path, _, _ in hub.sent if path.endswith(".safetensors")], "its weights were fetched"


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (b"{}", "tokenizer.json cannot be read: .+ Replace it"),
        (tokenizer("tiny", "model")[:-20], "tokenizer.json cannot be read: .+ Replace it"),
        (b"\xff\x00", "tokenizer.json cannot be read: .+ Replace it"),
        (tokenizer("tiny").replace(b'{"tiny":0}', b"{}"), "tokenizer.json has no tokens"),
        (tokenizer("tiny", "model", "of"), "tokenizer.json has token 2; config.json says that vocab_size is 2"),
    ],
    ids=["empty", "cut", "binary", "no-tokens", "of-another-model"],
)
def test_a_tokenizer_that_no_engine_could_read(tmp_path: Path, broken: bytes, says: str) -> None:
    hub = Hub(REPO, repository(100_000) | {"tokenizer.json": broken})
    error = refused(hub, tmp_path)
    assert (error.reason, error.code) == ("BadTokenizer", ExitCode.DATA)
    assert re.search(says, error.message)
    assert not [path for path, _, _ in hub.sent if path.endswith(".safetensors")], "its weights were fetched"
    assert not (tmp_path / "volume" / "result.json").exists()


def test_a_model_without_a_tokenizer_is_fetched(tmp_path: Path) -> None:
    files = {path: data for path, data in repository(100).items() if path != "tokenizer.json"}
    with running(Hub(REPO, files)) as url:
        assert fetch(url, tmp_path).outcome == "succeeded"


def test_an_architecture_of_other_engines_is_refused_with_its_size(tmp_path: Path) -> None:
    hub = Hub(REPO, repository(100_000, 70_000, architectures=["Qwen2ForCausalLM"]))
    with running(hub) as url:
        result, code = run(job(url, tmp_path), port=0)
    assert (code, result.reason) == (ExitCode.DATA, "UnknownArchitecture")
    assert result.refused is not None
    assert 170_000 < result.refused.weight_bytes < 180_000
    assert result.refused.architecture is not None
    assert result.refused.architecture.attention is not None


def test_only_pickles(tmp_path: Path) -> None:
    files = {path: data for path, data in repository(100).items() if "safetensors" not in path}
    error = refused(Hub(REPO, files), tmp_path)
    assert error.code == ExitCode.DATA
    assert "It has pytorch_model.bin, which can run code" in error.message


def test_more_than_the_volume_holds(tmp_path: Path) -> None:
    usage = namedtuple("usage", "total used free")(1 << 30, 0, 50_000_000)
    hub = Hub(REPO, repository(10_000))
    with mock.patch.object(space.shutil, "disk_usage", return_value=usage):
        error = refused(hub, tmp_path, storage_size="1Gi")
    assert (error.reason, error.code) == ("StorageTooSmall", ExitCode.CONFIGURATION)
    assert re.search(
        r"[\d,]+ bytes are needed and 50,000,000 are available.*storage\.size, which is 1Gi", error.message
    )
    assert hub.sent == []


def test_weights_that_are_none(tmp_path: Path) -> None:
    files = repository(100) | {"model-0.safetensors": struct.pack("<Q", 1 << 40) + b"{}"}
    assert refused(Hub(REPO, files), tmp_path).reason == "BadWeights"


def test_weights_of_another_model(tmp_path: Path) -> None:
    other = {"config.json": json.dumps({**CONFIG, "intermediate_size": 3}).encode()}
    error = refused(Hub(REPO, repository(100) | other), tmp_path)
    assert error.reason == "ShapeMismatch"
    assert "model.layers.0.mlp.gate_proj.weight in model-0.safetensors" in error.message


def test_an_answer_that_is_no_hub(tmp_path: Path) -> None:
    with running(Hub(REPO, repository(100))) as url, pytest.raises(JobError) as caught:
        fetch(f"{url}/elsewhere", tmp_path)
    assert caught.value.reason == "SourceNotFound"


@pytest.mark.parametrize("text", ["", "hf a", "hf\nb", "\x00"])
def test_a_key_that_holds_no_token(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="tokenSecretRef"):
        fetch("http://127.0.0.1:1", tmp_path, token_file=str(path))


def test_a_token_goes_in_the_clear_only_where_somebody_vouches(tmp_path: Path) -> None:
    """The loopback address as if it were public."""
    hub = Hub(REPO, repository(100), token=TOKEN)
    with mock.patch("deepseek_runtime.fetch.addresses.permitted", return_value=True):
        error = refused(hub, tmp_path, token_file=token_file(tmp_path), allowed_networks=())
    assert error.reason == "InvalidConfig"
    assert "over http" in error.message
    assert hub.requests == 0


def test_the_index_decides_which_weights(tmp_path: Path) -> None:
    files = repository(5_000) | {"consolidated.safetensors": b"the same again" * 1000}
    with running(Hub(REPO, files)) as url:
        result = fetch(url, tmp_path)
    assert result.fetched is not None
    assert "consolidated.safetensors" in result.fetched.left_out
