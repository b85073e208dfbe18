"""Tests of `lbdl.models.convolution`."""
