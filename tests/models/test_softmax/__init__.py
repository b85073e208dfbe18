"""Tests of `lbdl.models.softmax`."""
