"""The identities of work, pinned: an upgrade that changes one would compute everything again."""

import pytest
from deepseek_operator.api.deepseekmodel.evaluation import BenchmarkSpec, EvaluationSpec, LongContextSpec, TaskSpec
from deepseek_operator.api.deepseekmodel.export import ExportSpec
from deepseek_operator.api.deepseekmodel.quantization import CalibrationSpec, QuantizationSpec
from deepseek_operator.api.deepseekmodel.remote_sources import HttpSource, ObjectStoreSource, OciSource
from deepseek_operator.api.deepseekmodel.signing import SigningKey
from deepseek_operator.api.deepseekmodel.source import ExistingClaimSource, HuggingFaceSource, ScratchSource
from deepseek_operator.api.trainingrun import HubDataset, StageSpec
from deepseek_operator.controllers import identity
from deepseek_operator.controllers.hyperparameters import hyperparameters
from deepseek_operator.controllers.source_http import described
from deepseek_runtime.wire.job import ALGORITHMS
from deepseek_runtime.wire.verification import Verification

TEXT = [{"claim": {"claimName": "text", "path": "train.txt"}}]
SCRATCH = {"architecture": "DeepSeekV3", "config": {"hidden_size": 192}, "tokenizer": {"text": TEXT}}
STAGE = {"name": "pretrain", "type": "pretrain", "data": TEXT, "until": {"steps": 400}}
INPUT = "ab" * 32


def build(**changes: object) -> str:
    return identity.build_identity(ScratchSource.model_validate({**SCRATCH, **changes}))


def fetch(**changes: object) -> str:
    return identity.fetch_identity(HuggingFaceSource.model_validate({"repo": "tiny/model", **changes}))


def stored(**changes: object) -> str:
    return identity.object_store_identity(ObjectStoreSource.model_validate({"url": "s3://models/tiny", **changes}))


def http(**changes: object) -> str:
    file = {"url": "https://one.example/v1/config.json?signature=x", "sha256": INPUT}
    return identity.http_identity(described(HttpSource.model_validate({"files": [{**file, **changes}]})))


def oci(**changes: object) -> str:
    return identity.oci_identity(OciSource.model_validate({"reference": "registry.example/tiny:v1", **changes}))


def train(**changes: object) -> str:
    return identity.train_identity(INPUT, StageSpec.model_validate({**STAGE, **changes}), {})


def dataset(**changes: object) -> str:
    return identity.dataset_identity(HubDataset.model_validate({"repo": "tiny/text", **changes}))


def train_on(digest: str) -> str:
    stage = StageSpec.model_validate({**STAGE, "data": [{"huggingFace": {"repo": "tiny/text"}}]})
    return identity.train_identity(INPUT, stage, {dataset(): digest})


def quantize(**changes: object) -> str:
    return identity.quantize_identity(INPUT, QuantizationSpec.model_validate({"scheme": "int8", **changes}))


def onnx(kind: str = "float32", **changes: object) -> str:
    return identity.export_identity(INPUT, ExportSpec.model_validate({"onnx": {"type": kind, **changes}}))


def export(kind: str = "f16") -> str:
    return identity.export_identity(INPUT, ExportSpec.model_validate({"gguf": {"type": kind}}))


def evaluate(**changes: object) -> str:
    return identity.evaluate_identity(INPUT, EvaluationSpec.model_validate({"text": TEXT, **changes}))


def compare(**changes: object) -> str:
    return identity.compare_identity(INPUT, "cd" * 32, EvaluationSpec.model_validate({"text": TEXT, **changes}))


def long_context(evaluation: dict[str, object] | None = None, **changes: object) -> str:
    measured = EvaluationSpec.model_validate({"text": TEXT, **(evaluation or {})})
    return identity.long_context_identity(INPUT, measured, LongContextSpec.model_validate({"tokens": 4096, **changes}))


def benchmark(**changes: object) -> str:
    return identity.benchmark_identity(INPUT, BenchmarkSpec.model_validate(changes))


def task(**changes: object) -> str:
    declared = {"name": "a", "source": {"configMap": {"name": "tasks"}}, **changes}
    return identity.task_identity(INPUT, TaskSpec.model_validate(declared))


def verify(**asked: object) -> str:
    return identity.verify_identity(INPUT, Verification.model_validate({"digest": "cd" * 32, **asked}))


def sign(work: identity.Preimage | None = None, **key: str) -> str:
    made = work or identity.publish_work(INPUT)
    return identity.sign_identity(INPUT, made, SigningKey.model_validate({"name": "release", **key}))


def test_what_is_asked_or_signed_with_makes_another_work() -> None:
    files = [{"path": "config.json", "sha256": "ef" * 32}]
    signature = {"publicKey": "PEM"}
    asked = [
        verify(),
        verify(files=files),
        verify(signature=signature),
        verify(signature={**signature, "file": "x.sig"}),
    ]
    assert len(set(asked)) == len(asked)
    assert verify(signature={**signature, "file": "model.sig", "include": []}) == verify(signature=signature)
    made = identity.quantize_work(INPUT, QuantizationSpec(scheme="int8"))
    assert len({sign(), sign(made), sign(name="other"), sign(key="other")}) == 4


