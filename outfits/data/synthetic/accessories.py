"""Draws accessories: shoes, boots, bags, hats, scarves, sunglasses and belts."""

import numpy as np

from outfits.data.synthetic.canvas import INK, METAL, RUBBER, STEEL, TAN, Canvas, Points
from outfits.data.synthetic.wardrobe import WINTER, Garment

# Offsets of a pair: the farther shoe is above and to the left of the nearer one.
_PAIR = ((-0.05, -0.17), (0.03, 0.08))


def _moved(points: Points, by: tuple[float, float]) -> list[tuple[float, float]]:
    return [(x + by[0], y + by[1]) for x, y in points]


def shoes(canvas: Canvas, garment: Garment) -> None:
    """A pair of loafers, sneakers, sandals or pumps, seen from the side."""
    draw = {"casual": _loafer, "sporty": _sneaker, "boho": _sandal, "formal": _pump}[garment.style]
    for by in _PAIR:
        draw(canvas, garment, by)


def _sneaker(canvas: Canvas, garment: Garment, by: tuple[float, float]) -> None:
    upper = [(0.14, 0.42), (0.2, 0.36), (0.3, 0.4), (0.42, 0.36), (0.56, 0.48), (0.78, 0.54), (0.87, 0.62),
             (0.86, 0.68), (0.14, 0.68), (0.12, 0.55)]  # fmt: skip
    sole = [(0.11, 0.64), (0.3, 0.66), (0.6, 0.66), (0.88, 0.64), (0.9, 0.7), (0.84, 0.74), (0.15, 0.74), (0.1, 0.7)]
    canvas.part(_moved(upper, by))
    canvas.part(
        _moved([(0.72, 0.53), (0.87, 0.61), (0.87, 0.67), (0.72, 0.67)], by), canvas.dark, smooth=1, width=0.004
    )
    canvas.part(_moved(sole, by), RUBBER)
    canvas.line(_moved([(0.24, 0.5), (0.36, 0.62), (0.56, 0.52)], by), canvas.accent, 0.03)
    for step in range(4):
        x, y = 0.42 + 0.05 * step, 0.39 + 0.036 * step
        canvas.line(_moved([(x, y + 0.035), (x + 0.035, y - 0.005)], by), canvas.accent, 0.013)


def _loafer(canvas: Canvas, garment: Garment, by: tuple[float, float]) -> None:
    upper = [(0.14, 0.47), (0.18, 0.45), (0.28, 0.56), (0.44, 0.56), (0.54, 0.46), (0.72, 0.52), (0.87, 0.61),
             (0.88, 0.68), (0.14, 0.69), (0.12, 0.58)]  # fmt: skip
    canvas.part(
        _moved([(0.12, 0.67), (0.89, 0.67), (0.88, 0.71), (0.3, 0.71), (0.29, 0.74), (0.12, 0.74)], by), INK, smooth=0
    )
    canvas.part(_moved(upper, by))
    canvas.line(_moved([(0.54, 0.48), (0.62, 0.58), (0.82, 0.6)], by))
    if garment.variant:
        canvas.dot(0.56 + by[0], 0.5 + by[1], 0.025, canvas.dark)
    else:
        canvas.line(_moved([(0.46, 0.57), (0.6, 0.49)], by), METAL, 0.02)


def _sandal(canvas: Canvas, garment: Garment, by: tuple[float, float]) -> None:
    canvas.part(
        _moved([(0.1, 0.64), (0.3, 0.65), (0.6, 0.67), (0.88, 0.66), (0.9, 0.7), (0.84, 0.74), (0.12, 0.74)], by), TAN
    )
    canvas.part(_moved([(0.6, 0.67), (0.64, 0.56), (0.74, 0.56), (0.82, 0.67)], by))
    canvas.part(_moved([(0.4, 0.67), (0.46, 0.55), (0.53, 0.55), (0.5, 0.67)], by))
    canvas.line(_moved([(0.64, 0.57), (0.5, 0.5), (0.34, 0.47), (0.2, 0.42)], by), canvas.main, 0.028)
    canvas.line(_moved([(0.13, 0.65), (0.16, 0.5), (0.14, 0.4)], by), canvas.main, 0.03)
    canvas.line(_moved([(0.13, 0.41), (0.26, 0.37), (0.36, 0.44), (0.3, 0.49)], by), canvas.main, 0.028)
    if garment.variant:
        canvas.dot(0.71 + by[0], 0.6 + by[1], 0.02, canvas.accent)


