"""Sources of a DeepSeekModel that lie outside of the cluster, besides hubs."""

from typing import Annotated

from pydantic import ConfigDict, Field

from deepseek_operator.api.base import ApiModel, rules


class SecretName(ApiModel):
    """A Secret of this namespace."""

    name: str = Field(
        min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", description="The Secret."
    )


class ObjectStoreSource(ApiModel):
    """A model in an object store. It is fetched once: a digest of what was there (names, sizes, entity tags, versions) is kept in the status, and an object that changes while it is fetched is noticed."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!self.url.startsWith('az://') || has(self.endpoint)",
                "an az:// url needs endpoint: https://<account>.blob.core.windows.net",
            ),
            ("!self.url.split('/').exists(part, part in ['.', '..'])", "url must not contain '.' or '..' as a folder"),
            ("!has(self.region) || self.url.startsWith('s3://')", "region is for s3:// alone"),
        )
    )
    url: str = Field(
        max_length=1024,
        pattern=r"^(s3|gs|az)://[A-Za-z0-9][-._A-Za-z0-9]{1,221}(/[-._~+=@A-Za-z0-9]+)*/?$",
        description="s3://bucket/prefix, gs://bucket/prefix or az://container/prefix: the folder with config.json and the weights. Objects in folders below it are left there. Give each version a prefix of its own.",
    )
    endpoint: str | None = Field(
        default=None,
        max_length=253,
        pattern=r"^https?://[A-Za-z0-9][-.A-Za-z0-9]*(:[0-9]{1,5})?(/[-._~/A-Za-z0-9]*)?$",
        description="A store that speaks the protocol of S3 or of Google, or the Azure account: https://<account>.blob.core.windows.net. Absent: Amazon's or Google's own. Private addresses need the chart's value fetch.allowedNetworks.",
    )
    region: str | None = Field(
        default=None, max_length=63, pattern=r"^[a-z0-9][-a-z0-9]*$", description="Of an S3 bucket. Absent: us-east-1."
    )
    credentials_secret_ref: SecretName | None = Field(
        default=None,
        description="The Secret with accessKeyId, secretAccessKey and, for temporary credentials, sessionToken (S3); serviceAccount.json (Google); accountKey or sasToken (Azure). It is mounted into the fetch pod alone. Absent: the identity that the cloud gives the pod by a token file (Amazon, Azure), else nobody's.",
    )


WebUrl = Annotated[
    str,
    Field(
        max_length=2048,
        pattern=r"^https?://[A-Za-z0-9][-.A-Za-z0-9]*(:[0-9]{1,5})?/[-._~%!$&'()*+,;=:@/?A-Za-z0-9]+$",
        description="Where it is. Redirects are followed. It is no secret: the resource and its Jobs show it, a signature in its query too. Private addresses need the chart's value fetch.allowedNetworks.",
    ),
]
Proof = Annotated[
    str, Field(pattern=r"^[0-9a-f]{64}$", max_length=64, description="What proves it: lower-case hexadecimal SHA-256.")
]


class HttpFile(ApiModel):
    """One file behind a URL."""

    url: WebUrl
    sha256: Proof
    path: str | None = Field(
        default=None,
        max_length=253,
        pattern=r"^[A-Za-z0-9_][-._A-Za-z0-9]*$",
        description="What the file is called, for example config.json. Absent: the last part of the URL's path.",
    )


class HttpArchive(ApiModel):
    """One archive behind a URL: tar, tar.gz or zip."""

    url: WebUrl
    sha256: Proof


class HttpSource(ApiModel):
    """A model behind URLs, proven by SHA-256: exactly one of files and archive."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.files) != has(self.archive)", "exactly one of files and archive must be given")
        )
    )
    files: list[HttpFile] | None = Field(
        default=None,
        min_length=1,
        max_length=512,
        description="Every file of the model: config.json, safetensors with their index, tokenizer. Pickles and code are refused.",
    )
    archive: HttpArchive | None = Field(
        default=None,
        description="An archive with a folder that has config.json and the weights; files that are not needed are left in it. Links, devices and names that leave their folder are refused. The volume must hold the archive and what is in it.",
    )


class OciSource(ApiModel):
    """A model in an OCI registry: an artifact of files, an artifact or image with tar layers (ModelPack, ModelCar). It is fetched once: the digest that the reference means is kept in the status."""

    reference: str = Field(
        max_length=512,
        pattern=r"^[A-Za-z0-9][-.A-Za-z0-9]*(\.[A-Za-z0-9]+|:[0-9]{1,5})/[a-z0-9][-._/a-z0-9]*(:[A-Za-z0-9_][-._A-Za-z0-9]{0,127})?(@sha256:[0-9a-f]{64})?$",
        description="registry.example/repository:tag or registry.example/repository@sha256:…; a tag that moves later changes nothing. Of an image only what lies in /models is read. Private addresses need the chart's value fetch.allowedNetworks.",
    )
    plain_http: bool = Field(
        default=False, description="Ask over http. A password then goes to addresses of fetch.allowedNetworks alone."
    )
    pull_secret_ref: SecretName | None = Field(
        default=None,
        description="A Secret of the type kubernetes.io/dockerconfigjson with an entry for the registry. It is mounted into the fetch pod and goes to the registry, or to a token service of its domain, alone.",
    )
