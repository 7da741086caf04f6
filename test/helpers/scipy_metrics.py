"""The metrics written straight from their definitions with scipy's convolve2d: slow, no tricks.

What `dreamif_model.metrics` is compared with, in values (the tests) and in time
(benchmarks/metrics.py). It shares no code with it.
"""
# ruff: noqa: ARG001 (every metric is called with all three images)

import numpy as np
from scipy.signal import convolve2d

SOBEL_X = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
SOBEL_Y = np.array([[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]])


def average_gradient(fused, infrared, visible):
    padded = np.pad(fused, 1, mode="edge")
    gx = convolve2d(padded[1:-1], [[1, 0, -1]], mode="valid") / 2
    gy = convolve2d(padded[:, 1:-1], [[1], [0], [-1]], mode="valid") / 2
    gx[:, [0, -1]] *= 2  # one-sided: the distance is one pixel
    gy[[0, -1]] *= 2
    return np.sqrt((gx**2 + gy**2) / 2).mean()


def spatial_frequency(fused, infrared, visible):
    rows = convolve2d(fused, [[1, -1]], mode="valid")
    columns = convolve2d(fused, [[1], [-1]], mode="valid")
    return np.sqrt((rows**2).mean() + (columns**2).mean())


def qabf(fused, infrared, visible):
    def edges(image):
        gx = convolve2d(image, SOBEL_X[::-1, ::-1], mode="same")
        gy = convolve2d(image, SOBEL_Y[::-1, ::-1], mode="same")
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.sqrt(gx**2 + gy**2), np.where(gx == 0, np.pi / 2, np.arctan(gy / gx))

    gf, af = edges(fused)
    total = weights = 0.0
    for source in (infrared, visible):
        ga, aa = edges(source)
        with np.errstate(divide="ignore", invalid="ignore"):
            g = np.where(ga > gf, gf / ga, np.where(gf > 0, ga / gf, 0))
        a = 1 - np.abs(aa - af) / (np.pi / 2)
        quality = 0.9994 / (1 + np.exp(-15 * (g - 0.5))) * 0.9879 / (1 + np.exp(-22 * (a - 0.8)))
        total += (quality * ga).sum()
        weights += ga.sum()
    return total / weights


def ssim(fused, infrared, visible):
    window = np.full((7, 7), 1 / 49)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def one(a, b):
        mean_a, mean_b = (convolve2d(image, window, mode="valid") for image in (a, b))
        var_a = (convolve2d(a * a, window, mode="valid") - mean_a**2) * 49 / 48
        var_b = (convolve2d(b * b, window, mode="valid") - mean_b**2) * 49 / 48
        cov = (convolve2d(a * b, window, mode="valid") - mean_a * mean_b) * 49 / 48
        return (
            (2 * mean_a * mean_b + c1)
            * (2 * cov + c2)
            / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
        ).mean()

    return one(infrared, fused) + one(visible, fused)


def viff(fused, infrared, visible):
    def window(side):
        x = np.arange(side) - side // 2
        gaussian = np.exp(-(x[:, None] ** 2 + x**2) / (2 * (side / 5) ** 2))
        return gaussian / gaussian.sum()

    def one(reference, distorted):
        numerator = denominator = 0.0
        for side in (17, 9, 5, 3):
            kernel = window(side)
            if side < 17:
                reference = convolve2d(reference, kernel, mode="valid")[::2, ::2]
                distorted = convolve2d(distorted, kernel, mode="valid")[::2, ::2]
            mean_r = convolve2d(reference, kernel, mode="valid")
            mean_d = convolve2d(distorted, kernel, mode="valid")
            var_r = convolve2d(reference**2, kernel, mode="valid") - mean_r**2
            var_d = convolve2d(distorted**2, kernel, mode="valid") - mean_d**2
            cov = convolve2d(reference * distorted, kernel, mode="valid") - mean_r * mean_d
            var_r[var_r < 0] = 0
            var_d[var_d < 0] = 0
            gain = cov / (var_r + 1e-10)
            rest = var_d - gain * cov
            gain[var_r < 1e-10] = 0
            rest[var_r < 1e-10] = var_d[var_r < 1e-10]
            var_r[var_r < 1e-10] = 0
            gain[var_d < 1e-10] = 0
            rest[var_d < 1e-10] = 0
            rest[gain < 0] = var_d[gain < 0]
            gain[gain < 0] = 0
            rest[rest < 1e-10] = 1e-10
            numerator += np.log10(1 + gain**2 * var_r / (rest + 2)).sum()
            denominator += np.log10(1 + var_r / 2).sum()
        return numerator / denominator

    return one(infrared, fused) + one(visible, fused)


