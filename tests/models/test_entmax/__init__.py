"""Tests of `lbdl.models.entmax`."""
