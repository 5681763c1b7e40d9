"""Scenes of the little world drawn as pictures of 128×128 pixels."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from starter.world import (
    COLOURS,
    RADII_PX,
    SIDE,
    TWO_RADIUS_PX,
    Ground,
    Scene,
    Thing,
)

_SCALE = 2
"""Drawn at twice the size, then reduced, for smooth edges."""
_CANVAS = SIDE * _SCALE
_CELL_PX = 8
"""A block of pixel art, on the picture's own raster."""

# Each silhouette: polygons in [-1, 1] (y grows downwards), drawn in turn as solid or as a hole.
Polygon = np.ndarray
Outline = tuple[tuple[Polygon, bool], ...]


def _ellipse(cx: float, cy: float, rx: float, ry: float, a: float = 0, b: float = 360) -> Polygon:
    angles = np.radians(np.linspace(a, b, 48))
    return np.stack([cx + rx * np.cos(angles), cy + ry * np.sin(angles)], axis=1)


def _points(*pairs: tuple[float, float]) -> Polygon:
    return np.array(pairs, dtype=float)


def _star() -> Polygon:
    angles = np.radians(-90 + 36 * np.arange(10))
    radii = np.where(np.arange(10) % 2 == 0, 1.08, 0.47)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _heart() -> Polygon:
    t = np.linspace(0, 2 * np.pi, 72)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([np.sin(t) ** 3, -(y + 2.5) / 15], axis=1)


def _flower() -> Polygon:
    t = np.linspace(0, 2 * np.pi, 120)
    radius = 0.74 + 0.3 * np.cos(5 * (t + np.pi / 2))
    return np.stack([radius * np.cos(t), radius * np.sin(t)], axis=1)


def outlines() -> dict[str, Outline]:
    """Return every shape's silhouette: polygons ``[n, 2]`` in -1..1, each solid (True) or a
    hole."""
    w = 0.34
    cross = _points(
        (-w, -1), (w, -1), (w, -w), (1, -w), (1, w), (w, w),
        (w, 1), (-w, 1), (-w, w), (-1, w), (-1, -w), (-w, -w),
    )  # fmt: skip
    arrow = _points(
        (-1, -0.3), (0.1, -0.3), (0.1, -0.8), (1.05, 0), (0.1, 0.8), (0.1, 0.3), (-1, 0.3)
    )
    solid: dict[str, tuple[Polygon, ...]] = {
        "circle": (_ellipse(0, 0, 0.95, 0.95),),
        "square": (_points((-0.84, -0.84), (0.84, -0.84), (0.84, 0.84), (-0.84, 0.84)),),
        "triangle": (_points((0, -0.98), (1.05, 0.82), (-1.05, 0.82)),),
        "star": (_star(),),
        "diamond": (_points((0, -1.1), (0.72, 0), (0, 1.1), (-0.72, 0)),),
        "heart": (_heart(),),
        "flower": (_flower(),),
        "cross": (cross,),
        "house": (
            _points((-0.72, -0.15), (0.72, -0.15), (0.72, 0.9), (-0.72, 0.9)),
            _points((0, -1.05), (1.05, -0.1), (-1.05, -0.1)),
            _points((0.4, -0.95), (0.68, -0.95), (0.68, -0.2), (0.4, -0.2)),
        ),
        "arrow": (arrow,),
        "mushroom": (
            _ellipse(0, 0.08, 1.02, 1.0, 180, 360),
            _points((-0.3, 0), (0.3, 0), (0.38, 0.95), (-0.38, 0.95)),
        ),
        "fish": (
            _ellipse(-0.22, 0, 0.85, 0.6),
            _points((0.35, 0), (1.08, -0.62), (1.08, 0.62)),
        ),
    }
    shapes: dict[str, Outline] = {
        name: tuple((polygon, True) for polygon in polygons) for name, polygons in solid.items()
    }
    shapes["moon"] = (
        (_ellipse(-0.05, 0, 0.98, 0.98), True),
        (_ellipse(0.42, -0.1, 0.8, 0.8), False),
    )
    shapes["ring"] = ((_ellipse(0, 0, 1.0, 1.0), True), (_ellipse(0, 0, 0.52, 0.52), False))
    shapes["house"] += ((_points((-0.2, 0.3), (0.2, 0.3), (0.2, 0.92), (-0.2, 0.92)), False),)
    shapes["fish"] += ((_ellipse(-0.62, -0.14, 0.12, 0.12), False),)
    return shapes


