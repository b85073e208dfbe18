"""Tests of `lbdl.foundations.computation`."""
