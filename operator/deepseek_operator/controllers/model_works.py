"""The Jobs of a model: build, fetch, import or publish the base, verify it, quantize or export a variant,
sign and evaluate either."""

from collections.abc import Sequence
from dataclasses import dataclass

from deepseek_runtime.wire import paths
from deepseek_runtime.wire.architecture import complete
from deepseek_runtime.wire.job import (
    BenchmarkJob,
    Beside,
    BuildJob,
    Calibration,
    CompareJob,
    EvaluateJob,
    ExportJob,
    FetchJob,
    ImportJob,
    Job,
    LongContextJob,
    PublishJob,
    QuantizeJob,
    SignJob,
    TaskJob,
    Tokenizer,
    VerifyJob,
)
from deepseek_runtime.wire.paths import ARTIFACT, EVALUATIONS, INPUT, KEY_FILE, OUTPUT, SIGNING
from deepseek_runtime.wire.verification import Allowed, FileDigest, SignatureCheck, Verification

from deepseek_operator.api.deepseekmodel.artifact import ArtifactStatus
from deepseek_operator.api.deepseekmodel.evaluation import BenchmarkSpec, EvaluationSpec, LongContextSpec, TaskSpec
from deepseek_operator.api.deepseekmodel.export import ExportSpec
from deepseek_operator.api.deepseekmodel.quantization import CalibrationSpec, QuantizationSpec
from deepseek_operator.api.deepseekmodel.signing import SigningKey
from deepseek_operator.api.deepseekmodel.source import ExistingClaimSource, ScratchSource
from deepseek_operator.api.deepseekmodel.spec import DeepSeekModelSpec, VariantSpec
from deepseek_operator.controllers.attempts import Work
from deepseek_operator.controllers.decision import Settings
from deepseek_operator.controllers.fetching import fetch
from deepseek_operator.controllers.identity import (
    Preimage,
    benchmark_identity,
    build_work,
    compare_identity,
    evaluate_identity,
    export_identity,
    export_work,
    group_size,
    long_context_identity,
    publish_work,
    quantize_identity,
    quantize_work,
    sign_identity,
    task_identity,
    verify_identity,
)
from deepseek_operator.controllers.origin import BASE, Origin
from deepseek_operator.desired.claim import artifact_claim_name
from deepseek_operator.desired.job import job, job_container
from deepseek_operator.desired.labels import Manifest, Owner
from deepseek_operator.desired.pod import Image, Mount, data_mounts, data_paths