def _pump(canvas: Canvas, garment: Garment, by: tuple[float, float]) -> None:
    by = (by[0], by[1] - 0.02)
    canvas.part(_moved([(0.12, 0.5), (0.22, 0.55), (0.17, 0.76), (0.14, 0.76)], by), canvas.dark, smooth=0)
    upper = [(0.13, 0.4), (0.18, 0.38), (0.24, 0.5), (0.42, 0.62), (0.56, 0.6), (0.66, 0.62), (0.84, 0.7), (0.9, 0.75),
             (0.62, 0.76), (0.44, 0.72), (0.26, 0.6), (0.12, 0.56)]  # fmt: skip
    canvas.part(_moved(upper, by))
    if garment.variant:
        canvas.line(_moved([(0.16, 0.4), (0.28, 0.36), (0.34, 0.42), (0.27, 0.54)], by), canvas.main, 0.018)
    else:
        canvas.dot(0.62 + by[0], 0.64 + by[1], 0.02, METAL)


def boots(canvas: Canvas, garment: Garment) -> None:
    """A pair of ankle, hiking, fringed or heeled boots, seen from the side."""
    style = garment.style
    shaft = {"casual": 0.3, "sporty": 0.26, "boho": 0.18, "formal": 0.1}[style]
    for by in ((-0.08, -0.07), (0.1, 0.06)):
        heel = 0.86 if style != "formal" else 0.87
        if style == "formal":
            canvas.part(_moved([(0.2, 0.74), (0.33, 0.78), (0.27, heel), (0.23, heel)], by), INK, smooth=0)
        leg = [(0.2, shaft), (0.2, shaft), (0.46, shaft), (0.46, shaft), (0.44, 0.58), (0.52, 0.66), (0.68, 0.7),
               (0.76, 0.8), (0.76, 0.83), (0.36, 0.83 if style != "formal" else 0.8),
               (0.2, 0.82 if style != "formal" else 0.77), (0.22, 0.6)]  # fmt: skip
        canvas.part(_moved(leg, by))
        if style == "formal":
            canvas.part(_moved([(0.4, 0.81), (0.76, 0.82), (0.77, 0.85), (0.44, 0.85)], by), INK, smooth=1)
            canvas.line(_moved([(0.41, shaft + 0.03), (0.4, 0.6)], by), STEEL, 0.01)
        else:
            sole = RUBBER if style == "sporty" else INK
            thick = 0.06 if style == "sporty" else 0.03
            canvas.part(_moved([(0.19, 0.81), (0.77, 0.81), (0.77, 0.81 + thick), (0.38, 0.81 + thick), (0.37, 0.88),
                                (0.19, 0.88)], by), sole, smooth=0)  # fmt: skip
        if style == "sporty":
            collar = [(0.2, shaft), (0.46, shaft), (0.46, shaft + 0.07), (0.2, shaft + 0.07)]
            canvas.part(_moved(collar, by), canvas.dark, smooth=0)
            for y in (0.4, 0.47, 0.54, 0.61):
                canvas.line(_moved([(0.36, y), (0.47 + max(0, y - 0.55), y + 0.03)], by), canvas.accent, 0.014)
        elif style == "boho":
            canvas.fringe((0.21 + by[0], 0.34 + by[1]), (0.45 + by[0], 0.34 + by[1]), 0.17, 12)
            canvas.line(_moved([(0.21, 0.34), (0.45, 0.34)], by), TAN, 0.018)
        elif style == "casual":
            canvas.part(_moved([(0.29, shaft), (0.38, shaft), (0.36, 0.56), (0.31, 0.56)], by), canvas.dark, smooth=0)
        if garment.warmth == WINTER and style in ("casual", "boho"):
            fur = [(0.18, shaft - 0.03), (0.48, shaft - 0.03), (0.48, shaft + 0.04), (0.18, shaft + 0.04)]
            canvas.part(_moved(fur, by), (230, 220, 204))


def bag(canvas: Canvas, garment: Garment) -> None:
    """A tote, backpack, hobo bag, or handbag and clutch."""
    {"casual": _tote, "sporty": _backpack, "boho": _hobo, "formal": _handbag}[garment.style](canvas, garment)


def _tote(canvas: Canvas, garment: Garment) -> None:
    for lift in (0.0, 0.05):
        canvas.line([(0.34, 0.4), (0.36, 0.16 - lift), (0.5, 0.1 - lift), (0.64, 0.16 - lift), (0.66, 0.4)], TAN, 0.024)
    canvas.half([(0, 0.37), (0.28, 0.36), (0.28, 0.36), (0.24, 0.88), (0.24, 0.88), (0, 0.9)])
    canvas.line([(0.225, 0.42), (0.775, 0.42)], width=0.007)
    if garment.variant:
        canvas.part([(0.38, 0.56), (0.62, 0.56), (0.61, 0.76), (0.39, 0.76)], smooth=0, patterned=False)


