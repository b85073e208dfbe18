"""Tests of `lbdl.models.normalization`."""
