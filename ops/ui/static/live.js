"use strict";
// A form shows the command that it would run; the page of a command shows how it goes on.
(() => {
  const DELAY_MS = 150;  // after a key, until the server is asked for the command
  const form = document.getElementById("run");
  if (form) preview(form);
  if (document.getElementById("log")) follow();

  function preview(form) {
    const bar = form.querySelector(".bar");
    const touched = new Set();
    let timer, latest = 0;

    showUsed();
    if ([...form.elements].some(isFilledIn)) ask();  // before this script ran, or by "back"
    form.addEventListener("input", ({ target }) => {
      touched.add(target.name);
      showUsed();
      const { base } = target.dataset;
      if (base !== undefined) {
        target.closest(".field").classList.toggle("changed", target.value.trim() !== base);
      }
      bar.classList.add("stale");
      clearTimeout(timer);
      timer = setTimeout(ask, target.type === "text" ? DELAY_MS : 0);
    });

    function isFilledIn(field) {
      if (field.type === "checkbox") return field.checked !== field.defaultChecked;
      if (field.type === "text") return field.value !== field.defaultValue;
      return field.type === "select-one" && !field.selectedOptions[0]?.defaultSelected;
    }

    async function ask() {
      const asked = ++latest;
      const response = await fetch("preview", {
        method: "POST", body: new URLSearchParams(new FormData(form)),
      }).catch(() => null);
      if (asked !== latest) return;
      if (!response?.ok) {
        say("The server gives no answer. Reload the page.");
        return;
      }
      const { command, problems, errors, sweep } = await response.json();
      document.getElementById("command").textContent = command;
      if (sweep !== undefined) document.getElementById("sweep").textContent = sweep;
      form.elements.command.value = command;
      bar.classList.remove("stale");
      say(errors.join("; "));
      for (const error of form.querySelectorAll(".field > .error, fieldset > .error")) {
        const name = error.id.slice(0, -"-error".length);
        const field = form.elements[name];
        const text = problems[name] ?? "";
        if (text && field?.dataset && field.dataset.base === undefined && !touched.has(name)) continue;
        error.textContent = text;
        if (field?.setAttribute) {
          if (text) field.setAttribute("aria-invalid", "true");
          else field.removeAttribute("aria-invalid");
        }
        if (text) error.closest("details")?.setAttribute("open", "");
      }
      showUsed();
    }

    // The settings of an optimizer or a schedule that is not chosen are not used.
    function showUsed() {
      for (const group of form.querySelectorAll("fieldset[data-field]")) {
        const { field, value } = group.dataset;
        const wrong = [...group.querySelectorAll(".error")].some(error => error.textContent);
        group.hidden = form.elements[field].value !== value && !wrong;
      }
    }

    function say(text) {
      document.getElementById("form-error").textContent = text;
    }
  }

  function follow() {
    const log = document.getElementById("log");
    log.scrollTop = log.scrollHeight;
    draw(JSON.parse(document.getElementById("curve").textContent));
    setInterval(showTime, 1000);

    const { follow } = document.getElementById("status").dataset;
    if (follow) listen(follow);
  }

  function listen(address) {
    const log = document.getElementById("log");
    let events, ended = false;
    const choose = () => {  // a browser has few connections to a server: a hidden page has none
      events?.close();
      if (document.hidden || ended) return;
      events = new EventSource(`${address}?start=${log.dataset.end}`);
      events.addEventListener("output", write);
      events.addEventListener("curve", ({ data }) => draw(JSON.parse(data)));
      events.addEventListener("job", showState);
    };
    document.addEventListener("visibilitychange", choose);
    addEventListener("pagehide", () => events?.close());
    choose();

    function write({ data, lastEventId }) {
      const output = JSON.parse(data);
      const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
      document.getElementById("lines").append(output.lines.map(line => `${line}\n`).join(""));
      document.getElementById("pending").textContent = output.pending;
      log.dataset.end = lastEventId;
      if (atEnd) log.scrollTop = log.scrollHeight;
    }

    async function showState({ data }) {
      const state = JSON.parse(data);
      ended = !["waiting", "running", "stopping"].includes(state);
      if (ended) events.close();
      if (state === "removed") { location.assign("../jobs.html"); return; }
      const response = await fetch(location.href);
      if (!response.ok) return;
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const status = document.getElementById("status");
      const focused = status.contains(document.activeElement);
      status.replaceChildren(...document.adoptNode(page.getElementById("status")).childNodes);
      if (focused) status.querySelector("button, a")?.focus();
    }
  }

  function showTime() {
    for (const element of document.querySelectorAll("[data-since]")) {
      const seconds = Math.max(0, Math.round(Date.now() / 1000 - element.dataset.since));
      const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
      element.textContent = parts.map((part, i) => i ? String(part).padStart(2, "0") : part)
        .join(":");
    }
  }

  // progress: what digits/training/progress.py publishes, or null before the first epoch
  function draw(progress) {
    const section = document.getElementById("training");
    section.hidden = !progress;
    if (!progress) return;
    const { epochs, curve } = progress;
    const points = key => curve.map(row => [row.epoch, row[key]]);
    const bar = document.getElementById("epochs");
    bar.max = epochs;
    bar.value = curve.length;
    const best = Math.max(...curve.map(row => row.val_accuracy));
    document.getElementById("epoch").textContent =
      `epoch ${curve.length} of ${epochs}, best validation accuracy ${(100 * best).toFixed(2)} %`;
    digits.curves(section.querySelector("[data-curve=loss]"), {
      title: "Loss", x_label: "epoch", lines: [
        { name: "training", points: points("train_loss") },
        { name: "validation", points: points("val_nll") },
      ],
    });
    digits.curves(section.querySelector("[data-curve=accuracy]"), {
      title: "Validation accuracy", x_label: "epoch",
      lines: [{ name: "validation accuracy", points: points("val_accuracy") }],
    });
  }
})();