def entropy(fused, infrared, visible):
    shares = np.histogram(fused, 256, (-0.5, 255.5))[0] / fused.size
    shares = shares[shares > 0]
    return -(shares * np.log2(shares)).sum()


def standard_deviation(fused, infrared, visible):
    return np.sqrt(((fused - fused.mean()) ** 2).mean())


def mutual_information(fused, infrared, visible):
    def one(a, b):
        edges = np.arange(257) - 0.5
        joint = np.histogram2d(a.ravel(), b.ravel(), (edges, edges))[0] / a.size
        independent = joint.sum(1)[:, None] * joint.sum(0)
        there = joint > 0
        return (joint[there] * np.log2(joint[there] / independent[there])).sum()

    return one(infrared, fused) + one(visible, fused)


def correlation(a, b):
    a, b = a - a.mean(), b - b.mean()
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())


def scd(fused, infrared, visible):
    return correlation(fused - visible, infrared) + correlation(fused - infrared, visible)


def cc(fused, infrared, visible):
    return (correlation(fused, infrared) + correlation(fused, visible)) / 2


def psnr(fused, infrared, visible):
    error = (((fused - infrared) ** 2).mean() + ((fused - visible) ** 2).mean()) / 2
    return 10 * np.log10(255**2 / error)


def nabf(fused, infrared, visible):
    def edges(image):
        padded = np.pad(image, 1, mode="reflect")
        gx = convolve2d(padded, SOBEL_X / 8, mode="valid")
        gy = convolve2d(padded, SOBEL_Y[::-1] / 8, mode="valid")
        with np.errstate(divide="ignore", invalid="ignore"):
            angle = np.where((gx == 0) & (gy == 0), 0, np.arctan(gx / gy))
        return np.sqrt(gx**2 + gy**2), angle

    gf, af = edges(fused)
    lost, weights, artifact = [], [], np.ones(fused.shape, bool)
    for source in (infrared, visible):
        ga, aa = edges(source)
        artifact &= gf > ga
        with np.errstate(divide="ignore", invalid="ignore"):
            g = np.where((ga == 0) | (gf == 0), 0, np.where(ga > gf, gf / ga, ga / gf))
        a = np.abs(np.abs(aa - af) - np.pi / 2) * 2 / np.pi
        strength = 0.9999 / (1 + np.exp(-19 * (g - 0.5)))
        angle = 0.9995 / (1 + np.exp(-22 * (a - 0.5)))
        lost.append(1 - np.sqrt(strength * angle))
        weights.append(np.where(ga >= 2, ga**1.5, 0.001))
    total = sum(weight.sum() for weight in weights)
    return sum((artifact * o * w).sum() for o, w in zip(lost, weights, strict=True)) / total


METRICS = {
    "AG": average_gradient,
    "SF": spatial_frequency,
    "Qabf": qabf,
    "SSIM": ssim,
    "VIFF": viff,
    "EN": entropy,
    "SD": standard_deviation,
    "MI": mutual_information,
    "SCD": scd,
    "CC": cc,
    "PSNR": psnr,
    "Nabf": nabf,
}


def evaluate(fused, infrared, visible):
    """All metrics of gray images (H, W) in [0, 255]."""
    images = [np.asarray(image, dtype=float) for image in (fused, infrared, visible)]
    return {name: float(metric(*images)) for name, metric in METRICS.items()}
