"""Scenes of the little world drawn as pictures of 256×256 pixels."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from starter.world import (
    COLOURS,
    COUNTS,
    RADII_PX,
    SIDE,
    THREE_RADIUS_PX,
    TWO_RADIUS_PX,
    Ground,
    Scene,
    Thing,
)

_SCALE = 4
"""Silhouettes are drawn this many times larger, then reduced, for smooth edges."""
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


def _everyday_things() -> dict[str, tuple[Polygon, ...]]:
    """Return the solid parts of things that people ask for first."""
    return {
        "tree": (
            _points((-0.15, 0.2), (0.15, 0.2), (0.22, 1.02), (-0.22, 1.02)),
            _ellipse(-0.44, -0.06, 0.54, 0.46),
            _ellipse(0.44, -0.06, 0.54, 0.46),
            _ellipse(0, -0.5, 0.6, 0.56),
        ),
        "cat": (
            _ellipse(-0.05, 0.55, 0.56, 0.5),
            _ellipse(-0.12, -0.28, 0.52, 0.46),
            _points((-0.62, -0.35), (-0.6, -1.02), (-0.2, -0.66)),
            _points((0.38, -0.35), (0.36, -1.02), (-0.04, -0.66)),
            _points((0.3, 0.72), (0.62, 0.62), (0.7, 0.3), (0.62, -0.12), (0.76, -0.26),
                    (0.9, -0.14), (0.98, 0.3), (0.84, 0.78), (0.4, 1.02)),
        ),
        "car": (
            _points((-1.05, 0), (-0.62, -0.05), (-0.4, -0.58), (0.42, -0.58),
                    (0.72, -0.05), (1.05, 0.08), (1.05, 0.46), (-1.05, 0.46)),
            _ellipse(-0.56, 0.5, 0.27, 0.27),
            _ellipse(0.56, 0.5, 0.27, 0.27),
        ),
        "boat": (
            _points((-1.02, 0.42), (1.02, 0.42), (0.68, 0.95), (-0.68, 0.95)),
            _points((-0.06, -1.0), (0.06, -1.0), (0.06, 0.5), (-0.06, 0.5)),
            _points((0.14, -0.92), (0.86, 0.26), (0.14, 0.26)),
            _points((-0.14, -0.7), (-0.14, 0.26), (-0.72, 0.26)),
        ),
        "cup": (_points((-0.8, -0.66), (0.6, -0.66), (0.44, 0.8), (-0.64, 0.8)),),
    }  # fmt: skip


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
    solid |= _everyday_things()
    shapes: dict[str, Outline] = {
        name: tuple((polygon, True) for polygon in polygons) for name, polygons in solid.items()
    }
    shapes["moon"] = (
        (_ellipse(-0.05, 0, 0.98, 0.98), True),
        (_ellipse(0.42, -0.1, 0.8, 0.8), False),
    )
    shapes["ring"] = ((_ellipse(0, 0, 1.0, 1.0), True), (_ellipse(0, 0, 0.52, 0.52), False))
    holes: dict[str, tuple[Polygon, ...]] = {
        "house": (_points((-0.2, 0.35), (0.2, 0.35), (0.2, 0.92), (-0.2, 0.92)),),
        "fish": (_ellipse(-0.62, -0.14, 0.11, 0.11),),
        "cat": (_ellipse(-0.3, -0.3, 0.1, 0.14), _ellipse(0.06, -0.3, 0.1, 0.14)),
        "car": (
            _points((-0.48, -0.05), (-0.32, -0.42), (-0.02, -0.42), (-0.02, -0.05)),
            _points((0.12, -0.05), (0.12, -0.42), (0.36, -0.42), (0.54, -0.05)),
            _ellipse(-0.56, 0.5, 0.11, 0.11),
            _ellipse(0.56, 0.5, 0.11, 0.11),
        ),
    }
    for name, polygons in holes.items():
        shapes[name] += tuple((polygon, False) for polygon in polygons)
    handle = ((_ellipse(0.6, 0.0, 0.42, 0.42), True), (_ellipse(0.6, 0.0, 0.22, 0.22), False))
    shapes["cup"] = handle + shapes["cup"]
    return shapes


def _mask(outline: Outline, centre: np.ndarray, radius: float, turn: float) -> Image.Image:
    mask = Image.new("L", (SIDE * _SCALE, SIDE * _SCALE), 0)
    pen = ImageDraw.Draw(mask)
    spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    for polygon, solid in outline:
        placed = (polygon @ spin * radius + centre) * _SCALE
        pen.polygon([(float(x), float(y)) for x, y in placed], fill=255 if solid else 0)
    return mask.reduce(_SCALE)


def _colour(name: str, rng: np.random.Generator) -> np.ndarray:
    return np.clip(np.array(COLOURS[name], np.float32) + rng.uniform(-7, 7, 3), 0, 255)


def _inside(distance_px: np.ndarray) -> np.ndarray:
    """Return how much of a pixel lies inside an edge, 0..1; distances grow inwards."""
    return np.clip(distance_px + 0.5, 0, 1)


def _pattern(thing: Thing, centre: np.ndarray, radius: float, style: str) -> np.ndarray:
    """Return how much of each pixel has the second colour of a fill: float ``[256, 256]``, 0..1.

    It covers less than the first, so that a picture shows which is which; but half of the blocks
    of checkered pixel art. Its parts grow with the object, but for pixel art's.
    """
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) + 0.5
    x, y = x - centre[0], y - centre[1]
    if style == "pixel art":
        block = 2 * _CELL_PX
        column, row = np.floor(x / block), np.floor(y / block)
        across, down = column % 2 == 1, row % 2 == 1
        stripes = column % 3 == 0
        chosen = {"striped": stripes, "checkered": across ^ down, "dotted": across & down}
        return chosen[thing.fill].astype(np.float32)
    unit = 40.0 * (radius / 66.0) ** 0.5
    if thing.fill == "striped":
        return _inside(unit / 6 - np.abs((x + unit / 2) % unit - unit / 2))
    if thing.fill == "checkered":
        side = 0.72 * unit
        cell = np.floor(x / side) + np.floor(y / side)
        edge = np.maximum(np.abs(x % side - side / 2), np.abs(y % side - side / 2))
        return _inside(0.41 * side - edge) * (cell % 2 == 1)
    u, v = (x + unit / 2) % unit - unit / 2, (y + unit / 2) % unit - unit / 2
    return _inside(0.32 * unit - np.hypot(u, v))


def _dots(rng: np.random.Generator, low: float, high: float, smallest: float, largest: float,
    count: int,
) -> np.ndarray:  # fmt: skip
    """Return discs strewn between two heights, each height 0..1: cover ``[256, 256, 1]``."""
    mask = Image.new("L", (SIDE * _SCALE, SIDE * _SCALE), 0)
    pen = ImageDraw.Draw(mask)
    edge = SIDE * _SCALE
    for x, y, r in rng.uniform((0.02, low, smallest), (0.98, high, largest), (count, 3)):
        x, y, r = x * edge, y * edge, r * _SCALE
        pen.ellipse((x - r, y - r, x + r, y + r), fill=255)
    return np.asarray(mask.reduce(_SCALE), np.float32)[..., None] / 255


def _paint_ground(ground: Ground, rng: np.random.Generator) -> np.ndarray:
    """Return the background, float32 ``[256, 256, 3]`` in 0..255."""
    rows = np.linspace(0, 1, SIDE, dtype=np.float32)[:, None, None]
    full = np.ones((SIDE, SIDE, 1), np.float32)
    if ground.kind == "plain":
        return _colour(ground.colour, rng) * full
    if ground.kind == "gradient":
        first, second = _colour(ground.colour, rng), _colour(ground.second, rng)
        return (first * (1 - rows) + second * rows) * full
    if ground.kind == "striped":
        band = (np.floor(np.arange(SIDE) / 32) % 2)[:, None, None]
        return (
            _colour(ground.colour, rng) * (1 - band) + _colour(ground.second, rng) * band
        ) * full
    if ground.kind == "night sky":
        sky = (np.array((14, 18, 52)) * (1 - rows) + np.array((48, 36, 100)) * rows) * full
        stars = np.maximum(_dots(rng, 0, 1, 3.2, 5.0, 9), _dots(rng, 0, 1, 1.6, 2.6, 14))
        return sky * (1 - stars) + np.array((255, 244, 190)) * stars
    horizon = rng.uniform(0.58, 0.7) * SIDE
    hill = horizon + 7 * np.sin(np.arange(SIDE)[None, :] / 28 + rng.uniform(0, 6))
    height = np.arange(SIDE)[:, None] - hill
    grass = _inside(height)[..., None]
    sky = np.array((120, 188, 242)) * (1 - rows) + np.array((196, 230, 252)) * rows
    green = np.array((122, 200, 92)) - np.clip(height, 0, 110)[..., None] * 0.35
    flowers = _dots(rng, 0.78, 0.98, 3.4, 4.8, 8)
    meadow = sky * (1 - grass) + green * grass
    return meadow * (1 - flowers) + np.array((252, 246, 214)) * flowers


def _blurred(mask: Image.Image, radius_px: float) -> np.ndarray:
    soft = mask.filter(ImageFilter.GaussianBlur(radius_px))
    return np.asarray(soft, np.float32)[..., None] / 255


def _rim(mask: Image.Image, width_px: float) -> np.ndarray:
    """Return a band along the silhouette's edge, float32 ``[256, 256, 1]`` in 0..1."""
    return np.clip(2.4 - 4.4 * np.abs(_blurred(mask, width_px) - 0.5) * 1.6, 0, 1)