@dataclass(frozen=True, slots=True)
class ModelWorks:
    """Makes the works of one model."""

    owner: Owner
    spec: DeepSeekModelSpec
    settings: Settings

    def claim_name(self, subject: str, identity: str) -> str:
        """The claim of the base or of a variant."""
        return artifact_claim_name(self.owner.name, subject, identity)

    def base(self, origin: Origin) -> Work:
        """Make the base."""
        written = Mount(OUTPUT, claim=self.claim_name(BASE, origin.identity), read_only=False)
        if (scratch := self.spec.source.scratch) is not None:
            mounts = (written, *data_mounts(scratch.tokenizer.text))
            return self._work(BASE, self._build(scratch, origin.identity), mounts, reads=None)
        if self.spec.source.remote:
            config, keys = fetch(self.spec.source, self._fetch(origin.identity))
            return self._work(BASE, config, (written, *keys), reads=None)
        if (claim := self.spec.source.existing_claim) is not None:
            return self._copy(self._import(claim, origin), written, origin)
        published = PublishJob(
            identity=origin.identity,
            owner=self.owner.path,
            credential=self._credential(),
            source=origin.lineage.source,
            input_digest=origin.lineage.digest or "",
        )
        return self._copy(published, written, origin)

    def variant(self, variant: VariantSpec, base: ArtifactStatus) -> Work:
        """Make a variant of a sealed base: quantized, or exported."""
        if variant.quantization is not None:
            return self._quantize(variant.name, variant.quantization, base)
        assert variant.export is not None, "the resource's rules: a variant has the one or the other"  # noqa: S101
        return self._export(variant.name, variant.export, base)

    def _export(self, name: str, export: ExportSpec, base: ArtifactStatus) -> Work:
        source, wanted = base.digest or "", export.onnx or export.gguf
        assert wanted is not None, "the resource's rules: an export is the one or the other"  # noqa: S101
        calibration = export.onnx.calibration if export.onnx is not None else None
        config = ExportJob(
            identity=export_identity(source, export),
            owner=self.owner.path,
            credential=self._credential(),
            input_digest=source,
            format="gguf" if export.onnx is None else "onnx",
            type=wanted.type,
            calibration=_calibration(calibration),
        )
        mounts = (
            Mount(INPUT, claim=base.claim, sub_path=ARTIFACT),
            Mount(OUTPUT, claim=self.claim_name(name, config.identity), read_only=False),
            *(() if calibration is None else data_mounts(calibration.text)),
        )
        return self._work(name, config, mounts, reads=base.claim)

    def _quantize(self, name: str, quantization: QuantizationSpec, base: ArtifactStatus) -> Work:
        source = base.digest or ""
        identity, calibration = quantize_identity(source, quantization), quantization.calibration
        config = QuantizeJob(
            identity=identity,
            owner=self.owner.path,
            credential=self._credential(),
            input_digest=source,
            scheme=quantization.scheme,
            method=quantization.method,
            scope=quantization.scope,
            group_size=group_size(quantization),
            ignore=tuple(quantization.ignore),
            pods=quantization.parallelism,
            calibration=_calibration(calibration),
        )
        mounts = (
            Mount(INPUT, claim=base.claim, sub_path=ARTIFACT),
            Mount(OUTPUT, claim=self.claim_name(name, identity), read_only=False),
            *(() if calibration is None else data_mounts(calibration.text)),
        )
        return self._work(name, config, mounts, reads=base.claim)

    def verify(self, asked: Verification, base: ArtifactStatus) -> Work:
        """Verify a sealed base; the result lies beside it."""
        source = base.digest or ""
        config = VerifyJob(
            identity=verify_identity(source, asked),
            owner=self.owner.path,
            credential=self._credential(),
            input_digest=source,
            verification=asked,
        )
        mounts = (
            Mount(INPUT, claim=base.claim, sub_path=ARTIFACT),
            Mount(OUTPUT, claim=base.claim, sub_path=EVALUATIONS, read_only=False),
        )
        return self._work(BASE, config, mounts, reads=base.claim)

    def made(self, name: str, base: ArtifactStatus, origin: Origin) -> Preimage | None:
        """How a part of the model is made here; None for a base that comes from outside."""
        if name != BASE:
            variant = next(variant for variant in self.spec.variants if variant.name == name)
            if variant.quantization is not None:
                return quantize_work(base.digest or "", variant.quantization)
            return export_work(base.digest or "", variant.export) if variant.export is not None else None
        if (scratch := self.spec.source.scratch) is not None:
            return build_work(scratch)
        return publish_work(origin.lineage.digest or "") if self.spec.source.training_run is not None else None

    def sign(self, key: SigningKey, made: Preimage, artifact: ArtifactStatus) -> Work:
        """Sign a sealed artifact and how it was made; the signature lies beside it."""
        source = artifact.digest or ""
        config = SignJob(
            identity=sign_identity(source, made, key),
            owner=self.owner.path,
            credential=self._credential(),
            input_digest=source,
            name=f"{self.owner.namespace}/{self.owner.name}/{artifact.name}",
            work=dict(made),
            key_file=f"{SIGNING}/{KEY_FILE}",
        )
        mounts = (
            Mount(INPUT, claim=artifact.claim),
            Mount(OUTPUT, claim=artifact.claim, sub_path=EVALUATIONS, read_only=False),
            Mount(SIGNING, secret=key.name, key=key.key, file=KEY_FILE),
        )
        return self._work(artifact.name, config, mounts, reads=artifact.claim)

    def evaluate(self, evaluation: EvaluationSpec, artifact: ArtifactStatus) -> Work:
        """Measure a sealed base or variant; the result lies beside it."""
        measured = artifact.digest or ""
        identity = evaluate_identity(measured, evaluation)
        config = EvaluateJob(
            identity=identity,
            owner=self.owner.path,
            credential=self._credential(),
            input_digest=measured,
            text=data_paths(evaluation.text),
            context_length=evaluation.context_length,
            max_tokens=evaluation.max_tokens,
        )
        return self._beside(artifact, config, *data_mounts(evaluation.text))

    def compare(self, evaluation: EvaluationSpec, artifact: ArtifactStatus, base: ArtifactStatus) -> Work:
        """Measure how far a sealed variant is from the base; the result lies beside the variant."""
        config = CompareJob(
            identity=compare_identity(artifact.digest or "", base.digest or "", evaluation),
            owner=self.owner.path,
            credential=self._credential(),
            input_digest=artifact.digest or "",
            base_digest=base.digest or "",
            text=data_paths(evaluation.text),
            context_length=evaluation.context_length,
            max_tokens=evaluation.max_tokens,
        )
        against = Mount(paths.BASE, claim=base.claim, sub_path=ARTIFACT)
        return self._beside(artifact, config, against, *data_mounts(evaluation.text), other=base.claim)

    def long_context(self, evaluation: EvaluationSpec, asked: LongContextSpec, artifact: ArtifactStatus) -> Work:
        """Measure what a sealed base or variant makes of a long context."""
        config = LongContextJob(
            identity=long_context_identity(artifact.digest or "", evaluation, asked),
            owner=self.owner.path,
            credential=self._credential(),
            input_digest=artifact.digest or "",
            text=data_paths(evaluation.text),
            tokens=asked.tokens,
            context_length=evaluation.context_length,
            windows=asked.windows,
        )
        return self._beside(artifact, config, *data_mounts(evaluation.text))

    def task(self, task: TaskSpec, artifact: ArtifactStatus) -> Work:
        """Measure a sealed base or variant by a task file."""
        config = TaskJob(
            identity=task_identity(artifact.digest or "", task),
            owner=self.owner.path,
            credential=self._credential(),
            input_digest=artifact.digest or "",
            folder=data_paths([task.source])[0],
            file=task.file,
            limit=task.limit,
            few_shot=task.few_shot,
        )
        return self._beside(artifact, config, *data_mounts([task.source]))

    def benchmark(self, benchmark: BenchmarkSpec, artifact: ArtifactStatus) -> Work:
        """Measure the builtin engine with a sealed base or variant."""
        config = BenchmarkJob(
            identity=benchmark_identity(artifact.digest or "", benchmark),
            owner=self.owner.path,
            credential=self._credential(),
            input_digest=artifact.digest or "",
            prompt_tokens=benchmark.prompt_tokens,
            output_tokens=benchmark.output_tokens,
            concurrency=benchmark.concurrency,
        )
        return self._beside(artifact, config)

    def _beside(self, artifact: ArtifactStatus, config: Beside, *more: Mount, other: str | None = None) -> Work:
        """A Job that reads a sealed artifact and leaves its result beside it; `other` is a claim that it reads, too."""
        mounts = (
            Mount(INPUT, claim=artifact.claim, sub_path=ARTIFACT),
            Mount(OUTPUT, claim=artifact.claim, sub_path=EVALUATIONS, read_only=False),
            *more,
        )
        return self._work(artifact.name, config, mounts, reads=artifact.claim, beside=other)

    def _copy(self, config: Job, written: Mount, origin: Origin) -> Work:
        """Without its source the Job finds what is sealed, or says that nothing is."""
        if origin.source is None:
            return self._work(BASE, config, (written,), reads=written.claim)
        return self._work(BASE, config, (origin.source, written), reads=origin.source.claim)

    def _import(self, claim: ExistingClaimSource, origin: Origin) -> ImportJob:
        return ImportJob(
            identity=origin.identity,
            owner=self.owner.path,
            credential=self._credential(),
            source=origin.lineage.source,
            path=claim.path,
            storage_size=self.spec.storage.size,
            verification=asked(self.spec),
            allow=_allowed(self.spec),
        )

    def _build(self, scratch: ScratchSource, identity: str) -> BuildJob:
        return BuildJob(
            identity=identity,
            owner=self.owner.path,
            credential=self._credential(),
            architecture=scratch.architecture,
            config=complete(scratch.architecture, scratch.config),
            tokenizer=Tokenizer(vocab_size=scratch.tokenizer.vocab_size, text=data_paths(scratch.tokenizer.text)),
            seed=scratch.seed,
        )

    def _fetch(self, identity: str) -> FetchJob:
        return FetchJob(
            identity=identity,
            owner=self.owner.path,
            credential=self._credential(),
            allowed_networks=self.settings.fetch_networks,
            storage_size=self.spec.storage.size,
            verification=asked(self.spec),
            allow=_allowed(self.spec),
        )

    def _work(
        self, subject: str, config: Job, mounts: tuple[Mount, ...], reads: str | None, beside: str | None = None
    ) -> Work:
        def manifest(attempt: int) -> Manifest:
            return job(
                self.owner,
                work=config.kind,
                subject=subject,
                identity=config.identity,
                attempt=attempt,
                container=job_container(config, mounts, self.spec.jobs),
                image=Image(self.settings.runtime_image, self.settings.image_pull_policy),
                pods=self.spec.jobs,
                storage=self.spec.storage,
                reads=reads,
                beside=beside,
                one_node=one_node(self.spec.storage.access_modes),
                count=config.pods if isinstance(config, QuantizeJob) else 1,
            )

        return Work(config.kind, subject, config.identity, manifest)

    def _credential(self) -> str:
        return self.owner.public_key(self.settings.master_key)


def asked(spec: DeepSeekModelSpec) -> Verification | None:
    """What the base must prove; None: nothing."""
    wanted = spec.verification
    if wanted is None or not (wanted.digest or wanted.files or wanted.signature):
        return None
    signature, hub = wanted.signature, spec.source.hugging_face
    return Verification(
        digest=wanted.digest,
        files=tuple(FileDigest(path=file.path, sha256=file.sha256) for file in wanted.files),
        signature=SignatureCheck(
            public_key=signature.public_key,
            file=signature.file,
            include=tuple(hub.include) if hub is not None else (),
            exclude=tuple(hub.exclude) if hub is not None else (),
        )
        if signature is not None
        else None,
    )


def _calibration(spec: CalibrationSpec | None) -> Calibration | None:
    if spec is None:
        return None
    return Calibration(text=data_paths(spec.text), samples=spec.samples, sequence_length=spec.sequence_length)


def _allowed(spec: DeepSeekModelSpec) -> tuple[Allowed, ...]:
    return tuple(spec.verification.allow) if spec.verification is not None else ()


def one_node(access_modes: Sequence[str]) -> bool:
    """Whether all users of a volume must run on one node."""
    return "ReadWriteMany" not in access_modes
