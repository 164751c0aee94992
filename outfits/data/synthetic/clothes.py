"""Draws clothes: tops, shirts, sweaters, jackets, coats, trousers, skirts and dresses."""

from outfits.data.synthetic.canvas import INK, METAL, STEEL, TAN, Canvas
from outfits.data.synthetic.wardrobe import MILD, SUMMER, WINTER, Garment


def _lerp(first: tuple[float, float], second: tuple[float, float], share: float) -> tuple[float, float]:
    return first[0] + share * (second[0] - first[0]), first[1] + share * (second[1] - first[1])


def _sleeves(canvas: Canvas, length: float, *, width: float = 1.0, top: float = 0.16, cuff: bool = False) -> None:
    """Two sleeves; length 1 reaches the wrist, width above 1 flares towards the hand."""
    shoulder, armpit = (0.17, top + 0.03), (0.15, top + 0.23)
    hand_out, hand_in = (0.39 + 0.05 * (width - 1), top + 0.53), (0.31 - 0.06 * (width - 1), top + 0.565)
    upper_out, out = (0.245, top + 0.085), _lerp((0.22, top + 0.06), hand_out, length)
    inner = _lerp((0.13, top + 0.24), hand_in, length)
    canvas.both([shoulder, upper_out, out, out, inner, inner, armpit, (0.1, top + 0.1)])
    if cuff:
        start = _lerp((0.22, top + 0.06), hand_out, length * 0.93)
        end = _lerp((0.13, top + 0.24), hand_in, length * 0.93)
        canvas.both([start, out, inner, end], canvas.dark, smooth=0, width=0.004)


def _torso(
    canvas: Canvas, *, top: float = 0.16, bottom: float = 0.84, shoulder: float = 0.2, waist: float = 0.175,
    hem: float = 0.19, neckline: tuple[float, float] = (0.08, 0.07), deep: bool = False,
) -> None:  # fmt: skip
    """The body from neck to hem; ``neckline`` is half its width and its depth, ``deep`` makes a V of it."""
    neck, depth = neckline
    canvas.half(
        [(0, top - 0.005), (neck, top - 0.005), (neck, top + 0.03), (0, top + depth * 0.8)], canvas.dark, smooth=1
    )
    line = [(0.0, top + depth), (0.0, top + depth)] if deep else [(0.0, top + depth), (neck * 0.75, top + depth * 0.8)]
    canvas.half(
        [
            *line, (neck, top), (neck, top), (shoulder, top + 0.045), (shoulder - 0.02, top + 0.13),
            (0.175, top + 0.23), (waist, top + 0.45 * (bottom - top) + 0.1), (hem, bottom), (hem, bottom),
            (0, bottom + 0.012),
        ]
    )  # fmt: skip


def _buttons(canvas: Canvas, start: float, end: float, count: int, x: float = 0.5) -> None:
    for place in range(count):
        canvas.dot(x, start + (end - start) * place / (count - 1), 0.0095)


def top(canvas: Canvas, garment: Garment) -> None:
    """T-shirts, jerseys, peasant tops and blouses."""
    tank = garment.warmth == SUMMER and garment.style != "casual"
    length = 0.28 if garment.warmth == SUMMER else 0.95
    if garment.style == "boho":
        _sleeves(canvas, 0.35 + 0.4 * (garment.warmth != SUMMER), width=2.2, top=0.2)
        _torso(canvas, top=0.2, bottom=0.86, waist=0.2, hem=0.27, neckline=(0.13, 0.09))
        canvas.lines([(0, 0.31), (0.03, 0.42)], canvas.accent, 0.012)
        for y in (0.34, 0.38, 0.42):
            canvas.lines([(0, y + 0.02), (0.045, y)], canvas.accent, 0.008)
        canvas.half([(0, 0.815), (0.25, 0.8), (0.262, 0.84), (0, 0.855)], canvas.accent, smooth=0, width=0)
        return
    if not tank:
        _sleeves(canvas, length, cuff=garment.style == "sporty")
    narrow = 0.135 if tank else 0.2
    if garment.style == "formal":
        _torso(canvas, shoulder=narrow + 0.01, waist=0.145, hem=0.175, neckline=(0.075, 0.14), deep=True)
        if garment.variant:
            canvas.both([(0, 0.3), (0.08, 0.25), (0.085, 0.33)], canvas.dark, smooth=1)
            canvas.lines([(0.005, 0.3), (0.035, 0.46)], canvas.dark, 0.018)
        canvas.lines([(0.075, 0.5), (0.07, 0.72)], width=0.005)
    else:
        _torso(canvas, shoulder=narrow, neckline=(0.085, 0.11 if tank else 0.07))
    if garment.style == "sporty":
        canvas.both([(0.168, 0.42), (0.178, 0.42), (0.186, 0.83), (0.15, 0.835)], canvas.accent, smooth=0, width=0)
        if garment.variant:
            canvas.half([(0, 0.42), (0.168, 0.42), (0.166, 0.5), (0, 0.5)], canvas.accent, smooth=0, width=0.004)
    if garment.style == "casual" and garment.variant:
        canvas.part([(0.55, 0.36), (0.63, 0.36), (0.63, 0.45), (0.59, 0.47), (0.55, 0.45)], smooth=0)


