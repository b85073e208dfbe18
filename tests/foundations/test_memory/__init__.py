"""Tests of `lbdl.foundations.memory`."""
