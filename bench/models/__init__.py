"""Races of the part `models`."""
