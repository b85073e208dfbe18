"""Models: from building blocks to attention, state spaces, and the maps that end in
probabilities."""
