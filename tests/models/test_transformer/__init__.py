"""Proof of the transformer topic."""
