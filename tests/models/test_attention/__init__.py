"""Proof of the attention topic."""
