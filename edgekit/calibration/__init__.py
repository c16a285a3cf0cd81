"""Calibration: data that fits a model, observers, and the ranges they find."""

from edgekit.calibration.calibrate import calibrate, graph_hash
from edgekit.calibration.data import DataLike, DataSource, open_data
from edgekit.calibration.ranges import Ranges, TensorRange

__all__ = [
    "DataLike",
    "DataSource",
    "Ranges",
    "TensorRange",
    "calibrate",
    "graph_hash",
    "open_data",
]
