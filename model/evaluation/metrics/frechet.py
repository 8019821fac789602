"""The Frechet distance between two sets of features: FID and FVD, once the features are there."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
from scipy.linalg import sqrtm

_RIDGE = 1e-6
_MAX_IMAGINARY = 1e-3


def frechet_distance(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    """Distance of the Gaussians fitted to two feature sets `[n, D]` and `[m, D]`.

    Means stay in the features' precision, covariances (n - 1) are float64, and the square root is that of the plain
    product, as the published numbers were made. Fewer samples than features make it ill-conditioned.
    Raises: ValueError when the root of the product is not real.
    Source: "GANs Trained by a Two Time-Scale Update Rule ...", eq. 6.
    """
    shift = first.mean(axis=0) - second.mean(axis=0)
    covariances = (np.atleast_2d(np.cov(first, rowvar=False)), np.atleast_2d(np.cov(second, rowvar=False)))
    root = _root(covariances[0] @ covariances[1])
    if not np.isfinite(root).all():
        ridge = _RIDGE * np.eye(len(root))
        root = _root((covariances[0] + ridge) @ (covariances[1] + ridge))
    if np.iscomplexobj(root) and np.abs(np.diagonal(root).imag).max() > _MAX_IMAGINARY:
        raise ValueError("the square root of the covariances' product is not real")
    trace = np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * np.trace(root.real)
    return float(shift @ shift + trace)


def _root(product: npt.NDArray[np.float64]) -> npt.NDArray[np.complex128]:
    with warnings.catch_warnings():
        # A singular product is announced on every call; its root is checked by the caller.
        warnings.simplefilter("ignore")
        return np.asarray(sqrtm(product), dtype=np.complex128)
