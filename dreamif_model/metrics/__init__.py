"""Fusion metrics on gray images in [0, 255].

``fused``, ``infrared`` and ``visible`` are 2-D arrays of one size, luma (BT.601) of colour
images. Papers differ in the details; these are the definitions used everywhere here. AG, SF and
SD also reward noise, and copies of one source win others (VIFF, CC): never read one alone.
"""

from dreamif_model.metrics.edges import nabf, qabf
from dreamif_model.metrics.gray import GrayInput
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
from dreamif_model.metrics.table import METRICS, Metric, evaluate, evaluate_all, markdown_table
from dreamif_model.metrics.vif import viff

__all__ = [
    "METRICS",
    "GrayInput",
    "Metric",
    "average_gradient",
    "correlation_coefficient",
    "entropy",
    "evaluate",
    "evaluate_all",
    "fusion_psnr",
    "markdown_table",
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
