"""The CAM methods as pure tensor functions: features and gradients in, raw native maps out.

Each returns maps ``[n, h, w]`` and a dictionary of further tensors ``[n, …]``; a key that is a status name is a flag.
They know no model, no layer and no file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from cxrkeras.errors import MethodError, unknown

Tensor = tf.Tensor
Maps = tuple[Tensor, dict[str, Tensor]]
Rectify = Callable[[Tensor], Tensor]

MIN_CORRELATION = 0.1
MAX_SIGMA_RATIO = 0.99
FLOAT_NOISE = 1e-6


def gradcam(features: Tensor, gradients: Tensor, rectify: Rectify = tf.nn.relu) -> Maps:
    """Grad-CAM: ReLU( Σ_k mean_ij(g_k) · A_k ) (Selvaraju et al. 2017, eq. 1 and 2).

    Args:
        features: A, float32 ``[n, h, w, K]``.
        gradients: g = dz/dA, the same shape.
        rectify: what is applied last, ReLU by definition.
    """
    return rectify(tf.einsum("nhwk,nk->nhw", features, tf.reduce_mean(gradients, (1, 2)))), {}


def gradcam_plus_plus(
    features: Tensor, gradients: Tensor, rectify: Rectify = tf.nn.relu, normalize_alphas: str | None = None
) -> Maps:
    """Grad-CAM++ (Chattopadhay et al. 2018, eq. 19) without ε and without the exponential.

    With pos = g > 0: α = pos / (2 + g · Σ_ab ReLU(A)), w_k = Σ_ij α g, map = ReLU( Σ_k w_k A_k ). The denominator is
    never under 2, so the map is finite at any logit.

    Args:
        features: A, float32 ``[n, h, w, K]``.
        gradients: g = dz/dA, the same shape.
        rectify: what is applied last and to the gradients inside w_k, ReLU by definition.
        normalize_alphas: None, or `positive` to divide α by its sum over the cells with a positive gradient.

    Raises:
        MethodError: another `normalize_alphas`.
    """
    if normalize_alphas not in (None, "positive"):
        raise unknown("normalize_alphas", str(normalize_alphas), ("None", "positive"), MethodError)
    # a gradient that is not a number is no absence of evidence: it stays in, and the map is not finite
    positive = (gradients > 0) | tf.math.is_nan(gradients)
    zeros = tf.zeros_like(gradients)
    evidence = tf.where(positive, gradients, zeros)
    mass = tf.reduce_sum(tf.nn.relu(features), (1, 2), keepdims=True)
    alphas = tf.where(positive, 1 / (2 + evidence * mass), zeros)
    if normalize_alphas == "positive":
        alphas = tf.math.divide_no_nan(alphas, tf.reduce_sum(alphas, (1, 2), keepdims=True))
    weights = tf.reduce_sum(alphas * rectify(evidence), (1, 2))
    return rectify(tf.einsum("nhwk,nk->nhw", features, weights)), {}


def layercam(
    features: Tensor, gradients: Tensor, rectify: Rectify = tf.nn.relu, rectify_gradients: Rectify = tf.nn.relu
) -> Maps:
    """LayerCAM: ReLU( Σ_k ReLU(g_k) ⊙ A_k ) (Jiang et al. 2021, eq. 6 and 7).

    Args:
        features: A, float32 ``[n, h, w, K]``.
        gradients: g = dz/dA, the same shape.
        rectify: what is applied last, ReLU by definition.
        rectify_gradients: what is applied to the gradients, ReLU by definition.
    """
    return rectify(tf.reduce_sum(rectify_gradients(gradients) * features, -1)), {}


def eigencam(features: Tensor, rectify: Rectify = tf.nn.relu) -> Maps:
    """EigenCAM: features projected on their first right singular vector (Muhammad and Yeasin 2020), centred.

    Each channel's mean over the cells is subtracted first. Solved in float64 through the smaller Gram matrix. The sign
    is the one whose correlation with the channel mean is not negative.

    Args:
        features: A, float32 ``[n, h, w, K]``.
        rectify: what is applied last, ReLU by definition.

    Returns:
        Maps ``[n, h, w]``; `correlation` with the channel mean after the sign rule and `sigma_ratio` = σ₂/σ₁, both
        float64 ``[n]``; flag `ambiguous_sign` where the correlation is under .1 or the ratio over .99.
    """
    n, h, w, channels = features.shape
    cells = tf.cast(tf.reshape(features, (n, h * w, channels)), tf.float64)
    finite = tf.reduce_all(tf.math.is_finite(cells), (1, 2))
    cells = tf.where(finite[:, None, None], cells, tf.zeros_like(cells))
    centred = cells - tf.reduce_mean(cells, 1, keepdims=True)
    by_cells = h * w <= channels
    values, vectors = tf.linalg.eigh(tf.matmul(centred, centred, transpose_a=not by_cells, transpose_b=by_cells))
    sigma = tf.sqrt(tf.nn.relu(values))
    first = vectors[:, :, -1]
    projection = first * sigma[:, -1:] if by_cells else tf.linalg.matvec(centred, first)
    reference = tf.reduce_mean(centred, -1)
    norms = tf.norm(projection, axis=-1) * tf.norm(reference, axis=-1)
    correlation = tf.math.divide_no_nan(tf.reduce_sum(projection * reference, -1), norms)
    sign = tf.where(correlation < 0, -tf.ones_like(correlation), tf.ones_like(correlation))
    # below float32 resolution the direction is rounding noise, not a pattern
    sign = tf.where(sigma[:, -1] <= FLOAT_NOISE * tf.norm(cells, axis=(1, 2)), tf.zeros_like(sign), sign)
    projection *= sign[:, None]
    second = sigma[:, -2] if sigma.shape[-1] > 1 else tf.zeros_like(sigma[:, -1])
    ratio = tf.math.divide_no_nan(second, sigma[:, -1])
    maps = rectify(tf.cast(tf.reshape(projection, (n, h, w)), tf.float32))
    extras = {"correlation": tf.abs(correlation), "sigma_ratio": ratio}
    extras["ambiguous_sign"] = (extras["correlation"] < MIN_CORRELATION) | (ratio > MAX_SIGMA_RATIO)
    return tf.where(finite[:, None, None], maps, tf.fill(tf.shape(maps), float("nan"))), extras


def saliency(films: Tensor, gradients: Tensor) -> Maps:
    """Vanilla gradient: max over the channels of |dz/dx| (Simonyan et al. 2014, section 3.1).

    Args:
        films: x, the model's input ``[n, H, W, C]``; the map does not depend on it.
        gradients: dz/dx, the same shape.
    """
    del films
    return tf.reduce_max(tf.abs(gradients), -1), {}


def fused_levels(levels: Sequence[Tensor], fusion: str = "mean", level_weights: Sequence[float] | None = None) -> Maps:
    """Join maps of several depths: resize to the finest grid, min-max each, then their weighted mean or maximum.

    Min-max comes after the resizing (before it, a one-cell peak would fall to .77). A degenerate level is left out of
    its film and the remaining weights renormalised.

    Args:
        levels: raw maps ``[n, h_l, w_l]``.
        fusion: `mean` or `max`.
        level_weights: one per level, None for equal weights; used by `mean`.

    Returns:
        Maps ``[n, h, w]`` at the finest grid, in 0..1; `levels_used` bool ``[n, n_levels]``.

    Raises:
        MethodError: an unknown fusion, or weights that do not fit the levels.
    """
    if fusion not in ("mean", "max"):
        raise unknown("fusion", fusion, ("mean", "max"), MethodError)
    weights = [1.0] * len(levels) if level_weights is None else [float(weight) for weight in level_weights]
    if len(weights) != len(levels) or min(weights) < 0 or sum(weights) == 0:
        raise MethodError(
            f"level_weights do not fit: expected {len(levels)} weights, none negative and not all zero; "
            f"received {weights}. Give one per layer, finest first."
        )
    if fusion == "max" and level_weights is not None:
        raise MethodError("level_weights weigh a mean. Expected fusion='mean', or no weights; received fusion='max'.")
    scaled, used = zip(*(_unit(_resized(level, _finest(levels))) for level in levels), strict=True)
    maps, valid = tf.stack(scaled, -1), tf.stack(used, -1)
    if fusion == "max":
        return tf.reduce_max(maps, -1), {"levels_used": valid}
    share = tf.constant(weights) * tf.cast(valid, tf.float32)
    share = tf.math.divide_no_nan(share, tf.reduce_sum(share, -1, keepdims=True))
    return tf.einsum("nhwl,nl->nhw", maps, share), {"levels_used": valid}


def scaled_maximum(levels: Sequence[Tensor], layercam_gamma: float = 2.0) -> Maps:
    """Join LayerCAM maps of several layers: element-wise maximum of tanh(γ · M / max M) (Jiang et al. 2021, eq. 9).

    Args:
        levels: raw maps ``[n, h_l, w_l]``; resized to the finest grid first.
        layercam_gamma: γ, the paper's 2.

    Returns:
        Maps ``[n, h, w]`` at the finest grid; a level whose maximum is 0 adds zeros.
    """
    resized = [_resized(level, _finest(levels)) for level in levels]
    scaled = [
        tf.tanh(layercam_gamma * tf.math.divide_no_nan(level, tf.reduce_max(level, (1, 2), keepdims=True)))
        for level in resized
    ]
    return tf.reduce_max(tf.stack(scaled, -1), -1), {}


def _finest(levels: Sequence[Tensor]) -> Sequence[int]:
    return max((level.shape[1:] for level in levels), key=lambda grid: grid[0] * grid[1])


def _resized(maps: Tensor, grid: Sequence[int]) -> Tensor:
    return tf.image.resize(maps[..., None], tuple(grid))[..., 0]


def _unit(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Min-max maps ``[n, h, w]``; also which of them have any contrast (`cxrkeras.maps.degenerate`'s rule)."""
    low, high = tf.reduce_min(maps, (1, 2)), tf.reduce_max(maps, (1, 2))
    valid = tf.math.is_finite(high - low) & (high - low > FLOAT_NOISE * tf.maximum(tf.abs(low), tf.abs(high)))
    span = tf.where(valid, high - low, tf.ones_like(high))[:, None, None]
    scaled = (maps - low[:, None, None]) / span
    return tf.where(valid[:, None, None], scaled, tf.zeros_like(scaled)), valid