def _mask(outline: Outline, centre: np.ndarray, radius: float, turn: float) -> Image.Image:
    mask = Image.new("L", (_CANVAS, _CANVAS), 0)
    pen = ImageDraw.Draw(mask)
    spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    for polygon, solid in outline:
        placed = (polygon @ spin * radius + centre) * _SCALE
        pen.polygon([(float(x), float(y)) for x, y in placed], fill=255 if solid else 0)
    return mask


def _colour(name: str, rng: np.random.Generator) -> np.ndarray:
    return np.clip(np.array(COLOURS[name], np.float32) + rng.uniform(-7, 7, 3), 0, 255)


def _pattern(thing: Thing, centre: np.ndarray, style: str) -> np.ndarray:
    """Return where the second colour of a fill lies: bool ``[256, 256]``.

    It covers less than the first, so that a picture shows which is which; but half of the blocks
    of checkered pixel art.
    """
    y, x = np.mgrid[:_CANVAS, :_CANVAS].astype(np.float32) / _SCALE
    x, y = x - centre[0], y - centre[1]
    if style == "pixel art":
        column, row = np.floor(x / _CELL_PX), np.floor(y / _CELL_PX)
        across, down = column % 2 == 1, row % 2 == 1
        stripes = column % 3 == 1
        return {"striped": stripes, "checkered": across ^ down, "dotted": across & down}[thing.fill]
    if thing.fill == "striped":
        return (x + 16) % 24 < 8
    if thing.fill == "checkered":
        cell = np.floor(x / 16) + np.floor(y / 16)
        inner = np.maximum(np.abs(x % 16 - 8), np.abs(y % 16 - 8)) < 6.5
        return (cell % 2 == 1) & inner
    u, v = (x + 10) % 20 - 10, (y + 10) % 20 - 10
    return u * u + v * v < 6.5**2


def _paint_ground(ground: Ground, rng: np.random.Generator) -> np.ndarray:
    """Return the background, float32 ``[256, 256, 3]`` in 0..255."""
    rows = np.linspace(0, 1, _CANVAS, dtype=np.float32)[:, None, None]
    full = np.ones((_CANVAS, _CANVAS, 1), np.float32)
    if ground.kind == "plain":
        return _colour(ground.colour, rng) * full
    if ground.kind == "gradient":
        first, second = _colour(ground.colour, rng), _colour(ground.second, rng)
        return (first * (1 - rows) + second * rows) * full
    if ground.kind == "striped":
        band = (np.floor(np.arange(_CANVAS) / (16 * _SCALE)) % 2)[:, None, None]
        return (
            _colour(ground.colour, rng) * (1 - band) + _colour(ground.second, rng) * band
        ) * full
    if ground.kind == "night sky":
        sky = (np.array((14, 18, 52)) * (1 - rows) + np.array((48, 36, 100)) * rows) * full
        picture = Image.fromarray(sky.astype(np.uint8))
        pen = ImageDraw.Draw(picture)
        for x, y, r in rng.uniform((6, 6, 3.2), (250, 250, 5.5), (11, 3)):
            pen.ellipse((x - r, y - r, x + r, y + r), fill=(255, 244, 190))
        return np.asarray(picture, np.float32)
    horizon = rng.uniform(0.58, 0.7) * _CANVAS
    columns = np.arange(_CANVAS)[None, :]
    hill = horizon + 10 * np.sin(columns / 40 + rng.uniform(0, 6))
    grass = (np.arange(_CANVAS)[:, None] > hill)[..., None]
    return np.where(grass, np.array((110, 190, 85)), np.array((150, 208, 246))).astype(np.float32)


def _blurred(mask: Image.Image, radius_px: float) -> np.ndarray:
    soft = mask.filter(ImageFilter.GaussianBlur(radius_px * _SCALE))
    return np.asarray(soft, np.float32)[..., None] / 255


def _rim(mask: Image.Image, width_px: float) -> np.ndarray:
    """Return a band along the silhouette's edge, float32 ``[256, 256, 1]`` in 0..1."""
    return np.clip(2.4 - 4.4 * np.abs(_blurred(mask, width_px) - 0.5) * 1.6, 0, 1)


