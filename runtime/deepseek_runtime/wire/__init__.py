"""Formats that operator, gateway and pods share: versioned, additive, and light to import."""
