"""Calibration where the layers are computed on a GPU: by torch's own rules of devices, without one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from deepseek_runtime.models import scratch
from deepseek_runtime.quantize import calibrated, schemes
from deepseek_runtime.quantize.calibrated import Method
from deepseek_runtime.quantize.calibration import Sequences
from deepseek_runtime.quantize.formats.weight import QuantizedWeight
from deepseek_runtime.quantize.gptq_layers import Gptq
from deepseek_runtime.quantize.layerwise import Decoder
from deepseek_runtime.quantize.selection import select
from deepseek_runtime.quantize.shards import Conversion
from deepseek_runtime.quantize.static_scales import StaticScales
from deepseek_runtime.weights import manifest
from deepseek_runtime.weights.load import load_config
from deepseek_runtime.weights.stored import StoredWeights
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.unit.tiny import Reports, build_job, quantize_job


class Numbers(TorchDispatchMode):
    """These tensors have no memory to read a number from: what is asked is true, a count is 0, a float 1."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.item.default):
            return args[0].dtype == torch.bool or float(args[0].is_floating_point())
        return function(*args, **(kwargs or {}))


class Devices:
    """In a Writer's place: keeps on which device each tensor lies that it is given."""

    seen: dict[str, str]

    def __init__(self, path: Path, entries: Any) -> None:
        pass

    def write(self, name: str, tensor: torch.Tensor) -> None:
        self.seen[name] = tensor.device.type

    def __enter__(self) -> "Devices":
        return self

    def __exit__(self, *error: object) -> None:
        pass


@pytest.mark.parametrize("scheme", ["int8", "int4"])
def test_what_layers_compute_with_stays_on_their_device_and_what_is_written_leaves_it(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch.run(build_job(tmp_path, "Llama", intermediate_size=48), Reports())
    base = tmp_path / "volume" / "artifact"
    recipe = {"method": "static" if scheme == "int8" else "gptq", "group_size": 16, "scheme": scheme}
    job = quantize_job(base, manifest.read(base).digest, tmp_path, **recipe)
    made = schemes.scheme(job)
    assert made is not None
    config, seen = load_config(base), dict[str, str]()
    monkeypatch.setattr(Devices, "seen", seen, raising=False)
    monkeypatch.setattr(calibrated, "Writer", Devices)
    monkeypatch.setattr(calibrated, "Decoder", lambda *told: Decoder(*told[:-2], torch.bfloat16, torch.device("cuda")))
    with StoredWeights(base) as stored:
        conversion = Conversion(stored, made, select(config, stored, (), "all"), "F32")
        monkeypatch.setattr(conversion, "read", lambda name: torch.empty(stored.shape(name)))

        def rounded(module: str, weight: torch.Tensor) -> QuantizedWeight:
            nearest = conversion.round(module, weight)
            # What a parameter's data is replaced by is not told from what it was: FakeTensor keeps the device.
            assert {nearest.values.device, nearest.scale.device} == {weight.device}
            return nearest

        method: Method = Gptq(rounded, made.levels) if scheme == "int4" else StaticScales(rounded)
        with FakeTensorMode(), Numbers():
            sequences = Sequences(torch.zeros(2, 8, dtype=torch.int64), "")
            calibrated.write(config, conversion, made, method, sequences, tmp_path, Reports())
        assert seen.keys() == {part for shard in stored.shards for part in conversion.entries(shard)}
    assert set(seen.values()) == {"cpu"}
