"use strict";
// One image after the other: a key or a button gives the label. The server keeps each label in a
// file at once and says what comes next, so a reload or another window continues where it was.

(() => {
  const byId = id => document.getElementById(id);
  if (!byId("labels")) return;
  let state = null;
  let busy = false;

  const named = () => decodeURIComponent(location.hash.slice(1));

  async function ask(what, more) {
    if (busy) return;
    busy = true;
    const output = named();
    try {
      const response = await fetch(`${document.body.dataset.root}labels/${what}`, {
        method: "POST",
        body: new URLSearchParams({ output, ...more }),
      });
      const kind = response.headers.get("Content-Type") || "";
      const answer = kind.includes("json") ? await response.json() : { error: await response.text() };
      if (output !== named()) return;
      if (response.ok) show(answer); else complain(answer.error);
    } catch {
      complain("The server does not answer. Every label that you gave is in the file.");
    } finally {
      busy = false;
    }
  }

  function complain(text) {
    byId("problem").textContent = text;
    byId("opening").hidden = true;
    byId("choose").hidden = Boolean(state);
  }

  function show(next) {
    const first = state?.output !== next.output;
    state = next;
    complain("");
    byId("work").hidden = false;
    byId("name").textContent = state.output;
    byId("file").textContent = state.labels_file;
    byId("command").textContent = state.command;
    byId("command").nextElementSibling?.setAttribute("aria-label", `Copy ${state.command}`);
    byId("run").href = `${document.body.dataset.root}run.html?action=correct&file=${encodeURIComponent(state.labels_file)}`;
    const done = state.labelled + state.skipped;
    byId("progress").max = Math.max(1, state.total);
    byId("progress").value = done;
    byId("count").textContent = `${state.labelled} labelled` +
      (state.skipped ? `, ${state.skipped} skipped` : "") + ` of ${state.total}`;
    byId("undo").disabled = byId("undo-last").disabled = !state.last;
    byId("one").hidden = !state.image;
    byId("finished").hidden = Boolean(state.image);
    if (first) makeButtons();
    if (state.image) showImage(state.image); else finish();
    if (first && state.image) byId("question").focus({ preventScroll: true });
  }

  function showImage(image) {
    const picture = byId("original");
    picture.hidden = Boolean(image.error);
    picture.src = image.original || image.seen || "data:,";
    picture.className = image.original ? "" : "ink";
    byId("seen").hidden = !image.original;
    if (image.original) byId("seen").querySelector("img").src = image.seen;
    byId("path").textContent = image.path;
    const opinion = byId("opinion");
    const sure = Math.floor(1000 * image.confidence) / 10;  // 99.96 % is not 100 %
    opinion.replaceChildren("The model says ", digits.make("strong", {}, `${image.predicted}, ${sure} % sure`));
    if (image.error) opinion.append(`. The image can't be shown: ${image.error}`);
    for (const button of byId("classes").children) button.disabled = Boolean(image.error);
  }

  function finish() {
    byId("summary").textContent = `${state.labelled} of ${state.total} images have a label` +
      (state.skipped ? `; ${state.skipped} were skipped.` : ".");
    byId("revisit").hidden = !state.skipped;
    byId("finished").querySelector("h2").focus({ preventScroll: true });
  }

  // A class of one character has its own key; of others, the first nine have the digits 1 to 9.
  const keys = () => new Map(state.classes.every(name => [...name].length === 1)
    ? state.classes.map(name => [name, name])
    : state.classes.slice(0, 9).map((name, i) => [String(i + 1), name]));

  function makeButtons() {
    const group = byId("classes");
    group.className = state.classes.every(name => [...name].length === 1) ? "" : "named";
    const keyOf = new Map([...keys()].map(([key, name]) => [name, key]));
    group.replaceChildren(...state.classes.map(name => {
      const button = digits.make("button", { type: "button" });
      const key = keyOf.get(name);
      if (key) button.setAttribute("aria-keyshortcuts", key);
      if (key && key !== name) button.append(digits.make("kbd", { "aria-hidden": "true" }, key));
      button.append(name);
      button.addEventListener("click", () => give(name));
      return button;
    }));
  }

  const give = label => {
    if (state?.image && !(label && state.image.error)) ask("give", { path: state.image.path, label });
  };
  const undo = () => { if (state?.last) ask("undo"); };

  document.addEventListener("keydown", event => {
    if (!state || byId("work").hidden || event.repeat) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, select, textarea")) return;
    const name = keys().get(event.key);
    if (name !== undefined) give(name);
    else if (event.key === "s") give("");
    else if (event.key === "u" || event.key === "Backspace") undo();
    else return;
    event.preventDefault();
  });
  byId("skip").addEventListener("click", () => give(""));
  byId("undo").addEventListener("click", undo);
  byId("undo-last").addEventListener("click", undo);
  byId("revisit").addEventListener("click", () => ask("revisit"));
  byId("open").addEventListener("submit", event => {
    event.preventDefault();
    location.hash = encodeURIComponent(byId("output").value.trim());
  });
  byId("back").addEventListener("click", event => {
    event.preventDefault();
    history.pushState(null, "", location.pathname);
    location.reload();  // the list says how far each one is
  });

  function open() {
    state = null;
    byId("work").hidden = true;
    complain("");
    byId("choose").hidden = Boolean(named());
    byId("opening").hidden = !named();
    if (named()) ask("open");
  }
  addEventListener("hashchange", open);
  open();
})();
