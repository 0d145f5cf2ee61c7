"""From a pydantic model to the dialect of JSON schema that CustomResourceDefinitions speak (structural OpenAPI v3)."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

Schema = dict[str, Any]

_DROPPED = ("title", "$defs", "discriminator")
_FIRST = ("description", "type", "default", "enum", "required")
_LAST = ("properties", "items", "additionalProperties")


class StructuralSchema(GenerateJsonSchema):
    """What an API server accepts: references inlined, no null, defaults of nested objects written out.

    Optional means absent, not null; unknown fields are pruned by the server, so `additionalProperties: false` goes.
    """

    def generate(self, schema: CoreSchema, mode: JsonSchemaMode = "validation") -> JsonSchemaValue:
        """The schema of the outermost model, with every reference inlined."""
        generated = super().generate(schema, mode)
        return _structural(generated, generated.get("$defs", {}), ())

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """The schema without its null."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """The schema with its default, where that is a value."""
        generated = super().default_schema(schema)
        if "default" in generated and generated["default"] is None:
            del generated["default"]
        return generated

    def encode_default(self, dft: Any) -> Any:
        """An object as what differs from its own fields' defaults: the server fills in those."""
        if isinstance(dft, BaseModel):
            return dft.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return super().encode_default(dft)


def structural(model: type[BaseModel]) -> Schema:
    """The structural schema of a model."""
    return model.model_json_schema(by_alias=True, mode="validation", schema_generator=StructuralSchema)


def _structural(node: Schema, definitions: dict[str, Schema], within: tuple[str, ...]) -> Schema:
    """One node in the CRD's dialect. `within` holds the definitions around it: a CRD cannot recurse."""
    node = dict(node)
    while "$ref" in node:
        name = node.pop("$ref").rpartition("/")[2]
        if name in within:
            raise ValueError(f"{name} contains itself by way of {' > '.join(within)}: a CRD cannot express that")
        within = (*within, name)
        node = {**definitions[name], **node}
    for key in _DROPPED:
        node.pop(key, None)
    if "const" in node:
        node["enum"] = [node.pop("const")]
    for bound in ("minimum", "maximum"):
        exclusive = "exclusive" + bound.capitalize()
        if exclusive in node:
            node[bound], node[exclusive] = node[exclusive], True
    if node.get("x-kubernetes-int-or-string"):
        del node["type"]
        node["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if isinstance(node.get("additionalProperties"), bool):
        del node["additionalProperties"]
    if "properties" in node:
        node["properties"] = {
            name: _structural(child, definitions, within) for name, child in node["properties"].items()
        }
    for key in ("items", "additionalProperties"):
        if key in node:
            node[key] = _structural(node[key], definitions, within)
    middle = sorted(node.keys() - {*_FIRST, *_LAST})
    return {key: node[key] for key in (*_FIRST, *middle, *_LAST) if key in node}
