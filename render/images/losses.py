"""Image losses for high dynamic range: L1, MSE, SMAPE and relative MSE, each with or without a log-sRGB tone curve."""

from __future__ import annotations

import torch

from render.core.color import BRIGHTEST, log_srgb

LOSSES = ("l1", "mse", "smape", "relmse")
TONEMAPPERS = ("none", "log_srgb")

SMAPE_EPSILON = 0.01
RELMSE_EPSILON = 0.1


def image_loss(image: torch.Tensor, target: torch.Tensor, loss: str = "l1", tonemapper: str = "none") -> torch.Tensor:
    """The mean distance of all values of `image` from those of `target`: a scalar, differentiable in both.

    image, target   linear radiance of one shape, any layout, clamped to 0..65535; half floats are compared as float32
    loss            with x and y the values after the tone curve:
                    "l1" |x - y|; "mse" (x - y)^2; "smape" |x - y| / (x + y + 0.01);
                    "relmse" (x - y)^2 / (x^2 + y^2 + 0.1)
    tonemapper      "none", or "log_srgb": sRGB(log(1 + x)), which keeps highlights from ruling the loss

    For noisy Monte-Carlo images the tone curve and L1 are biased; "relmse" without the curve is nearly unbiased. An image
    without pixels has loss 0.

    As in nvdiffrec's kernels, a value outside 0..65535 counts as the nearer of the two, with gradient 0: -inf is black and
    inf is 65535. (nvdiffrec's Python form clamps only for the tone curve.) NaN is not hidden: it makes the loss NaN. At
    exactly 0 nvdiffrec gives no gradient either; ours is the gradient from the right, because without it a black texel
    in the dark would stay black.

    Raises ValueError for an unknown loss or tone curve, for integers, and for shapes that differ: nothing is broadcast.
    """
    if loss not in LOSSES:
        raise ValueError(f"there is no loss {loss!r}: use one of {', '.join(LOSSES)}")
    if tonemapper not in TONEMAPPERS:
        raise ValueError(f"there is no tone curve {tonemapper!r}: use one of {', '.join(TONEMAPPERS)}")
    if image.shape != target.shape:
        raise ValueError(f"image {list(image.shape)} and target {list(target.shape)} must be of one shape")
    if not (image.is_floating_point() and target.is_floating_point()):
        raise ValueError(f"images hold linear floats, not {image.dtype} and {target.dtype}: decode them first")
    if image.numel() == 0:
        return (image.sum() + target.sum()) * 0
    # A half float cannot hold the square of bright radiance.
    image, target = (part if part.dtype == torch.float64 else part.float() for part in (image, target))
    if tonemapper == "log_srgb":
        x, y = log_srgb(image), log_srgb(target)
    else:
        x, y = image.clamp(0, BRIGHTEST), target.clamp(0, BRIGHTEST)
    difference = x - y
    if loss == "l1":
        return difference.abs().mean()
    if loss == "mse":
        return difference.square().mean()
    if loss == "smape":
        return (difference.abs() / (x + y + SMAPE_EPSILON)).mean()
    return (difference.square() / (x.square() + y.square() + RELMSE_EPSILON)).mean()
