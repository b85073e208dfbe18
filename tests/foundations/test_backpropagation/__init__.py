"""Tests of `lbdl.foundations.backpropagation`."""
