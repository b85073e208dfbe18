"""Applications: what the methods are used for, each tried on known answers."""
