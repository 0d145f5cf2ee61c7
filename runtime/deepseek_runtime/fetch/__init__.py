"""Fetching a model from a hub: checked, resumed, hashed on the way, and sealed like everything else. No torch."""
