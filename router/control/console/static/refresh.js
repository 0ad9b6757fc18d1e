// The part of a page that is about now, asked for again while somebody looks.

import { part } from "./fragment.js";

const EVERY = 3000;

async function turn() {
  const now = document.getElementById("now");
  try {
    if (!document.hidden && !now.contains(document.activeElement) && !document.querySelector("dialog[open]")) {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
      const found = answer.ok ? part(await answer.text(), "now") : null;
      if (found) {
        // What can be done depends on the state, and stands outside of this part.
        if (found.dataset.state !== now.dataset.state) return location.reload();
        // Who opened something goes on reading it.
        for (const opened of now.querySelectorAll("details[id][open]")) found.querySelector(`#${CSS.escape(opened.id)}`)?.setAttribute("open", "");
        now.replaceWith(found);
      }
    }
  } catch { /* it does not answer: what is shown is what was, and the next turn asks again */ }
  return setTimeout(turn, EVERY);
}

setTimeout(turn, EVERY);