def test_golden() -> None:
    assert {
        "build": build(),
        "import": identity.import_identity(ExistingClaimSource(claim_name="weights", path="v1")),
        "publish": identity.publish_identity(INPUT),
        "quantize": quantize(),
        "export": export(),
        "onnx": onnx(),
        "onnxInt8": onnx("int8", calibration={"text": TEXT}),
        "fetch": fetch(),
        "dataset": dataset(),
        "trainOnDataset": train_on("cd" * 32),
        "verify": verify(),
        "sign": sign(),
        "objectStore": stored(),
        "http": http(),
        "oci": oci(),
        "evaluate": evaluate(),
        "compare": compare(),
        "longcontext": long_context(),
        "task": task(),
        "benchmark": benchmark(),
        "train": train(),
        "sft": train(type="sft", until={"epochs": 3}),
    } == {
        "build": "e93ec9395c312fcc8219531311d4d121bdaa16fd21abff56f01199e6cd1b3734",
        "import": "99280a92bb3df17fe14f27149dc502dc9daeb78423ea4e42c1144c73f21ba34e",
        "publish": "10ac38f3cb788b86cac2b5d3096548a6622a5297a99b4e141322035bdfb256d1",
        "quantize": "6b5c30dcf2f3b7cb02de7be77c7075b6df4fd99c1e7e1fe1099beeace9c540d4",
        "export": "91e66bcb59c6de01835d211f8649fc69673a881983aa9f711ac5a2eacf09d03d",
        "onnx": "750fddbada70d9f8489b511242e1de5ad751664d7ff2d6acbd9f8707e5954d05",
        "onnxInt8": "9895751e6a4fd94bc55e2bca7a2dcd076d310bf16fb99a9ce52bfd7c8c35b48a",
        "fetch": "05edc1c28817e8eb4769b07407ae0e987a0484d750f8789daf8c806785670158",
        "dataset": "2f5d2912f8348e65e76354d4493bb5430b82a5fd1bfe072d2698b0d3f1082d6c",
        "trainOnDataset": "b4c0e3886a86b9c856e4d83519d0f14cc5e9fef0ccf5a3e98baa015f5b71884f",
        "verify": "33d6011221fc98ba74164487abd28e527dc8c6139b9ce410017b73dff78d3a90",
        "sign": "f1f328c5a82eea040ad1e16c37399c197363b263b9b2162e35a628b7517d769a",
        "objectStore": "c23b9a81b7ba7a2a4735080afcf8f016dab56d1e23a4e78a603b44653ef14b06",
        "http": "303e41d67e3b1f51500bf44581177246cc9cb1ff528cc02a2bfca3c54713e95a",
        "oci": "2358dc82a2cd22e6f3817c00ab71d90236d710e8047cb26df9ae3d237177737e",
        "evaluate": "6ba8eac1f258a1d73a9756730a3bf967f8f51680f6c6e4fc60b30baaf28e488b",
        "compare": "36eba681fcdafe9d8b9bafbcc98ed7ea4bc9123d6b94b97fee9920359798d8a8",
        "longcontext": "efc6fb4d12b724008f121a92a0f43a8a87e0b241dd5b18c54a3f221cc53e2487",
        "task": "f537080233348b88ecfc1fb949816e54f3ff19bed9b1c289a7dcb90fbf930120",
        "benchmark": "b2b04107e8ed8ba013edc71cce47edf3d9c0ca7fec36b940a984ffa1812a2b5c",
        "train": "220aeb1704f71be6a8d33f5afafcb39c5ffe6c6d63ee57c921467833dfca4746",
        "sft": "f77017033258672707f7f5c1dbaf1e7056cd084c57c144258cce303de5b6351e",
    }


def test_a_default_that_is_written_out_is_the_same_work() -> None:
    assert build(seed=0) == build()
    assert build(tokenizer={"text": TEXT, "vocabSize": 4096}) == build()
    assert train(hyperparameters={"learningRate": 3e-4, "batchSize": 8}) == train()
    assert quantize(ignore=[], method="weightOnly", scope="all") == quantize()
    assert quantize(parallelism=64) == quantize()
    assert quantize(scheme="int4", method="roundToNearest", groupSize=128) == quantize(scheme="int4")
    written = {"text": TEXT, "samples": 128, "sequenceLength": 512}
    assert quantize(method="static", calibration=written) == quantize(method="static", calibration={"text": TEXT})
    assert evaluate(contextLength=256) == evaluate()
    assert task(file="task.yaml") == task(name="other") == task()
    assert long_context(windows=4) == long_context({"contextLength": 256, "maxTokens": 64}) == long_context()
    assert benchmark(promptTokens=128, outputTokens=64, concurrency=1) == benchmark()
    assert evaluate(compare=True, benchmark={}) == evaluate(), "what is measured beside it changes nothing"
    assert compare(contextLength=256, compare=True) == compare()
    assert fetch(revision="main", endpoint="https://huggingface.co/", include=[], exclude=[]) == fetch()
    assert fetch(tokenSecretRef={"name": "hub"}) == fetch()
    assert http(url="https://other.example/config.json", path="config.json") == http()
    assert oci(plainHttp=True, pullSecretRef={"name": "x"}) == oci()
    assert stored(url="s3://models/tiny/", region="eu-west-1", credentialsSecretRef={"name": "store"}) == stored()


