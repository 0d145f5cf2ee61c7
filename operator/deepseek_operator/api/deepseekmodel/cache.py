"""`spec.cache` and `status.cache`: copies of the artifacts on the disks of the nodes that serve them."""

from pydantic import ConfigDict, Field

from deepseek_operator.api.base import ApiModel, PodSettings, Quantity, ShortName, rules


class CacheSpec(ApiModel):
    """Copies on every node of a claim whose volume is another disk on each of them."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("quantity(string(self.capacity)).isGreaterThan(quantity('0'))", "capacity must be greater than 0")
        )
    )
    claim_name: str = Field(
        min_length=1,
        max_length=253,
        description="A PersistentVolumeClaim of this namespace, bound to a `local` PersistentVolume whose path is a directory of its own on every node of its nodeAffinity. Services of what is cached mount it too, and so run on those nodes alone.",
    )
    capacity: Quantity = Field(
        description="What all copies on this claim, of whichever models, may take on each node: a copy that would not fit evicts those that no pod uses, the longest unused first. For example 500Gi."
    )
    artifacts: list[ShortName] = Field(
        default=[],
        max_length=17,
        json_schema_extra={"x-kubernetes-list-type": "set"},
        description="`base` and names of quantized variants. Absent: all of them. Exports are never served, so never cached.",
    )
    pods: PodSettings = Field(
        default=PodSettings(),
        description="The pods that keep the copies: one for each artifact on every node that nodeSelector and tolerations allow, which should be those of the volume.",
    )


class CachedArtifact(ApiModel):
    """The copies of one artifact."""

    name: str = Field(description="`base`, or the variant's name.")
    digest: str = Field(description="SHA-256 of its manifest.")
    bytes: int | None = Field(default=None, description="Of one copy.")
    wanted: int = Field(description="Nodes that should have one.")
    ready: int = Field(description="Nodes that have a whole and verified one.")


class CacheStatus(ApiModel):
    """The copies on nodes. They are counted apart from Ready: what is sealed can be served without any."""

    claim: str = Field(description="The PersistentVolumeClaim that they lie on.")
    copies: str = Field(description="Ready of wanted ones, for example 3/4.")
    bytes: int = Field(description="What the copies of this model take on a node that has all of them.")
    artifacts: list[CachedArtifact] = Field(
        default=[],
        max_length=17,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        description="Each artifact that is cached.",
    )