def shirt(canvas: Canvas, garment: Garment) -> None:
    """Shirts with a collar: button-down, polo, kaftan."""
    boho = garment.style == "boho"
    length = {SUMMER: 0.32, MILD: 1.0, WINTER: 1.0}[garment.warmth]
    _sleeves(canvas, length, width=1.9 if boho else 1.0, cuff=not boho)
    if garment.style == "formal":
        _torso(canvas, waist=0.155, hem=0.17, neckline=(0.08, 0.09), deep=True)
    else:
        _torso(canvas, bottom=0.88 if boho else 0.84, hem=0.235 if boho else 0.19, neckline=(0.08, 0.12), deep=True)
    canvas.both([(0.0, 0.26), (0.075, 0.13), (0.105, 0.175), (0.055, 0.27)], smooth=0, patterned=False)
    if garment.style == "sporty":
        canvas.line([(0.5, 0.27), (0.5, 0.42)], width=0.02)
        _buttons(canvas, 0.3, 0.4, 2)
        canvas.half([(0, 0.785), (0.19, 0.77), (0.195, 0.82), (0, 0.835)], canvas.accent, smooth=0, width=0)
    elif boho:
        canvas.lines([(0.01, 0.28), (0.03, 0.5)], canvas.accent, 0.012)
        canvas.fringe((0.27, 0.88), (0.73, 0.88), 0.05, 24)
    else:
        canvas.line([(0.5, 0.27), (0.5, 0.845)], width=0.006)
        _buttons(canvas, 0.32, 0.8, 6)
        if garment.style == "casual":
            canvas.both([(0.06, 0.38), (0.14, 0.38), (0.14, 0.48), (0.06, 0.48)], smooth=0, width=0.007)


def sweater(canvas: Canvas, garment: Garment) -> None:
    """Sweaters, hoodies, chunky knits and turtlenecks."""
    boho, formal = garment.style == "boho", garment.style == "formal"
    if garment.style == "sporty":
        canvas.half([(0, 0.06), (0.1, 0.08), (0.14, 0.2), (0.08, 0.27), (0, 0.28)])
        canvas.half([(0, 0.11), (0.06, 0.13), (0.075, 0.2), (0, 0.27)], canvas.dark)
    if formal:
        canvas.half([(0, 0.09), (0.07, 0.09), (0.07, 0.09), (0.085, 0.2), (0, 0.22)], smooth=1)
    _sleeves(canvas, 1.0, width=1.7 if boho else 1.05, cuff=not boho)
    if formal:
        _torso(canvas, waist=0.15, hem=0.17, neckline=(0.085, 0.035))
        canvas.half([(0, 0.085), (0.07, 0.085), (0.07, 0.085), (0.088, 0.17), (0, 0.2)], smooth=1)
        canvas.line([(0.42, 0.15), (0.5, 0.165), (0.58, 0.15)], width=0.006)
    else:
        wide = 0.25 if boho else 0.2
        _torso(canvas, shoulder=0.215, waist=0.195, hem=wide, neckline=(0.08, 0.13 if boho else 0.07), deep=boho)
        canvas.half([(0, 0.8), (wide, 0.79), (wide, 0.84), (0, 0.85)], canvas.dark, smooth=0, width=0.005)
    if garment.style == "sporty":
        canvas.part([(0.38, 0.58), (0.62, 0.58), (0.67, 0.76), (0.33, 0.76)], smooth=0, patterned=False)
        canvas.lines([(0.025, 0.25), (0.03, 0.4)], canvas.accent, 0.012)
    elif boho:
        canvas.fringe((0.26, 0.85), (0.74, 0.85), 0.08, 22)
        for y in (0.5, 0.56, 0.62):
            canvas.line(
                [(0.32 + 0.03 * i, y + (0.025 if i % 2 else 0)) for i in range(13)], canvas.accent, 0.012, smooth=0
            )
    elif garment.style == "casual" and garment.variant:
        for x in (0.42, 0.5, 0.58):
            cable = [(x + (0.018 if i % 2 else -0.018), 0.27 + 0.04 * i) for i in range(13)]
            canvas.line(cable, width=0.009)