def test_the_name_of_a_stage_is_not_part_of_its_work() -> None:
    assert train(name="other") == train()


def test_everything_that_changes_bytes_changes_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    other = [{"configMap": {"name": "text", "key": "train.txt"}}]
    found = [
        build(), build(seed=1), build(architecture="DeepSeekV2"), build(config={}), build(tokenizer={"text": other}),
        build(tokenizer={"text": TEXT, "vocabSize": 512}),
        train(), train(data=other), train(until={"steps": 401}), train(hyperparameters={"seed": 1}),
        train(type="sft"), train(type="sft", until={"epochs": 400}), train(type="sft", hyperparameters={"seed": 1}),
        quantize(), quantize(ignore=["*"]), quantize(method="dynamic"), quantize(scope="experts"),
        quantize(scheme="int4"), quantize(scheme="int4", groupSize=32), quantize(scheme="int4", scope="all"),
        quantize(scheme="fp8"), quantize(scheme="fp8Block"), quantize(scheme="bf16"),
        *(quantize(method="static", calibration=one) for one in (
            {"text": TEXT}, {"text": other}, {"text": TEXT, "samples": 64}, {"text": TEXT, "sequenceLength": 64},
        )),
        quantize(scheme="int4", method="gptq", calibration={"text": TEXT}),
        export(), export("q8_0"), export("q4_0"), onnx(),
        *(onnx("int8", calibration=one) for one in ({"text": TEXT}, {"text": other}, {"text": TEXT, "samples": 64})),
        evaluate(), evaluate(maxTokens=64), evaluate(text=other),
        long_context(), long_context(tokens=8192), long_context(windows=1), long_context({"contextLength": 64}),
        long_context({"text": other}),
        benchmark(), benchmark(promptTokens=64), benchmark(outputTokens=128), benchmark(concurrency=2),
        task(), task(file="b.yaml"), task(limit=5), task(fewShot=0), task(source={"configMap": {"name": "other"}}),
        compare(), compare(maxTokens=64), compare(text=other),
        identity.compare_identity(INPUT, "ef" * 32, EvaluationSpec.model_validate({"text": TEXT})),
        identity.publish_identity(INPUT), identity.publish_identity("cd" * 32),
        fetch(), fetch(repo="tiny/other"), fetch(revision="v2"), fetch(endpoint="https://mirror.example"),
        fetch(include=["*"]), fetch(exclude=["*"]), train_on("cd" * 32), train_on("ef" * 32),
        dataset(), dataset(repo="tiny/other"), dataset(revision="v2"), dataset(include=["*"]), dataset(exclude=["*"]),
        oci(), oci(reference="registry.example/tiny:v2"),
        http(), http(sha256="cd" * 32), http(path="other.json"),
        stored(), stored(url="gs://models/tiny"), stored(endpoint="https://s3.example"),
    ]  # fmt: skip
    monkeypatch.setitem(ALGORITHMS, "quantize", 2)
    found.append(quantize())
    assert len(set(found)) == len(found)


def test_every_recipe_field_with_a_default_was_introduced_with_one() -> None:
    """A field that is added to the API must be added to the table, or every identity would change."""
    default = hyperparameters(StageSpec.model_validate(STAGE)).model_dump(by_alias=True)
    assert default == identity.INTRODUCED["train"]
    beside = {"text", "compare", "long_context", "tasks", "benchmark"}
    assert set(EvaluationSpec.model_fields) - beside == {"context_length", "max_tokens"}
    assert set(LongContextSpec.model_fields) == {"tokens", "windows"}
    assert set(TaskSpec.model_fields) - {"few_shot"} == {"name", "source", "file", "limit"}
    assert BenchmarkSpec().to_object() == identity.INTRODUCED["benchmark"]
    assert set(QuantizationSpec.model_fields) - {"parallelism"} == {
        "scheme",
        *("ignore", "method", "scope", "group_size", "calibration"),
    }
    assert set(CalibrationSpec.model_fields) == {"text", "samples", "sequence_length"}
    assert set(HuggingFaceSource.model_fields) - {"token_secret_ref"} == {"repo", *identity.INTRODUCED["fetch"]}
    assert set(HubDataset.model_fields) == set(HuggingFaceSource.model_fields)
    assert identity.INTRODUCED["dataset"] == identity.INTRODUCED["fetch"]
    assert set(ObjectStoreSource.model_fields) == {"url", "endpoint", "region", "credentials_secret_ref"}
    assert set(OciSource.model_fields) == {"reference", "plain_http", "pull_secret_ref"}
    assert set(ExistingClaimSource.model_fields) == {"claim_name", "path"}
    assert set(ScratchSource.model_fields) == {"architecture", "config", "tokenizer", "seed"}
