"""Frontiers: methods of recent papers, each derived and tried."""
