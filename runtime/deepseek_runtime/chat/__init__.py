"""Conversations as a model reads them: its own template, in a sandbox, and tokens that no user can forge."""
