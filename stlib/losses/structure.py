"""Structure: what of a picture an art keeps when it changes the style. Pure functions of pictures in [0, 1]."""

from kornia import filters

GREY = (0.299, 0.587, 0.114)  # luma of red, green, blue (ITU-R BT.601)


def edges(x, half=0.05, sigma=1.0):
    """How much of an edge is at each pixel: pictures (B, 1 or 3, H, W) in [0, 1] -> (B, 1, H, W) in [0, 1).

    The squared Sobel gradient g of the grey picture, blurred by `sigma` pixels against noise, as g / (g + half^2): 0.5
    where brightness changes by `half` a pixel. It stands where official codes have HED (Xie and Tu 2015), a network
    whose weights cannot come with the course. Differentiable everywhere. Raises ValueError for another shape.
    """
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(f"Edges are of pictures (B, 1 or 3, H, W); got a shape of {tuple(x.shape)}.")
    grey = x if x.shape[1] == 1 else (x * x.new_tensor(GREY).view(3, 1, 1)).sum(dim=1, keepdim=True)
    if sigma:
        size = 2 * round(3 * sigma) + 1
        grey = filters.gaussian_blur2d(grey, (size, size), (sigma, sigma))
    g = filters.spatial_gradient(grey).square().sum(dim=2)  # Sobel, normalised: in brightness a pixel
    return g / (g + half**2)
