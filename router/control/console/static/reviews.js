// The keyboard of reviewers. A key alone decides nothing: it opens the dialog that asks.

import { open } from "./console.js";
import { listen } from "./keyboard.js";

const lines = [...document.querySelectorAll("#inbox tbody tr")];
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

listen(keys);