def jacket(canvas: Canvas, garment: Garment) -> None:
    """Denim and bomber jackets, track jackets, fringed jackets, blazers."""
    if garment.style == "formal":
        _sleeves(canvas, 1.0, cuff=False)
        _torso(canvas, bottom=0.86, shoulder=0.215, waist=0.16, hem=0.205, neckline=(0.08, 0.12), deep=True)
        canvas.half(
            [(0.0, 0.56), (0.06, 0.16), (0, 0.16)], INK if sum(canvas.main) > 160 else (214, 214, 218), smooth=0
        )
        canvas.both([(0.0, 0.57), (0.135, 0.37), (0.095, 0.33), (0.125, 0.29), (0.065, 0.14), (0.05, 0.24)], smooth=0)
        canvas.line([(0.5, 0.57), (0.51, 0.86)])
        _buttons(canvas, 0.6, 0.69, 2, x=0.53)
        canvas.lines([(0.08, 0.67), (0.165, 0.66)], width=0.014, smooth=0)
        return
    boho, sporty = garment.style == "boho", garment.style == "sporty"
    _sleeves(canvas, 1.0, width=1.3 if boho else 1.1, cuff=not boho)
    _torso(canvas, bottom=0.78, shoulder=0.22, waist=0.2, hem=0.2, neckline=(0.08, 0.07))
    canvas.line([(0.5, 0.22), (0.5, 0.79)], METAL if garment.style == "casual" else STEEL, 0.014)
    if sporty:
        canvas.half([(0, 0.12), (0.075, 0.1), (0.09, 0.19), (0, 0.23)], canvas.accent, smooth=0)
        canvas.line([(0.5, 0.12), (0.5, 0.79)], STEEL, 0.014)
        canvas.lines([(0.21, 0.22), (0.36, 0.66)], canvas.accent, 0.028, smooth=0)
        canvas.half([(0, 0.74), (0.2, 0.73), (0.2, 0.78), (0, 0.79)], canvas.dark, smooth=0, width=0.004)
        return
    canvas.both([(0.0, 0.24), (0.08, 0.13), (0.125, 0.18), (0.07, 0.29)], canvas.dark if boho else None, smooth=0)
    if boho:
        canvas.fringe((0.31, 0.42), (0.49, 0.45), 0.13, 12)
        canvas.fringe((0.51, 0.45), (0.69, 0.42), 0.13, 12)
        canvas.fringe((0.3, 0.78), (0.7, 0.78), 0.07, 22)
        return
    canvas.lines([(0.02, 0.4), (0.18, 0.4)], width=0.007)
    canvas.both([(0.05, 0.4), (0.14, 0.4), (0.14, 0.49), (0.095, 0.52), (0.05, 0.49)], smooth=0, width=0.007)
    canvas.half([(0, 0.735), (0.2, 0.73), (0.2, 0.78), (0, 0.79)], canvas.dark, smooth=0, width=0.005)


def coat(canvas: Canvas, garment: Garment) -> None:
    """Duffle coats, parkas, blanket coats and overcoats."""
    style = garment.style
    if style == "sporty":
        fur = (226, 214, 194) if garment.warmth == WINTER else canvas.dark
        canvas.half([(0, 0.03), (0.12, 0.05), (0.16, 0.16), (0.1, 0.24), (0, 0.25)], fur)
        canvas.half([(0, 0.085), (0.065, 0.1), (0.085, 0.17), (0, 0.25)], canvas.dark)
    _sleeves(canvas, 1.0, width=1.7 if style == "boho" else 1.15, top=0.13, cuff=style != "boho")
    hem = {"casual": 0.215, "sporty": 0.22, "boho": 0.285, "formal": 0.235}[style]
    bottom = 0.84 if style == "sporty" else 0.93
    waist = 0.155 if style == "formal" else 0.2
    _torso(canvas, top=0.13, bottom=bottom, shoulder=0.225, waist=waist, hem=hem, neckline=(0.08, 0.1), deep=True)
    canvas.line([(0.5, 0.24), (0.5, bottom)], width=0.008)
    if style == "sporty":
        for y in (0.34, 0.45, 0.56, 0.67, 0.77):
            canvas.line([(0.305, y), (0.5, y + 0.018), (0.695, y)], width=0.009)
        canvas.line([(0.5, 0.23), (0.5, bottom)], canvas.accent, 0.014)
    elif style == "boho":
        canvas.both([(0, 0.27), (0.06, 0.1), (0.12, 0.16), (0.05, 0.93), (0, 0.93)], canvas.dark)
        for y in (0.62, 0.72):
            canvas.line(
                [(0.25 + 0.025 * i, y + (0.025 if i % 2 else 0)) for i in range(21)], canvas.accent, 0.012, smooth=0
            )
        canvas.fringe((0.22, 0.925), (0.78, 0.925), 0.055, 26)
    elif style == "formal":
        canvas.both([(0.0, 0.46), (0.14, 0.31), (0.1, 0.27), (0.13, 0.23), (0.065, 0.1), (0.04, 0.2)], smooth=0)
        canvas.half([(0, 0.51), (0.17, 0.5), (0.175, 0.555), (0, 0.565)], canvas.dark, smooth=0)
        canvas.part([(0.47, 0.505), (0.53, 0.505), (0.53, 0.57), (0.47, 0.57)], METAL, smooth=0)
        for x in (0.45, 0.55):
            _buttons(canvas, 0.37, 0.46, 2, x=x)
    else:
        canvas.both([(0.0, 0.25), (0.08, 0.09), (0.13, 0.15), (0.08, 0.28)], smooth=0)
        for y in (0.35, 0.47, 0.59):
            canvas.line([(0.45, y), (0.55, y)], TAN, 0.02)
        canvas.both([(0.07, 0.66), (0.17, 0.66), (0.175, 0.76), (0.07, 0.76)], smooth=0, width=0.007)


