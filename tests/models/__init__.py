"""Tests of `lbdl.models`."""