def _backpack(canvas: Canvas, garment: Garment) -> None:
    canvas.line([(0.44, 0.14), (0.46, 0.06), (0.54, 0.06), (0.56, 0.14)], INK, 0.024)
    canvas.both([(0.24, 0.3), (0.32, 0.4), (0.31, 0.75), (0.25, 0.8)], canvas.dark)
    canvas.half([(0, 0.1), (0.16, 0.12), (0.26, 0.28), (0.275, 0.6), (0.27, 0.9), (0.27, 0.9), (0, 0.91)])
    canvas.half([(0, 0.54), (0.2, 0.54), (0.21, 0.84), (0, 0.85)], canvas.dark, smooth=1)
    canvas.line([(0.29, 0.4), (0.38, 0.27), (0.5, 0.24), (0.62, 0.27), (0.71, 0.4)], STEEL, 0.013)
    canvas.line([(0.33, 0.61), (0.67, 0.61)], canvas.accent, 0.024)


def _hobo(canvas: Canvas, garment: Garment) -> None:
    canvas.line([(0.2, 0.46), (0.28, 0.12), (0.5, 0.02), (0.72, 0.12), (0.8, 0.46)], TAN, 0.03)
    canvas.half([(0, 0.5), (0.2, 0.48), (0.31, 0.36), (0.34, 0.5), (0.28, 0.74), (0.12, 0.82), (0, 0.82)])
    if garment.variant:
        canvas.fringe((0.26, 0.66), (0.74, 0.66), 0.24, 22)
        canvas.line([(0.23, 0.66), (0.77, 0.66)], TAN, 0.018)
    else:
        for x in (-0.15, 0.0, 0.15):
            canvas.line([(0.5 + x, 0.58), (0.53 + x, 0.63), (0.5 + x, 0.68), (0.47 + x, 0.63), (0.5 + x, 0.58)],
                        canvas.accent, 0.012, smooth=0)  # fmt: skip
    canvas.dot(0.5, 0.53, 0.022, METAL)


def _handbag(canvas: Canvas, garment: Garment) -> None:
    if garment.variant:
        canvas.half([(0, 0.35), (0.36, 0.36), (0.36, 0.36), (0.36, 0.72), (0.36, 0.72), (0, 0.73)])
        canvas.half([(0, 0.35), (0.36, 0.36), (0.36, 0.36), (0.34, 0.42), (0, 0.58)], canvas.dark, smooth=0)
        canvas.dot(0.5, 0.575, 0.026, METAL)
        return
    canvas.line([(0.36, 0.4), (0.38, 0.2), (0.5, 0.15), (0.62, 0.2), (0.64, 0.4)], canvas.dark, 0.03)
    canvas.half([(0, 0.38), (0.25, 0.38), (0.25, 0.38), (0.33, 0.8), (0.33, 0.8), (0, 0.81)])
    canvas.half([(0, 0.38), (0.25, 0.38), (0.25, 0.38), (0.24, 0.52), (0, 0.56)], canvas.dark, smooth=1)
    canvas.part([(0.46, 0.51), (0.54, 0.51), (0.54, 0.59), (0.46, 0.59)], METAL, smooth=0)


