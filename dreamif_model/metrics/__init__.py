"""Fusion metrics on gray images with levels in [0, 255].

``fused``, ``infrared`` and ``visible`` are (H, W) arrays of one size, of any type of number; take
the luma (BT.601) of colour images. Papers differ in details: the docstrings have the definitions
used here. AG, SF and SD also reward noise, and a copy of one source wins VIFF and CC, so always
read several metrics.
"""

from dreamif_model.metrics.edges import nabf, qabf
from dreamif_model.metrics.statistics import (
    average_gradient,
    correlation_coefficient,
    entropy,
    fusion_psnr,
    mutual_information,
    psnr,
    spatial_frequency,
    ssim,
    standard_deviation,
    sum_of_correlations_of_differences,
)
from dreamif_model.metrics.table import METRICS, Metric, evaluate, evaluate_all
from dreamif_model.metrics.vif import viff

__all__ = [
    "METRICS",
    "Metric",
    "average_gradient",
    "correlation_coefficient",
    "entropy",
    "evaluate",
    "evaluate_all",
    "fusion_psnr",
    "mutual_information",
    "nabf",
    "psnr",
    "qabf",
    "spatial_frequency",
    "ssim",
    "standard_deviation",
    "sum_of_correlations_of_differences",
    "viff",
]
