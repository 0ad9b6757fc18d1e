// Figures that take a moment: the page is there, and they come when they are counted.

import { painted } from "./console.js";
import { part } from "./fragment.js";

const now = document.getElementById("now"), told = now.querySelector("[role=status]");

await painted;
try {
  const answer = await fetch(now.dataset.load, { headers: { accept: "text/html" }, cache: "no-store" });
  const found = part(await answer.text(), "now");
  if (!answer.ok || !found) throw new Error("The figures could not be counted; the log of Lockgate says more.");
  now.replaceWith(found);
} catch (error) {
  told.textContent = error.message;
}
