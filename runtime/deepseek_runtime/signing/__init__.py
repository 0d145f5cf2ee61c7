"""Signatures of models in the form of OpenSSF Model Signing v1: checked for what comes, made for what goes."""