def _add_thing(
    canvas: np.ndarray, thing: Thing, mask: Image.Image, centre: np.ndarray, style: str,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    colour = _colour(thing.colour, rng)
    paint = np.broadcast_to(colour, canvas.shape)
    if thing.fill != "plain":
        pattern = _pattern(thing, centre, style)[..., None]
        paint = np.where(pattern, _colour(thing.accent, rng), colour)
    cover = np.asarray(mask, np.float32)[..., None] / 255
    if style == "neon":
        glow = np.clip(_blurred(mask, 7) * 0.75, 0, 1)
        canvas = canvas * (1 - glow) + (0.85 * colour + 10) * glow
        canvas = canvas * (1 - cover) + 0.42 * paint * cover
        rim = _rim(mask, 1.6)
        return canvas * (1 - rim) + (0.75 * colour + 0.25 * 255) * rim
    if style == "sketch":
        slipped = np.roll(cover, (3 * _SCALE, -3 * _SCALE), (0, 1))
        canvas = canvas * (1 - slipped) + (0.8 * paint + 0.2 * 255) * slipped
        rim = _rim(mask, 1.1)
        return canvas * (1 - rim) + 45 * rim
    if style == "watercolor":
        soft = np.clip(1.6 * _blurred(mask, 2.2) - 0.3, 0, 1)
        rim = 4 * soft * (1 - soft)
        canvas = canvas * (1 - soft) + (0.86 * paint + 0.14 * 255) * soft
        return canvas * (1 - 0.32 * rim)
    return canvas * (1 - cover) + paint * cover


def _finish(canvas: np.ndarray, scene: Scene, rng: np.random.Generator) -> Image.Image:
    picture = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8)).reduce(_SCALE)
    if scene.style == "watercolor":
        noise = Image.fromarray(rng.uniform(0, 255, (5, 5)).astype(np.uint8))
        wash = np.asarray(noise.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32) / 255
        white = (0.05 + 0.27 * wash)[..., None]
        mixed = np.asarray(picture, np.float32) * (1 - white) + 255 * white
        picture = Image.fromarray(mixed.astype(np.uint8))
    elif scene.style == "pixel art":
        cells = (SIDE // _CELL_PX, SIDE // _CELL_PX)
        small = picture.resize(cells, Image.Resampling.NEAREST)
        picture = small.resize((SIDE, SIDE), Image.Resampling.NEAREST)
    if scene.hazy:
        faded = np.asarray(picture.filter(ImageFilter.GaussianBlur(2.5)), np.float32)
        picture = Image.fromarray((faded * 0.4 + 165 * 0.6).astype(np.uint8))
    return picture


def centres(scene: Scene, rng: np.random.Generator) -> list[tuple[np.ndarray, float]]:
    """Return where each thing stands: its centre (x, y) and its radius, in pixels."""
    middle = np.array([SIDE / 2, SIDE / 2])
    if scene.style == "pixel art":  # coarse, so larger, and on the raster
        apart = {"single": (0, 0), "beside": (32, 0), "above": (0, 32)}[scene.relation]
        sides = (0,) if scene.relation == "single" else (-1, 1)
        radii = [1.2 * RADII_PX[scene.things[0].size]] if sides == (0,) else [27.0, 27.0]
        moved = middle + _CELL_PX * rng.integers(-1, 2, 2) * (sides == (0,))
        return [(moved + side * np.array(apart), r) for side, r in zip(sides, radii, strict=True)]
    if scene.relation == "single":
        return [(middle + rng.uniform(-5, 5, 2), RADII_PX[scene.things[0].size])]
    apart = np.array([31.0, 0.0]) if scene.relation == "beside" else np.array([0.0, 31.0])
    return [(middle + side * apart + rng.uniform(-2, 2, 2), TWO_RADIUS_PX) for side in (-1, 1)]


def draw(scene: Scene, rng: np.random.Generator) -> Image.Image:
    """Return the scene as an RGB picture of 128×128; ``rng`` decides place, tilt and shades."""
    canvas = _paint_ground(scene.ground, rng)
    if scene.style == "neon":
        canvas = canvas * 0.4
    elif scene.style == "sketch":
        canvas = canvas * 0.5 + 255 * 0.5
    shapes = outlines()
    for thing, (centre, radius) in zip(scene.things, centres(scene, rng), strict=True):
        turn = 0.0 if scene.style == "pixel art" else rng.uniform(-0.12, 0.12)
        mask = _mask(shapes[thing.shape], centre, radius, turn)
        canvas = _add_thing(canvas, thing, mask, centre, scene.style, rng)
    return _finish(canvas, scene, rng)