def trousers(canvas: Canvas, garment: Garment) -> None:
    """Jeans, joggers, wide trousers, tailored trousers; shorts for summer."""
    style = garment.style
    end = (0.46 if style in ("casual", "sporty") else 0.72) if garment.warmth == SUMMER else 0.94
    outer, inner = {"casual": (0.175, 0.055), "sporty": (0.14, 0.05), "boho": (0.285, 0.02), "formal": (0.155, 0.055)}[
        style
    ]
    if garment.warmth == SUMMER and style in ("casual", "sporty"):
        outer, inner = 0.22, 0.02
    hip = 0.185 if style == "formal" else 0.2
    canvas.both(
        [
            (0.0, 0.09), (0.15, 0.08), (0.15, 0.08), (hip, 0.27), ((hip + outer) / 2, (0.27 + end) / 2), (outer, end),
            (outer, end), (inner, end), (inner, end), (0.012, 0.38), (0.0, 0.35),
        ]
    )  # fmt: skip
    canvas.line([(0.5, 0.11), (0.5, 0.33)], width=0.007)
    waistband = None if style == "casual" else canvas.dark
    canvas.half(
        [(0, 0.07), (0.15, 0.065), (0.158, 0.115), (0, 0.12)], waistband, smooth=0, width=0.006, patterned=False
    )
    if style == "sporty":
        canvas.lines([(0.168, 0.13), (hip - 0.012, 0.27), (outer - 0.012, end)], canvas.accent, 0.026)
        canvas.lines([(0.012, 0.11), (0.03, 0.2)], canvas.accent, 0.01)
        if end > 0.9:
            canvas.both([(outer, 0.9), (outer - 0.005, 0.95), (inner, 0.95), (inner, 0.9)], canvas.dark, smooth=0)
    elif style == "formal":
        canvas.lines([(0.1, 0.15), (0.11, 0.4), (0.105, end)], width=0.006)
        canvas.dot(0.5, 0.095, 0.011, METAL)
    elif style == "boho":
        canvas.both([(outer - 0.012, end - 0.07), (outer, end - 0.03), (inner, end - 0.03), (inner, end - 0.07)],
                    canvas.accent, smooth=0, width=0.004)  # fmt: skip
        canvas.lines([(0.03, 0.12), (0.05, 0.26)], canvas.accent, 0.012)
    else:
        canvas.lines([(0.06, 0.125), (0.11, 0.19), (0.175, 0.18)], width=0.007)
        canvas.dot(0.5, 0.095, 0.011, METAL)
        if garment.variant and end > 0.9:
            canvas.both(
                [(outer, 0.89), (outer + 0.004, 0.945), (inner, 0.945), (inner, 0.89)], smooth=0, patterned=False
            )