def _neon(canvas: np.ndarray, paint: np.ndarray, colour: np.ndarray, mask: Image.Image,
    cover: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Return the object as a lit tube: a wide glow, a dark inside, a bright line around it."""
    glow = np.clip(0.5 * _blurred(mask, 22) + 0.4 * _blurred(mask, 8), 0, 1)
    canvas = canvas * (1 - glow) + (0.85 * colour + 10) * glow
    canvas = canvas * (1 - cover) + 0.42 * paint * cover
    tube, core = _rim(mask, 2.6), _rim(mask, 1.0)
    canvas = canvas * (1 - tube) + (0.85 * colour + 0.15 * 255) * tube
    return canvas * (1 - core) + (0.4 * colour + 0.6 * 255) * core


def _add_thing(
    canvas: np.ndarray, thing: Thing, mask: Image.Image, centre: np.ndarray, radius: float,
    style: str, rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    colour = _colour(thing.colour, rng)
    paint = np.broadcast_to(colour, canvas.shape)
    if thing.fill != "plain":
        pattern = _pattern(thing, centre, radius, style)[..., None]
        paint = colour * (1 - pattern) + _colour(thing.accent, rng) * pattern
    cover = np.asarray(mask, np.float32)[..., None] / 255
    if style == "neon":
        return _neon(canvas, paint, colour, mask, cover)
    if style == "sketch":
        slipped = np.roll(cover, (5, -5), (0, 1))
        canvas = canvas * (1 - slipped) + (0.8 * paint + 0.2 * 255) * slipped
        rim = _rim(mask, 1.2)
        return canvas * (1 - rim) + 45 * rim
    if style == "watercolor":
        soft = np.clip(1.6 * _blurred(mask, 2.6) - 0.3, 0, 1)
        rim = 4 * soft * (1 - soft)
        canvas = canvas * (1 - soft) + (0.86 * paint + 0.14 * 255) * soft
        return canvas * (1 - 0.32 * rim)
    canvas = canvas * (1 - cover) + paint * cover
    return canvas if style == "pixel art" else canvas * (1 - 0.55 * _rim(mask, 1.1))


def _on_paper(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the picture washed out in large patches, on paper with a grain."""

    def smooth(cells: int) -> np.ndarray:
        noise = Image.fromarray(rng.uniform(0, 255, (cells, cells)).astype(np.uint8))
        wide = noise.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        return np.asarray(wide, np.float32)[..., None] / 255

    white = 0.05 + 0.27 * smooth(5)
    return picture * (1 - white) + 255 * white - 14 * (1 - smooth(26))


def _finish(canvas: np.ndarray, scene: Scene, rng: np.random.Generator) -> Image.Image:
    if scene.style == "watercolor":
        canvas = _on_paper(canvas, rng)
    picture = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    if scene.style == "pixel art":
        cells = (SIDE // _CELL_PX, SIDE // _CELL_PX)
        small = picture.resize(cells, Image.Resampling.NEAREST)
        picture = small.resize((SIDE, SIDE), Image.Resampling.NEAREST)
    if scene.hazy:
        faded = np.asarray(picture.filter(ImageFilter.GaussianBlur(5)), np.float32)
        picture = Image.fromarray((faded * 0.4 + 165 * 0.6).astype(np.uint8))
    return picture


_PLACES = {"centre": (0, 0), "left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}
_OFF_CENTRE_PX = 56.0


def _offsets(scene: Scene) -> list[tuple[float, float]]:
    """Return where each object stands, in pixels from the middle."""
    if scene.relation != "single":
        along = (63.0, 0.0) if scene.relation == "beside" else (0.0, 63.0)
        return [(side * along[0], side * along[1]) for side in (-1, 1)]
    if scene.count != "one":
        return [(x, 0.0) for x in ((-63.0, 63.0) if scene.count == "two" else (-85.0, 0.0, 85.0))]
    x, y = _PLACES[scene.position]
    return [(_OFF_CENTRE_PX * x, _OFF_CENTRE_PX * y)]


def _radius_px(scene: Scene) -> float:
    if scene.relation != "single" or scene.count == "two":
        return TWO_RADIUS_PX
    return THREE_RADIUS_PX if scene.count == "three" else RADII_PX[scene.things[0].size]


def placed(scene: Scene, rng: np.random.Generator) -> list[tuple[Thing, np.ndarray, float]]:
    """Return each object with its centre (x, y) and its radius, in pixels."""
    things = scene.things * COUNTS.index(scene.count) + scene.things
    offsets, radius = _offsets(scene), _radius_px(scene)
    alone = len(things) == 1
    if scene.style == "pixel art":  # coarse, so on the raster
        moved = _CELL_PX * rng.integers(-1, 2, 2) * alone
        offsets = [tuple(_CELL_PX * round(way / _CELL_PX) for way in one) for one in offsets]
        centres = [SIDE / 2 + moved + np.array(one, float) for one in offsets]
    else:
        reach = 2 if not alone else 7 if scene.position == "centre" else 4
        centres = [SIDE / 2 + np.array(one) + rng.uniform(-reach, reach, 2) for one in offsets]
    return [(thing, centre, radius) for thing, centre in zip(things, centres, strict=True)]


def draw(scene: Scene, rng: np.random.Generator) -> Image.Image:
    """Return the scene as an RGB picture of 256×256; ``rng`` decides place, tilt and shades."""
    canvas = _paint_ground(scene.ground, rng)
    if scene.style == "neon":
        canvas = canvas * 0.4
    elif scene.style == "sketch":
        canvas = canvas * 0.5 + 255 * 0.5
    shapes = outlines()
    for thing, centre, radius in placed(scene, rng):
        turn = 0.0 if scene.style == "pixel art" else rng.uniform(-0.12, 0.12)
        mask = _mask(shapes[thing.shape], centre, radius, turn)
        canvas = _add_thing(canvas, thing, mask, centre, radius, scene.style, rng)
    return _finish(canvas, scene, rng)
