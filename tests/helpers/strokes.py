"""The ten digits as a hand would draw them: strokes of points in a unit square, y downwards.

for stroke in STROKES["4"]:
    draw_on_the_page(stroke)
"""

import math

Point = tuple[float, float]
Stroke = list[Point]


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> Stroke:
    """Of an ellipse about (x, y), by degrees; 0 is to the right, 90 below."""
    angles = [math.radians(start + (end - start) * i / 16) for i in range(17)]
    return [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]


STROKES: dict[str, list[Stroke]] = {
    "0": [arc(0.5, 0.5, 0.2, 0.3, -80, 285)],
    "1": [[(0.53, 0.18), (0.47, 0.82)]],
    "2": [[*arc(0.49, 0.35, 0.17, 0.16, 190, 385), (0.32, 0.8), (0.72, 0.79)]],
    "3": [[*arc(0.47, 0.35, 0.17, 0.16, 205, 440), *arc(0.46, 0.66, 0.2, 0.17, 280, 515)]],
    "4": [
        [(0.36, 0.2), (0.31, 0.55), (0.7, 0.53)],
        [(0.64, 0.2), (0.58, 0.84)],
    ],
    "5": [
        [(0.38, 0.2), (0.36, 0.47), *arc(0.45, 0.64, 0.2, 0.18, 250, 500)],
        [(0.38, 0.2), (0.68, 0.19)],
    ],
    "6": [[(0.6, 0.17), (0.45, 0.35), (0.36, 0.58), *arc(0.49, 0.66, 0.14, 0.15, 190, 550)]],
    "7": [[(0.3, 0.24), (0.68, 0.22), (0.56, 0.5), (0.47, 0.83)]],
    "8": [
        [
            *arc(0.5, 0.34, 0.14, 0.15, -60, -270),
            *arc(0.5, 0.66, 0.16, 0.17, -90, 270),
            *arc(0.5, 0.34, 0.14, 0.15, 90, -60),
        ]
    ],
    "9": [[*arc(0.5, 0.36, 0.16, 0.16, 0, -350), (0.65, 0.45), (0.6, 0.84)]],
}
