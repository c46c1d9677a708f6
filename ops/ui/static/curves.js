"use strict";
// Lines over a common x axis, as ops/tools/drawing/charts.py draws them, but for data that only the
// browser has: a training that goes on, or the runs that a person chose.
(() => {
  const WIDTH = 360, HEIGHT = 220, LEFT = 44, RIGHT = 12, TOP = 10, BOTTOM = 34;
  // A line has one of these as well as a colour, so that it can be told from the others without it.
  const DASHES = ["", "6 3", "2 3", "10 3 2 3", "12 4", "5 2 1 2 1 2"];
  const COLOURS = 6;

  const { make } = digits;
  digits.curves = curves;

  /**
   * Replace an element's content by a chart with a legend. Points that are no numbers are left out.
   * chart: {title, x_label, lines: [{name, points: [[x, y], ...]}]}
   */
  function curves(element, { title, x_label, lines }) {
    const drawn = lines.map((line) => ({ ...line, points: line.points.filter(isPoint) }));
    const points = drawn.flatMap((line) => line.points);
    if (!points.length) {
      element.replaceChildren(make("p", { class: "note" }, `${title}: no values yet`));
      return;
    }
    const frame = scales(points);
    const chart = svg("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": summary(title, drawn),
    });
    chart.append(...axes(frame, x_label), ...drawn.flatMap((line, i) => marks(frame, line, i)));
    element.replaceChildren(chart, ...(lines.length > 1 ? [legend(drawn)] : []));
  }

  function isPoint([x, y]) {
    return Number.isFinite(x) && Number.isFinite(y);
  }

  function summary(title, lines) {
    const ends = lines.filter((line) => line.points.length).map((line) => {
      const [x, y] = line.points.at(-1);
      return `${line.name} ends at ${short(y)} (${short(x)})`;
    });
    return `${title}. ${ends.join(", ")}`;
  }

  function scales(points) {
    const extent = (i) => points.reduce(
      ([low, high], point) => [Math.min(low, point[i]), Math.max(high, point[i])],
      [Infinity, -Infinity],
    );
    const [left, right] = extent(0), [low, high] = extent(1);
    const margin = 0.06 * (high - low) || 0.06 * Math.abs(high) || 0.5;
    const last = Math.max(right, left + 1), bottom = low - margin, top = high + margin;
    return {
      xs: [left, last], ys: [bottom, top],
      least: points.every(([x]) => Number.isInteger(x)) ? 1 : 0,  // there is no epoch 1.5
      x: (value) => LEFT + (value - left) / (last - left) * (WIDTH - LEFT - RIGHT),
      y: (value) => HEIGHT - BOTTOM - (value - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM),
    };
  }

  function axes(frame, label) {
    const right = WIDTH - RIGHT, bottom = HEIGHT - BOTTOM;
    return [
      ...ticks(...frame.ys).flatMap((tick) => [
        svg("path", { class: "grid", d: `M${LEFT} ${frame.y(tick).toFixed(1)}H${right}` }),
        text(LEFT - 8, frame.y(tick) + 4, short(tick), "end"),
      ]),
      ...ticks(...frame.xs, frame.least).map((tick) => text(frame.x(tick), bottom + 16, short(tick), "middle")),
      svg("path", { class: "axis", d: `M${LEFT} ${bottom}H${right}` }),
      text((LEFT + right) / 2, HEIGHT - 3, label, "middle"),
    ];
  }

  function marks(frame, { points }, i) {
    if (!points.length) return [];
    const places = points.map(([x, y]) => `${frame.x(x).toFixed(1)},${frame.y(y).toFixed(1)}`);
    const line = svg("polyline", {
      class: `line series-${i % COLOURS}`, points: places.join(" "),
      "stroke-dasharray": DASHES[i % DASHES.length],
    });
    const [x, y] = places.at(-1).split(",");
    const dot = svg("circle", { class: `dot series-${i % COLOURS}`, cx: x, cy: y, r: 3 });
    return [line, dot];
  }

  function legend(lines) {
    return make("ul", { class: "series" }, ...lines.map(({ name, points }, i) => {
      const sample = svg("svg", { viewBox: "0 0 28 8", "aria-hidden": "true" });
      sample.append(svg("path", {
        class: `line series-${i % COLOURS}`, d: "M0 4H28",
        "stroke-dasharray": DASHES[i % DASHES.length],
      }));
      return make("li", {}, sample, points.length ? `${name}: ${short(points.at(-1)[1])}` : name);
    }));
  }

  function ticks(low, high, least = 0) {
    const raw = Math.max((high - low) / 5, least);
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((s) => s * power).find((s) => s >= raw * (1 - 1e-9));
    const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
    return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
  }

  function short(value) {
    return String(Number(value.toPrecision(4)));
  }

  function text(x, y, content, anchor) {
    const place = { class: "tick", x: x.toFixed(1), y: y.toFixed(1), "text-anchor": anchor };
    return svg("text", place, content);
  }

  function svg(name, attributes, content = "") {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = content;
    return element;
  }
})();
