"""What a chapter calls: device, scale, seeds, data, the training loop."""

from lbdl.core import data
from lbdl.core.data import Dataset, Splits
from lbdl.core.devices import device
from lbdl.core.scales import scale
from lbdl.core.seeds import generator, seed, seed_everything
from lbdl.core.training import History, accuracy, train

__all__ = [
    "Dataset",
    "History",
    "Splits",
    "accuracy",
    "data",
    "device",
    "generator",
    "scale",
    "seed",
    "seed_everything",
    "train",
]
