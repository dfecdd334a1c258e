"""Pictures that are not of this world: what the judges learn to call "other", and what asks whether they do."""

import math

import torch
import torch.nn.functional as F
from skimage import data as photographs
from sklearn.datasets import load_sample_image

# Pictures that ship with scikit-image: not of this world
REAL = "astronaut brick camera cell chelsea coffee coins grass gravel hubble_deep_field moon page rocket text".split()


def not_of_this_world(x, style):
    """Pictures of the class "other", as many as `x` (B, 3, 64, 64) has: noise, patterns, photographs, `x` spoilt."""
    kinds, made = torch.randint(0, 12, (len(x),)), []
    grid = torch.linspace(-1, 1, 64)
    for i, kind in enumerate(kinds.tolist()):
        own, other, colour = x[i], x[int(torch.randint(len(x), ()))], torch.rand(3, 1, 1)
        if kind == 0:
            made.append(torch.rand(3, 64, 64) if i % 2 else 0.5 + 0.25 * torch.randn(3, 64, 64))
        elif kind == 1:
            made.append((colour + 0.3 * torch.rand(3, 1, 1) * grid.view(1, 1, -1)).expand(3, 64, 64))
        elif kind == 2:  # clouds of noise
            side = int(2 ** torch.randint(1, 6, ()))
            made.append(F.interpolate(torch.rand(1, 3, side, side), (64, 64), mode="bicubic")[0])
        elif kind == 3:
            photograph = PHOTOGRAPHS[int(torch.randint(len(PHOTOGRAPHS), ()))]
            at = [int(torch.randint(size - 63, ())) for size in photograph.shape[1:]]
            crop = photograph[:, at[0] : at[0] + 64, at[1] : at[1] + 64]
            crop = crop.mean(dim=0, keepdim=True).expand(3, -1, -1) if torch.rand(()) < 0.3 else crop
            made.append(crop ** float(0.6 + torch.rand(())))
        elif kind == 4:  # two contents over each other
            made.append(0.5 * own + 0.5 * other.flip(-1))
        elif kind == 5:  # patches in disorder
            patches = own.unfold(1, 16, 16).unfold(2, 16, 16).reshape(3, 16, 16, 16)[:, torch.randperm(16)]
            made.append(patches.view(3, 4, 4, 16, 16).permute(0, 1, 3, 2, 4).reshape(3, 64, 64))
        elif kind == 6:  # noise in which the picture drowns
            made.append(own * 0.4 + 0.3 + 0.35 * torch.randn(3, 64, 64))
        elif kind == 7:  # blurred beyond reading
            made.append(F.interpolate(F.avg_pool2d(own[None], 8), (64, 64), mode="bicubic")[0])
        elif kind == 8:
            made.append((1 - own) if int(style[i]) in (0, 3, 4) else own * colour * 1.2)  # a negative, a tinted drawing
        elif kind == 9:  # waves over waves, in a few colours
            made.append(toned(sum(waves() for _ in range(int(torch.randint(1, 5, ()))))))
        elif kind == 10:  # discs and half planes over each other, some with waves
            field = torch.zeros(64, 64)
            for _ in range(int(torch.randint(2, 9, ()))):
                disc = (grid[:, None] - signed()) ** 2 + (grid - signed()) ** 2 < 0.5 * signed() ** 2
                inside = disc if signed() > 0 else waves() > 0
                field = torch.where(inside, signed() + 0.3 * waves() * (signed() > 0), field)
            made.append(toned(field))
        else:  # half a picture of the world, half a photograph
            photograph = PHOTOGRAPHS[int(torch.randint(len(PHOTOGRAPHS), ()))][:, :64, :64]
            turn = math.pi * signed()
            line = math.cos(turn) * grid[:, None] + math.sin(turn) * grid > 0.3 * signed()
            made.append(torch.where(line, own, photograph))
    return torch.stack(made).clamp(0, 1)


def signed():
    """A number in [-1, 1)."""
    return 2 * float(torch.rand(())) - 1


def waves():
    """A plane wave (64, 64) of random direction, phase and frequency, with up to 14 periods."""
    grid = torch.linspace(-1, 1, 64)
    return torch.sin(14 * math.pi * (signed() ** 3 * grid[:, None] + signed() ** 3 * grid) + 3 * signed())


def toned(field):
    """A picture (3, 64, 64) of a field (64, 64): from one random colour to another, in any contrast."""
    field = (field - field.min()) / (field.max() - field.min() + 1e-6)
    return torch.lerp(torch.rand(3, 1, 1), torch.rand(3, 1, 1), field)


def _photographs():
    pictures = []
    for name in REAL:
        whole = torch.from_numpy(getattr(photographs, name)().copy()).float()[None] / 255
        whole = whole[:, None].expand(-1, 3, -1, -1) if whole.ndim == 3 else whole.permute(0, 3, 1, 2)
        pictures += [
            F.interpolate(whole, size=(side, side), antialias=True, mode="bilinear")[0] for side in (72, 120, 200)
        ]
    return pictures


PHOTOGRAPHS = _photographs()


def unseen():
    """Pictures that ship with scikit-learn and scikit-image and are in no training: uint8 (H, W, 3) each."""
    return [load_sample_image("flower.jpg"), photographs.immunohistochemistry(), photographs.retina()]
