"use strict";
// Runs side by side: the address names them, each is a script of its own.
(() => {
  const { make, figure, param, verdict } = digits;
  const MOST_RUNS = 12, MOST_DIGITS = 60, MOST_CONTESTED = 24;
  const LOWER_IS_BETTER = new Set(["errors", "nll", "ece", "val_nll", "train_loss"]);
  const loaded = new Map();
  const data = digits.data();
  const known = new Set(data.runs);

  digits.add = run => loaded.set(run.id, run);
  addEventListener("hashchange", show);
  show();

  async function show() {
    const address = location.hash;
    const ids = [...new Set(location.hash.slice(1).split(","))].filter(id => known.has(id));
    const place = document.getElementById("compared");
    document.getElementById("hint").hidden = ids.length > 1;
    if (ids.length < 2) { place.replaceChildren(); return; }
    await Promise.all(ids.slice(0, MOST_RUNS).map(load));
    if (address !== location.hash) return;  // another choice was made in the meantime
    const runs = ids.slice(0, MOST_RUNS).map(id => loaded.get(id));
    const names = runs.map(run => run.name);
    for (const run of runs) run.title = names.filter(name => name === run.name).length > 1 ? `${run.name} (${run.id})` : run.name;
    place.replaceChildren(
      ...(ids.length > MOST_RUNS ? [make("p", { class: "note" }, `${ids.length} are chosen; the first ${MOST_RUNS} are shown.`)] : []),
      figures(runs), params(runs), curves(runs), images(runs),
    );
  }

  function load(id) {
    if (loaded.has(id)) return null;
    return new Promise((resolve, reject) => {
      const script = make("script", { src: `runs/${id}.js` });
      script.addEventListener("load", resolve);
      script.addEventListener("error", reject);
      document.head.append(script);
    });
  }

  function section(title, ...content) {
    const id = title.toLowerCase().replaceAll(" ", "-");
    return make("section", { "aria-labelledby": id }, make("h2", { id }, title), ...content);
  }

  function sideBySide(label, runs, rows) {
    const head = make("tr", {}, make("th", { scope: "col" }, make("span", { class: "hidden" }, label)),
      ...runs.map(run => make("th", { scope: "col" }, make("a", { href: `runs/${run.id}.html` }, run.title))));
    const body = rows.map(([name, cells]) => make("tr", {}, make("th", { scope: "row" }, name), ...cells));
    return make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": label },
      make("table", { class: "side" }, make("thead", {}, head), make("tbody", {}, ...body)));
  }

  function figures(runs) {
    const names = [...new Set(runs.flatMap(run => Object.keys(run.figures)))];
    const main = names.filter(name => !name.includes("."));
    const row = name => {
      const values = runs.map(run => run.figures[name] ?? null);
      const sound = values.filter(value => value !== null);
      const best = LOWER_IS_BETTER.has(name) ? Math.min(...sound)
        : /accuracy|robustness|recall/.test(name) ? Math.max(...sound) : null;
      const differ = new Set(sound).size > 1;
      return [name, values.map(value => make("td", differ && value === best ? { class: "best" } : {}, figure(name, value)))];
    };
    const faults = runs.filter(run => run.fault).map(run => make("p", { class: "note" }, `${run.title}: ${run.fault}`));
    return section("Figures",
      sideBySide("Figures", runs, [["verdict", runs.map(run => make("td", {}, verdict(run.verdict)))], ...main.map(row)]),
      make("p", { class: "note" }, "The best value of a row is bold, however small the difference; the gate says whether chance explains it."),
      ...faults,
      make("details", {}, make("summary", {}, "By class and corruption"), sideBySide("Figures by class and corruption", runs, names.filter(name => name.includes(".")).map(row))));
  }

  function params(runs) {
    const names = [...new Set(runs.flatMap(run => Object.keys(run.params)))].sort();
    const differing = names.filter(name => new Set(runs.map(run => param(run.params[name]))).size > 1);
    return section("Parameters that differ", differing.length
      ? sideBySide("Parameters that differ", runs, differing.map(name =>
        [make("code", {}, name), runs.map(run => make("td", {}, param(run.params[name])))]))
      : make("p", {}, "None: they have the same parameters."));
  }

  function curves(runs) {
    const charts = Object.entries(data.curves).map(([column, title]) => {
      const place = make("div");
      digits.curves(place, {
        title, x_label: "epoch",
        lines: runs.map(run => ({ name: run.title, points: run.curve.map(row => [row.epoch, row[column]]) })),
      });
      return make("div", {}, make("h3", {}, title), place);
    });
    return section("Training", make("div", { class: "columns" }, ...charts));
  }

  function images(runs) {
    const sound = runs.filter(run => run.test_set);
    if (sound.length < 2) return section("Digits", make("p", {}, "There are not two runs whose errors can be read."));
    const sets = new Set(sound.map(run => run.test_set));
    if (sets.size > 1) {
      return section("Digits", make("p", {}, "They were tested on different images, so no digit can be compared."));
    }
    const sheet = data.sheets[sound[0].test_set] || { missing: "they are unknown", place: {} };
    const note = make("p", { class: "note" },
      "A digit with its true class, the wrong prediction, its confidence, and its position in the test set."
      + (sheet.missing ? ` No pictures: ${sheet.missing}` : ""));
    const [first, ...others] = sound;
    if (others.length > 1) return section("Digits", note, ...contest(sound, sheet));
    const other = others[0];
    const fixed = only(first.errors, other.errors), broken = only(other.errors, first.errors);
    return section("Digits", note,
      ...gallery(`${fixed.length} fixed: wrong in ${first.title} only`, fixed, sheet),
      ...gallery(`${broken.length} broken: wrong in ${other.title} only`, broken, sheet),
      make("p", {}, `Both get ${Object.keys(first.errors).length - fixed.length} images wrong.`),
      make("p", {}, make("a", { href: `#${other.id},${first.id}` }, `The other way round: from ${other.title} to ${first.title}`)));
  }

  // The errors of one run that the other does not make, the most confident first.
  function only(errors, others) {
    return Object.entries(errors).filter(([index]) => !(index in others))
      .sort(([, [, , a]], [, [, , b]]) => b - a);
  }

  function gallery(title, errors, sheet) {
    const shown = errors.slice(0, MOST_DIGITS);
    const more = errors.length > MOST_DIGITS ? `; shown are the ${MOST_DIGITS} with the highest confidence` : "";
    const digitsOf = shown.map(([index, [label, predicted, confidence]]) => make("figure", {},
      ...picture(index, sheet),
      make("figcaption", {}, make("b", {}, label), " read as ", make("b", {}, predicted), make("br"),
        make("small", {}, `${(100 * confidence).toFixed(0)} % · #${index}`))));
    return [make("h3", {}, title + more), make("div", { class: "digits" }, ...digitsOf)];
  }

  function picture(index, sheet) {
    if (!(index in sheet.place)) return [];
    const place = sheet.place[index], rows = Math.ceil(Object.keys(sheet.place).length / sheet.columns);
    const image = make("span", { class: "digit", role: "img", "aria-label": `Test image ${index}` });
    const values = {
      "--pictures": `url("${new URL(sheet.path, document.baseURI)}")`, "--columns": sheet.columns, "--rows": rows,
      "--x": place % sheet.columns, "--y": Math.floor(place / sheet.columns),
    };
    for (const [name, value] of Object.entries(values)) image.style.setProperty(name, value);
    return [image];
  }

  function contest(runs, sheet) {
    const counts = new Map();
    for (const run of runs) for (const index of Object.keys(run.errors)) counts.set(index, (counts.get(index) || 0) + 1);
    const contested = [...counts].filter(([, n]) => n < runs.length).sort(([i, a], [j, b]) => b - a || i - j);
    const shown = contested.slice(0, MOST_CONTESTED).map(([index]) => index);
    const label = index => runs.find(run => index in run.errors).errors[index][0];
    const head = make("tr", {}, make("th", { scope: "col" }, make("span", { class: "hidden" }, "run")),
      ...shown.map(index => make("th", { scope: "col" }, ...picture(index, sheet), label(index))));
    const rows = runs.map(run => make("tr", {}, make("th", { scope: "row" }, run.title), ...shown.map(index =>
      index in run.errors ? make("td", { class: "bad" }, run.errors[index][1])
        : make("td", {}, make("span", { class: "nil" }, "·")))));
    const more = contested.length > shown.length ? `; the ${shown.length} that most runs get wrong are shown` : "";
    return [
      make("h3", {}, `${contested.length} digits that only some runs get wrong${more}`),
      make("p", { class: "note" }, "Each column is a test image, with its true class; a cell shows a wrong prediction."),
      make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Wrong predictions of each run" },
        make("table", { class: "contest" }, make("thead", {}, head), make("tbody", {}, ...rows))),
    ];
  }
})();
