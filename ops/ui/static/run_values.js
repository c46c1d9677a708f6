"use strict";
// What the table of runs and the runs side by side share: values for people.
(() => {
  const SHARES = /^(accuracy|val_accuracy|robustness|recall)(\.|$)/;

  // A figure for a person: rates in percent.
  digits.figure = (name, value) => {
    if (value === null || value === undefined) return "–";
    if (SHARES.test(name)) return `${(100 * value).toFixed(2)} %`;
    if (Number.isInteger(value)) return value.toLocaleString("en-US");
    return decimals(value);
  };

  // Half the width of an interval, in the unit of its figure.
  digits.margin = (name, value) => {
    if (value === null || value === undefined) return "";
    return `± ${SHARES.test(name) ? (100 * value).toFixed(2) : decimals(value)}`;
  };

  const decimals = value => {
    const size = Math.abs(value);
    return size >= 1 ? value.toFixed(1) : size >= 0.0001 || !size ? value.toFixed(4) : value.toPrecision(2);
  };

  digits.param = value => (value === null || value === undefined ? "–" : String(value));

  digits.data = () => JSON.parse(document.getElementById("data").textContent);

  const WORDS = { none: "no verdict" };
  digits.verdict = (word, better) =>
    digits.make("span", { class: `state ${word}` }, (WORDS[word] || word) + (better ? ", better" : ""));
})();