def skirt(canvas: Canvas, garment: Garment) -> None:
    """Mini, tennis, maxi and pencil skirts."""
    style = garment.style
    end = {"casual": 0.62, "sporty": 0.58, "boho": 0.93, "formal": 0.78}[style] + 0.06 * (garment.warmth == WINTER)
    hem = {"casual": 0.25, "sporty": 0.3, "boho": 0.33, "formal": 0.15}[style]
    hip = {"casual": 0.205, "sporty": 0.21, "boho": 0.2, "formal": 0.205}[style]
    canvas.half([(0, 0.18), (0.135, 0.17), (0.135, 0.17), (hip, 0.36), (hem, end), (hem, end), (0, end + 0.02)])
    canvas.half([(0, 0.16), (0.133, 0.15), (0.14, 0.205), (0, 0.215)], canvas.dark, smooth=0, width=0.006)
    if style == "sporty":
        for share in (0.15, 0.38, 0.61, 0.84):
            canvas.lines([(0.13 * share, 0.24), (hem * share, end)], width=0.007)
        canvas.half([(0, end - 0.03), (hem - 0.02, end - 0.05), (hem - 0.006, end - 0.02), (0, end)], canvas.accent,
                    smooth=1, width=0)  # fmt: skip
    elif style == "boho":
        for y in (0.42, 0.66):
            width = 0.16 + (hem - 0.16) * (y - 0.2) / (end - 0.2)
            canvas.line([(0.5 - width, y), (0.5, y + 0.02), (0.5 + width, y)], canvas.accent, 0.014)
            for share in (-0.7, -0.3, 0.1, 0.5, 0.85):
                canvas.line([(0.5 + width * share, y + 0.02), (0.5 + width * share * 1.12, y + 0.14)], width=0.006)
    elif style == "formal":
        canvas.line([(0.56, end - 0.16), (0.565, end + 0.01)], width=0.009)
        canvas.lines([(0.08, 0.22), (0.085, 0.34)], width=0.006)
    else:
        _buttons(canvas, 0.25, end - 0.06, 5)
        canvas.lines([(0.07, 0.21), (0.11, 0.28), (0.18, 0.27)], width=0.007)


def dress(canvas: Canvas, garment: Garment) -> None:
    """Shirt dresses, tennis dresses, maxi dresses and sheath dresses."""
    style = garment.style
    length = {SUMMER: 0.0, MILD: 0.28, WINTER: 0.95}[garment.warmth]
    if length:
        _sleeves(canvas, length, width=2.0 if style == "boho" else 1.0, top=0.07)
    end = {"casual": 0.76, "sporty": 0.68, "boho": 0.95, "formal": 0.9}[style]
    hem = {"casual": 0.27, "sporty": 0.27, "boho": 0.32, "formal": 0.17}[style]
    waist, shoulder = (0.12, 0.19) if length else (0.12, 0.13)
    deep = style in ("formal", "boho")
    depth = 0.15 if deep else 0.08
    canvas.half([(0, 0.065), (0.075, 0.065), (0.07, 0.1), (0, 0.07 + depth * 0.8)], canvas.dark, smooth=1)
    neckline = [(0.0, 0.07 + depth), (0.0, 0.07 + depth)] if deep else [(0.0, 0.07 + depth), (0.06, 0.06 + depth)]
    canvas.half(
        [
            *neckline, (0.08, 0.07), (0.08, 0.07), (shoulder, 0.1), (0.15, 0.2), (0.152, 0.26), (waist, 0.42),
            (waist + 0.06, 0.55), (hem, end), (hem, end), (0, end + 0.02),
        ]
    )  # fmt: skip
    belt = canvas.dark if style in ("casual", "formal") else canvas.accent
    canvas.half([(0, 0.41), (waist + 0.006, 0.4), (waist + 0.006, 0.445), (0, 0.455)], belt, smooth=0, width=0.004)
    if style == "sporty":
        canvas.lines([(0.145, 0.24), (waist - 0.005, 0.4)], canvas.accent, 0.022)
        canvas.lines([(waist + 0.01, 0.46), (waist + 0.05, 0.55), (hem - 0.02, end)], canvas.accent, 0.022)
    elif style == "boho":
        for y in (0.6, 0.77):
            width = waist + (hem - waist) * (y - 0.42) / (end - 0.42) - 0.01
            canvas.line([(0.5 - width, y), (0.5, y + 0.02), (0.5 + width, y)], canvas.accent, 0.013)
        canvas.fringe((0.2, end), (0.8, end), 0.035, 26)
    elif style == "casual":
        canvas.both([(0.0, 0.16), (0.06, 0.05), (0.1, 0.09), (0.05, 0.18)], smooth=0, patterned=False)
        canvas.line([(0.5, 0.17), (0.5, end)], width=0.006)
        _buttons(canvas, 0.22, end - 0.05, 7)
    else:
        canvas.dot(0.5, 0.43, 0.016, METAL)
        canvas.lines([(0.07, 0.47), (0.085, 0.6)], width=0.006)
