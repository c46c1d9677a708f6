"use strict";
// Every page: commands get a button that copies them, and a live page stays current.
//
// A part's script calls digits.onMain(setUp): setUp(main) runs now, and after each replacement of
// <main>. Text in a field with an id stays; what else the script changed it does again. Where <main>
// has an element with data-keep, the script keeps the page current itself.

window.digits = {};

// An element with attributes and children; a text is a text, never markup.
digits.make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};

(() => {
  const { make } = digits;
  const setUps = [];
  const main = () => document.querySelector("main");
  const fields = "input, select, textarea";
  let shown = main().innerHTML;  // as the server sent it, before any script changes it

  digits.onMain = setUp => {
    setUps.push(setUp);
    setUp(main());
  };

  digits.onMain(element => {
    for (const command of element.querySelectorAll("pre.command")) {
      const text = () => command.querySelector("code").textContent.trim();
      const button = make("button", { type: "button", "aria-label": `Copy ${text()}` }, "Copy");
      button.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(text());
          button.textContent = "Copied";
          setTimeout(() => { button.textContent = "Copy"; }, 2000);
        } catch {  // the browser does not allow it here
          getSelection().selectAllChildren(command.querySelector("code") || command);
        }
      });
      command.append(button);
    }
  });

  if (!("live" in document.body.dataset)) return;

  const note = make("p", { class: "gone", role: "status", hidden: "" });
  document.body.insertBefore(note, main());
  const say = (text, button) => {
    note.replaceChildren(text, ...(button ? [" ", button] : []));
    note.hidden = !text;
  };

  let edited = false;
  let fetching = false, again = false;

  const inForm = element => element.matches(fields) && element.closest("main form");
  document.addEventListener("input", event => { edited ||= Boolean(inForm(event.target)); });
  const busy = () => edited || inForm(document.activeElement);

  async function refresh() {
    if (main().querySelector("[data-keep]")) return;
    if (fetching) { again = true; return; }
    fetching = true;
    try {
      const response = await fetch(location.href);
      const isPage = response.headers.get("Content-Type").startsWith("text/html");  // also of an error
      if (isPage) offer(new DOMParser().parseFromString(await response.text(), "text/html"));
    } catch {
      // The stream of events says that the server has gone.
    } finally {
      fetching = false;
      if (again) { again = false; refresh(); }
    }
  }

  function offer(page) {
    if (page.querySelector("main").innerHTML === shown) { replaceFooter(page); return; }
    if (!busy()) { replace(page); return; }
    const button = make("button", {}, "Show it, and drop what you typed");
    button.addEventListener("click", () => { edited = false; say(""); replace(page); });
    say("The repository has changed since this page was made.", button);
  }

  function replace(page) {
    const old = main(), scroll = [scrollX, scrollY];
    const opened = [...old.querySelectorAll("details[open]")].map(nameOf);
    const closed = [...old.querySelectorAll("details:not([open])")].map(nameOf);
    const scrolled = [...old.querySelectorAll(".scroll, .log")].map(e => [e.scrollLeft, e.scrollTop]);
    const typed = [...old.querySelectorAll(fields)].filter(e => e.id)
      .map(e => [e.id, e.value, e.checked]);
    const focused = old.contains(document.activeElement) ? pathTo(document.activeElement) : null;

    shown = page.querySelector("main").innerHTML;
    old.replaceChildren(...document.adoptNode(page.querySelector("main")).childNodes);
    replaceFooter(page);

    for (const element of old.querySelectorAll("details")) {
      if (opened.includes(nameOf(element))) element.open = true;
      if (closed.includes(nameOf(element))) element.open = false;
    }
    for (const [id, value, checked] of typed) {
      const field = document.getElementById(id);
      if (field) Object.assign(field, { value }, checked === undefined ? {} : { checked });
    }
    for (const setUp of setUps) setUp(old);
    old.querySelectorAll(".scroll, .log").forEach((element, i) => {
      [element.scrollLeft, element.scrollTop] = scrolled[i] || [0, 0];
    });
    if (focused) old.querySelector(focused)?.focus({ preventScroll: true });
    scrollTo(...scroll);
  }

  const replaceFooter = page =>
    document.querySelector("body > footer").replaceWith(page.querySelector("body > footer"));

  const nameOf = details => details.id || details.querySelector("summary")?.textContent.trim();

  // A selector of an element of main: its id, or its place in the tree.
  function pathTo(element) {
    const steps = [];
    for (let e = element; e !== main(); e = e.parentElement) {
      if (e.id) { steps.unshift(`#${CSS.escape(e.id)}`); break; }
      steps.unshift(`${e.localName}:nth-child(${[...e.parentElement.children].indexOf(e) + 1})`);
    }
    return steps.join(" > ");
  }

  let events, lost = false;
  let known = document.body.dataset.moment;

  function listen() {
    const query = new URLSearchParams({ moment: known });
    events = new EventSource(`${document.body.dataset.root}events?${query}`);
    events.addEventListener("changed", ({ data }) => { known = JSON.parse(data); refresh(); });
    events.addEventListener("open", () => {
      if (lost) { lost = false; say(""); refresh(); }
    });
    events.addEventListener("error", () => {
      lost = true;
      say("The server has stopped, so this page may be old. Start it: make ui, and open the address that it prints.");
    });
  }

  // A browser has at most six connections to a server for all its pages, so a hidden page has none.
  const choose = () => { events?.close(); if (!document.hidden) listen(); };
  document.addEventListener("visibilitychange", choose);
  addEventListener("pagehide", () => events?.close());
  choose();
})();
