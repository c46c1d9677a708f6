"use strict";
// The table of runs: sort, filter, columns, groups over seeds. The address keeps all of it.
(() => {
  const { make, figure, margin, param, verdict } = digits;
  const OPERATORS = {
    "=": (a, b) => a === b, "!=": (a, b) => a !== b,
    "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b,
  };
  const CONDITION = /^([^=<>!\s]+)(!=|<=|>=|=|<|>)(.*)$/;
  const MOST_COMPARED = 12;
  const picked = new Set();

  digits.onMain(main => {
    const table = main.querySelector("#runs");
    if (!table) return;
    const data = digits.data();
    const state = readState(data);
    const field = id => main.querySelector(`#${id}`);
    field("filter").value = state.filter;
    field("view-runs").checked = state.view === "runs";
    field("view-seeds").checked = state.view === "seeds";
    const ids = new Set(data.runs.map(run => run.id));
    for (const id of picked) if (!ids.has(id)) picked.delete(id);

    const views = { runs: runRows(data), seeds: groupRows(data) };
    let rows = [];

    field("filter").addEventListener("input", event => { state.filter = event.target.value; filter(); });
    for (const id of ["view-runs", "view-seeds"]) {
      field(id).addEventListener("change", event => { state.view = event.target.value; draw(); });
    }
    field("clear").addEventListener("click", () => { picked.clear(); mark(); field("filter").focus(); });
    chooser();
    draw();

    function draw() {
      rows = views[state.view];
      const columns = columnsOf(data, state);
      const head = make("tr", {}, ...columns.map(column => header(column)));
      for (const row of rows) row.element = drawRow(row, columns);
      table.replaceChildren(make("thead", {}, head), make("tbody"));
      sort();
      filter();
      mark();
    }

    function header(column) {
      const button = make("button", { type: "button" }, ...wrapped(column.title));
      const cell = make("th", { scope: "col", title: column.id, ...(column.text ? { class: "text" } : {}) }, button);
      cell.dataset.id = column.id;
      button.addEventListener("click", () => {
        const first = column.text || column.id === "errors" ? "" : "-";
        const order = [first + column.id, (first ? "" : "-") + column.id];
        state.sort = state.sort === order[0] ? order[1] : order[0];
        sort();
        save();
      });
      return cell;
    }

    function drawRow(row, columns) {
      const box = make("input", { type: "checkbox", "aria-label": `Choose ${row.name}` });
      box.addEventListener("change", () => {
        for (const id of row.ids) if (box.checked) picked.add(id); else picked.delete(id);
        mark();
      });
      row.box = box;
      const name = row.ids.length === 1 || state.view === "runs"
        ? make("a", { href: `runs/${row.ids[0]}.html`, title: row.name }, row.name)
        : make("span", { title: row.name }, row.name);
      const first = make("th", { scope: "row" }, box, name);
      if (row.note) first.append(make("small", { title: row.note }, row.note));
      const cells = columns.slice(1).map(column => {
        const cell = make("td", column.text ? { class: "text" } : {});
        cell.append(...column.show(row));
        return cell;
      });
      return make("tr", {}, first, ...cells);
    }

    function sort() {
      const descending = state.sort.startsWith("-"), id = state.sort.replace(/^-/, "");
      const key = row => row.values[id];
      const missing = value => value === null || value === undefined;
      const compare = (a, b) => {
        const x = key(a), y = key(b);
        if (missing(x) || missing(y)) return missing(x) - missing(y);
        const order = typeof x === "number" && typeof y === "number"
          ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
        return descending ? -order : order;
      };
      rows.sort(compare);
      table.tBodies[0].append(...rows.map(row => row.element));
      for (const cell of table.querySelectorAll("thead th")) {
        if (cell.dataset.id === id) cell.setAttribute("aria-sort", descending ? "descending" : "ascending");
        else cell.removeAttribute("aria-sort");
      }
    }

    function filter() {
      const { holds, unknown } = conditions(state.filter, data);
      let count = 0;
      for (const row of rows) {
        row.element.hidden = !holds(row);
        count += !row.element.hidden;
      }
      const noun = state.view === "runs" ? "runs" : "groups";
      field("count").textContent = `${count} of ${rows.length} ${noun}`
        + (unknown.length ? `. No parameter or metric is called ${unknown.join(", ")}` : "");
      save();
    }

    function mark() {
      for (const row of rows) {
        row.box.checked = row.ids.every(id => picked.has(id));
        row.element.classList.toggle("picked", row.box.checked);
      }
      const count = picked.size;
      field("chosen").hidden = !count;
      field("chosen-count").textContent = count === 1 ? "1 run chosen; choose another one"
        : `${count} runs chosen${count > MOST_COMPARED ? `; the first ${MOST_COMPARED} can be compared` : ""}`;
      const link = field("compare");
      const order = data.runs.map(run => run.id).filter(id => picked.has(id));
      link.href = `compare.html#${order.slice(0, MOST_COMPARED).join(",")}`;
      link.hidden = count < 2;
    }

    function chooser() {
      const list = field("choices");
      const part = (title, names) => {
        if (names.length) list.append(make("h3", {}, title));
        for (const name of names) {
          const box = make("input", { type: "checkbox" });
          box.checked = state.columns.includes(name);
          box.addEventListener("change", () => {
            state.columns = box.checked
              ? [...state.columns, name] : state.columns.filter(column => column !== name);
            draw();
          });
          list.append(make("label", {}, box, make("span", {}, name)));
        }
      };
      list.replaceChildren();
      part("Metrics", Object.keys(data.figures));
      part("Parameters that vary", Object.keys(data.params));
      part("Parameters that all runs share", Object.keys(data.common));
    }

    function save() {
      const values = new URLSearchParams();
      if (state.filter) values.set("filter", state.filter);
      if (state.view !== "runs") values.set("view", state.view);
      if (state.sort !== "-time") values.set("sort", state.sort);
      if (state.columns.join() !== data.shown.join()) values.set("columns", state.columns.join(","));
      history.replaceState(null, "", `#${values}`);
    }
  });

  function readState(data) {
    const given = new URLSearchParams(location.hash.slice(1));
    const known = new Set([...Object.keys(data.figures), ...Object.keys(data.params), ...Object.keys(data.common)]);
    const columns = given.has("columns") ? given.get("columns").split(",") : data.shown;
    return {
      filter: given.get("filter") || "",
      view: given.get("view") === "seeds" ? "seeds" : "runs",
      sort: given.get("sort") || "-time",
      columns: columns.filter(name => known.has(name)),
    };
  }

  function columnsOf(data, state) {
    const first = { id: "name", title: state.view === "runs" ? "run" : "setting", text: true };
    const second = state.view === "runs"
      ? { id: "verdict", title: "verdict", text: true, show: row => [verdict(row.values.verdict, row.better)] }
      : { id: "n", title: "runs", show: row => [String(row.values.n)] };
    const last = { id: "time", title: "date (UTC)", text: true, show: row => [row.date] };
    const columns = state.columns.filter(name => state.view === "runs" || name !== data.seed);
    const shown = name => (name in data.figures
      ? row => [figure(name, row.values[name]), ...(row.margins ? [make("small", {}, ` ${margin(name, row.margins[name])}`)] : [])]
      : row => [param(row.values[name])]);
    return [first, second, ...columns.map(name => ({ id: name, title: short(name, columns), show: shown(name) })), last];
  }

  // lr for train.optimizer.lr, unless another column ends in the same word.
  function short(name, others) {
    const word = name.split(".").at(-1);
    return others.some(other => other !== name && other.split(".").at(-1) === word) ? name : word;
  }

  function runRows(data) {
    return data.runs.map((run, i) => ({
      ids: [run.id],
      name: run.name,
      note: run.fault && !("accuracy" in data.figures && data.figures.accuracy[i] !== null) ? run.fault : run.subject,
      date: date(run.time),
      better: run.better,
      text: [run.name, run.subject, run.author, run.kind, run.verdict, run.better ? "better" : "", run.fault].join("\n").toLowerCase(),
      values: { ...values(data, i), name: run.name, time: run.time, verdict: run.verdict, kind: run.kind, author: run.author },
    }));
  }

  function groupRows(data) {
    return data.groups.map(group => {
      const runs = group.runs.map(i => data.runs[i]), last = group.runs.at(-1);
      const own = values(data, last);
      const names = Object.keys(data.params).filter(name => name !== data.seed);
      const changed = names.filter(name => data.shown.includes(name)).map(name => `${name.split(".").at(-1)} ${param(own[name])}`);
      const name = runs.length === 1 ? runs[0].name : changed.join(", ") || runs.at(-1).name;
      const figures = Object.fromEntries(Object.entries(group.figures).map(([key, [mean]]) => [key, mean]));
      return {
        ids: runs.map(run => run.id),
        name,
        note: runs.length === 1 ? "one run, so no interval" : runs.map(run => run.name).join(", "),
        date: date(data.runs[last].time),
        margins: Object.fromEntries(Object.entries(group.figures).map(([key, [, half]]) => [key, half])),
        text: runs.map(run => [run.name, run.subject, run.author, run.kind, run.verdict].join("\n")).join("\n").toLowerCase(),
        values: { ...own, ...figures, name, time: data.runs[last].time, n: group.n },
      };
    });
  }

  function values(data, i) {
    const own = { ...data.common };
    for (const part of [data.params, data.figures]) {
      for (const [name, column] of Object.entries(part)) own[name] = column[i];
    }
    return own;
  }

  // A name in a condition may leave out its first words: lr means train.optimizer.lr.
  function conditions(text, data) {
    const names = [...Object.keys(data.figures), ...Object.keys(data.params), ...Object.keys(data.common), "verdict", "kind", "author", "name", "n"];
    const find = given => (names.includes(given) ? [given] : names.filter(name => name.endsWith(`.${given}`)));
    const tests = [], unknown = [];
    for (const word of text.match(/(?:[^\s"]|"[^"]*")+/g) || []) {
      const [, name, operator, raw] = word.match(CONDITION) || [];
      if (!name) {
        const wanted = word.replaceAll('"', "").toLowerCase();
        tests.push(row => row.text.includes(wanted));
        continue;
      }
      const found = find(name), wanted = raw.replaceAll('"', "");
      if (!found.length) { unknown.push(name); tests.push(() => false); continue; }
      tests.push(row => found.some(key => test(row.values[key], operator, wanted)));
    }
    return { holds: row => tests.every(holds => holds(row)), unknown };
  }

  function test(value, operator, wanted) {
    if (value === null || value === undefined) return false;
    const number = wanted.endsWith("%") ? Number(wanted.slice(0, -1)) / 100 : Number(wanted);
    if (typeof value === "number") return wanted !== "" && !Number.isNaN(number) && OPERATORS[operator](value, number);
    return OPERATORS[operator](String(value).toLowerCase(), wanted.toLowerCase());
  }

  function date(seconds) {
    return new Date(1000 * seconds).toISOString().slice(0, 16).replace("T", " ");
  }

  // train.optimizer.lr may break after a dot.
  function wrapped(name) {
    return name.split(/(?<=\.)/).flatMap(part => [part, make("wbr")]).slice(0, -1);
  }
})();
