"""The resources as pydantic models: the one source of CRDs, chart schema and reference documentation."""
