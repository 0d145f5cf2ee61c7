"""`status.architecture`: what the weights are."""

from pydantic import Field

from deepseek_operator.api.base import ApiModel


class AttentionStatus(ApiModel):
    """What attention keeps of each token; a dimension that its kind lacks is 0."""

    kind: str = Field(description="latent, indexedLatent, compressed or groupedQuery.")
    kv_lora_rank: int = Field(default=0, description="Width of the latent of keys and values.")
    q_lora_rank: int = Field(default=0, description="Width of the latent of queries.")
    qk_rope_head_dim: int = Field(default=0, description="Width of the rotated key that all heads share.")
    index_head_dim: int = Field(default=0, description="Width of the key of the indexer of sparse attention.")
    head_dim: int = Field(default=0, description="Width of one head's key, and of its value.")
    sliding_window: int = Field(default=0, description="Tokens that every layer keeps, of compressed attention.")
    sliding_layers: int = Field(default=0, description="Layers that keep nothing beside the window.")
    sparse_layers: int = Field(default=0, description="Layers that keep one entry of each sparseRate tokens, too.")
    sparse_rate: int = Field(default=0, description="Tokens that an entry of a sparse layer stands for.")
    heavy_layers: int = Field(default=0, description="Layers that keep one entry of each heavyRate tokens, too.")
    heavy_rate: int = Field(default=0, description="Tokens that an entry of a heavy layer stands for.")
    output_groups: int = Field(default=0, description="Groups of heads; tensor parallelism must divide them.")


class ArchitectureStatus(ApiModel):
    """What the weights are."""

    name: str = Field(description="The class in config.json.")
    parameters: int = Field(description="How many numbers they hold.")
    layers: int = Field(description="Decoder layers.")
    hidden_size: int = Field(description="Width of the residual stream.")
    attention_heads: int = Field(description="Tensor parallelism must divide it.")
    key_value_heads: int = Field(
        description="Heads of keys and values; as many as attention heads with latent attention."
    )
    intermediate_size: int = Field(default=0, description="Width of a dense layer; 0 where it is not known.")
    routed_experts: int = Field(default=0, description="In each expert layer; 0 for a dense model.")
    moe_intermediate_size: int = Field(default=0, description="Width of one expert.")
    vocab_size: int = Field(description="Tokens of the vocabulary.")
    context_length: int = Field(description="Longest context in tokens.")
    attention: AttentionStatus | None = Field(
        default=None, description="What the size of a cache follows from. Absent: not known."
    )
    unsplit_bytes: int = Field(
        default=0,
        description="Of the weights, what lies whole on every tensor-parallel rank. 0: it follows from the others.",
    )
