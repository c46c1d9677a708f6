"""What every page must hold to.

Example:

    assert least_contrast(page) >= 4.5       # `page` is one of Playwright's
    assert complaints_of_axe(page) == []
"""

from typing import Any


def least_contrast(page: Any) -> float:
    """Of all text against what lies behind it; WCAG 2.2, contrast (minimum)."""
    return float(
        page.evaluate(
            """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const known = new Map();
  const rgb = css => known.get(css) ?? known.set(css, read(css)).get(css);
  const read = css => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = css; canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = c => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
    const v = c[i] / 255;
    return sum + weight * (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  }, 0);
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll('body *')].filter(e => !e.matches('.nil')
    && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()));
  return Math.min(...texts.map(e => {
    const style = getComputedStyle(e);
    const pair = [light(rgb(e.closest('svg') ? style.fill : style.color)), light(behind(e))];
    return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
  }));
}"""
        )
    )


def complaints_of_axe(page: Any) -> list[str]:
    """What axe-core says of the page, each with the element that it is about."""
    from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]

    options = {"resultTypes": ["violations"], "preload": False}  # else it fetches the style sheets
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{v['id']}: {node['target']} {node['html'][:200]}" for v in found for node in v["nodes"]
    ]
