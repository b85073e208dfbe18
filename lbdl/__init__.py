"""The library behind the Little Executable Book of Deep Learning."""

__version__ = "0.1.0"