def hat(canvas: Canvas, garment: Garment) -> None:
    """A bucket hat, cap, floppy hat or fedora; a beanie for winter."""
    style = garment.style
    if garment.warmth == WINTER and style in ("casual", "sporty"):
        canvas.dot(0.5, 0.2, 0.085, canvas.accent if style == "sporty" else canvas.dark)
        canvas.half([(0, 0.24), (0.14, 0.26), (0.25, 0.44), (0.27, 0.68), (0, 0.7)])
        canvas.half([(0, 0.64), (0.28, 0.62), (0.29, 0.78), (0, 0.81)], canvas.dark, smooth=1)
        for x in np.linspace(-0.24, 0.24, 9):
            canvas.line([(0.5 + x, 0.65), (0.5 + x * 1.03, 0.78)], width=0.006)
    elif style == "sporty":
        canvas.part(
            [(0.14, 0.62), (0.16, 0.4), (0.32, 0.26), (0.5, 0.25), (0.64, 0.36), (0.68, 0.6), (0.68, 0.6), (0.4, 0.64)]
        )
        canvas.part([(0.5, 0.6), (0.68, 0.56), (0.86, 0.62), (0.96, 0.7), (0.78, 0.7), (0.56, 0.67)], canvas.dark)
        canvas.line([(0.42, 0.25), (0.46, 0.42), (0.45, 0.62)], width=0.007)
        canvas.part([(0.54, 0.4), (0.62, 0.42), (0.63, 0.53), (0.54, 0.52)], canvas.accent, smooth=1)
    elif style == "casual":
        canvas.half([(0, 0.25), (0.15, 0.26), (0.15, 0.26), (0.19, 0.54), (0, 0.56)], smooth=1)
        canvas.half([(0, 0.53), (0.18, 0.5), (0.33, 0.7), (0.31, 0.74), (0, 0.78)])
        canvas.line([(0.31, 0.52), (0.5, 0.56), (0.69, 0.52)], canvas.dark, 0.02)
        canvas.line([(0.22, 0.66), (0.5, 0.7), (0.78, 0.66)], width=0.006)
    elif style == "boho":
        canvas.half([(0, 0.52), (0.26, 0.5), (0.47, 0.6), (0.45, 0.72), (0.25, 0.68), (0, 0.74)])
        canvas.half([(0, 0.27), (0.12, 0.27), (0.18, 0.38), (0.2, 0.58), (0, 0.63)])
        canvas.half([(0, 0.55), (0.195, 0.5), (0.2, 0.58), (0, 0.635)], TAN, smooth=1)
        if garment.variant:
            canvas.line([(0.66, 0.55), (0.76, 0.42), (0.79, 0.3)], canvas.accent, 0.024)
    else:
        canvas.half([(0, 0.6), (0.22, 0.57), (0.4, 0.55), (0.41, 0.6), (0.24, 0.7), (0, 0.71)])
        canvas.half([(0.0, 0.3), (0.07, 0.24), (0.15, 0.29), (0.2, 0.6), (0, 0.63)])
        canvas.half(
            [(0, 0.54), (0.185, 0.5), (0.198, 0.58), (0, 0.62)], INK if sum(canvas.main) > 200 else STEEL, smooth=1
        )
        canvas.line([(0.5, 0.3), (0.49, 0.4)], width=0.009)


def scarf(canvas: Canvas, garment: Garment) -> None:
    """A knitted scarf, snood, shawl or silk neckerchief."""
    style = garment.style
    if style == "sporty":
        canvas.half([(0, 0.24), (0.2, 0.26), (0.31, 0.46), (0.27, 0.68), (0, 0.74)])
        canvas.half([(0, 0.29), (0.14, 0.31), (0.17, 0.4), (0, 0.46)], canvas.dark)
        for y in (0.52, 0.6):
            canvas.line([(0.22, y - 0.02), (0.5, y + 0.06), (0.78, y - 0.02)], width=0.008)
        canvas.line([(0.25, 0.66), (0.5, 0.72), (0.75, 0.66)], canvas.accent, 0.02)
    elif style == "formal":
        canvas.half([(0, 0.36), (0.12, 0.3), (0.3, 0.2), (0.36, 0.34), (0.26, 0.48), (0, 0.46)])
        canvas.part([(0.47, 0.46), (0.32, 0.78), (0.32, 0.78), (0.44, 0.84), (0.52, 0.5)], smooth=1)
        canvas.part([(0.5, 0.46), (0.7, 0.74), (0.7, 0.74), (0.58, 0.82), (0.48, 0.5)], smooth=1)
        canvas.part([(0.44, 0.38), (0.56, 0.38), (0.57, 0.5), (0.43, 0.5)], canvas.dark)
    elif style == "boho":
        canvas.part([(0.1, 0.26), (0.1, 0.26), (0.9, 0.26), (0.9, 0.26), (0.54, 0.8), (0.46, 0.8)], smooth=1)
        canvas.line([(0.15, 0.32), (0.5, 0.72), (0.85, 0.32)], canvas.accent, 0.014, smooth=0)
        for share in np.linspace(0, 1, 11):
            for side in (-1, 1):
                x, y = 0.5 + side * (0.04 + 0.36 * share), 0.79 - 0.52 * share
                canvas.line([(x, y), (x + 0.01 * side, y + 0.11)], canvas.dark, 0.011)
    else:
        canvas.part([(0.56, 0.3), (0.7, 0.32), (0.68, 0.84), (0.68, 0.84), (0.5, 0.84), (0.5, 0.84)], smooth=1)
        canvas.part([(0.32, 0.3), (0.48, 0.32), (0.47, 0.72), (0.47, 0.72), (0.29, 0.72), (0.29, 0.72)], smooth=1)
        canvas.half([(0, 0.2), (0.17, 0.16), (0.22, 0.3), (0.12, 0.4), (0, 0.42)])
        canvas.half([(0, 0.22), (0.11, 0.2), (0.12, 0.26), (0, 0.31)], canvas.dark)
        canvas.fringe((0.505, 0.84), (0.675, 0.84), 0.07, 9)
        canvas.fringe((0.295, 0.72), (0.465, 0.72), 0.07, 9)


