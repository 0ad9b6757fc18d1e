// The keyboard of reviewers. A key alone decides nothing: it opens the dialog that asks.

import { open } from "./console.js";

const lines = [...document.querySelectorAll("#inbox tbody tr")];
const typing = (target) => target.closest("input, textarea, select, [contenteditable]") !== null;
let at = -1;

function go(step) {
  if (!lines.length) return;
  lines[at]?.classList.remove("at-hand");
  at = Math.max(0, Math.min(lines.length - 1, at + step));
  lines[at].classList.add("at-hand");
  lines[at].querySelector("a").focus();
}

const keys = {
  j: () => go(1),
  k: () => go(at < 0 ? 1 : -1),
  o: () => lines[at]?.querySelector("a").click(),
  a: () => open("approve"),
  r: () => open("reject"),
  m: () => document.getElementById("change")?.click(),
  u: () => document.getElementById("back")?.click(),
  "?": () => open("help"),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || document.querySelector("dialog[open]")) return;
  if (!Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  keys[event.key]();
});
