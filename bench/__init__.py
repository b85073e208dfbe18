"""The races: each topic of `lbdl` against the package a user would pick instead."""