def sunglasses(canvas: Canvas, garment: Garment) -> None:
    """Square, shield, round or cat-eye sunglasses."""
    lens = (58, 60, 70)
    canvas.lines([(0.38, 0.42), (0.44, 0.36), (0.45, 0.3)], canvas.main, 0.03)
    if garment.style == "sporty":
        canvas.half([(0, 0.36), (0.22, 0.35), (0.43, 0.4), (0.37, 0.58), (0.16, 0.62), (0.05, 0.52), (0, 0.5)])
        canvas.half([(0, 0.4), (0.22, 0.39), (0.39, 0.43), (0.34, 0.55), (0.17, 0.58), (0.06, 0.49), (0, 0.46)], lens)
        canvas.lines([(0.14, 0.44), (0.2, 0.53)], (150, 170, 190), 0.012)
        return
    shape: Points
    if garment.style == "boho":
        angles = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        shape = [(0.215 + 0.175 * float(np.cos(a)), 0.5 + 0.175 * float(np.sin(a))) for a in angles]
        lens = (140, 98, 62)
    elif garment.style == "formal":
        shape = [(0.05, 0.43), (0.26, 0.39), (0.46, 0.32), (0.42, 0.5), (0.3, 0.6), (0.14, 0.59), (0.05, 0.52)]
    else:
        shape = [(0.045, 0.38), (0.045, 0.38), (0.4, 0.37), (0.41, 0.4), (0.37, 0.62), (0.11, 0.63), (0.06, 0.54)]
    canvas.line([(0.43, 0.46), (0.5, 0.42), (0.57, 0.46)], canvas.main, 0.03)
    canvas.both(shape)
    middle = np.mean(shape, axis=0)
    inner = [(float(x + 0.17 * (middle[0] - x)), float(y + 0.2 * (middle[1] - y))) for x, y in shape]
    canvas.both(inner, lens, width=0.004)
    canvas.lines([(0.15, 0.46), (0.22, 0.55)], (150, 160, 172), 0.012)


def belt(canvas: Canvas, garment: Garment) -> None:
    """A leather, webbing, braided or slim belt, half rolled up."""
    style = garment.style
    wide = {"casual": 0.11, "sporty": 0.13, "boho": 0.13, "formal": 0.075}[style]
    angles = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    ring = [(0.5 + 0.4 * float(np.cos(a)), 0.4 + 0.2 * float(np.sin(a))) for a in angles]
    canvas.part(_moved(ring, (0.0, 0.0)), canvas.dark)
    canvas.part([(0.5 + (x - 0.5) * 0.93, 0.4 + (y - 0.4) * 0.86 + 0.012) for x, y in ring], (255, 255, 255))
    front = [(0.5 + 0.4 * float(np.cos(a)), 0.4 + 0.2 * float(np.sin(a))) for a in np.linspace(np.pi, 0, 14)]
    band = [*front, *[(x, y + wide) for x, y in reversed(front)]]
    canvas.part(band, smooth=1)
    along = [(x, y + wide / 2) for x, y in front]
    if style == "boho":
        for x, y in along[1:-1]:
            canvas.line([(x - 0.03, y - wide * 0.36), (x + 0.03, y + wide * 0.36)], TAN, 0.012)
            canvas.line([(x + 0.03, y - wide * 0.36), (x - 0.03, y + wide * 0.36)], width=0.009)
        canvas.fringe((0.28, 0.66), (0.4, 0.7), 0.16, 6)
    elif style == "sporty":
        canvas.line(along, canvas.accent, 0.03)
    elif style == "casual":
        for x, y in along[1:5]:
            canvas.dot(x, y, 0.011)
    buckle = METAL if style in ("formal", "boho") else STEEL
    x, y, size = 0.5, 0.6 + wide / 2, wide * 0.72
    box = [(x - size, y - size), (x + size, y - size), (x + size, y + size), (x - size, y + size)]
    canvas.part(box, buckle, smooth=3 if style == "boho" else 0)
    if style != "sporty":
        inside = [(x + 0.58 * (px - x), y + 0.58 * (py - y)) for px, py in box]
        canvas.part(inside, canvas.dark, smooth=3 if style == "boho" else 0)
        canvas.line([(x - size, y), (x + size * 0.9, y)], buckle, 0.018)
