"""Applications: what the methods of the book are used for, each tried where the answer is known."""
