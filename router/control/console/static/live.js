// Asks for newer decisions every other second, while somebody looks. Decisions that were under way are asked for again.

import { painted } from "./console.js";
import { lines } from "./fragment.js";

const EVERY = 2000, MOST_WAIT = 30000, KEPT = 200, PATIENCE = 30000;
const table = document.getElementById("live"), body = table.tBodies[0];
const state = document.getElementById("state"), pause = document.getElementById("pause"), nothing = document.getElementById("nothing");
const seen = new Map();
let failures = 0, timer = 0;

const number = (line) => Number(line.dataset.record);
const paused = () => pause.getAttribute("aria-pressed") === "true";

function newest() {
  return body.rows.length ? number(body.rows[0]) : -1;
}

/** The record after which to ask: before the oldest that is under way, though not for ever. */
function after() {
  const waiting = [...body.rows].filter((line) => "underWay" in line.dataset && Date.now() - seen.get(number(line)) < PATIENCE);
  return Math.min(newest(), ...waiting.map((line) => number(line) - 1));
}

function put(found) {
  for (const line of found.reverse()) {
    const before = body.querySelector(`tr[data-record="${line.dataset.record}"]`);
    if (before) before.replaceWith(line);
    else { line.classList.add("fresh"); body.prepend(line); }
    if (!seen.has(number(line))) seen.set(number(line), Date.now());
  }
  while (body.rows.length > KEPT) { seen.delete(number(body.lastElementChild)); body.lastElementChild.remove(); }
  nothing.hidden = body.rows.length > 0;
}

function say(text, tone) {
  state.textContent = text;
  state.className = `state ${tone}`;
}

async function ask() {
  const url = new URL(table.dataset.newer, location.href);
  url.searchParams.set("after", after());
  const answer = await fetch(url, { headers: { accept: "application/problem+json" }, cache: "no-store" });
  if (answer.status === 200) put(lines(await answer.text()));
  else if (answer.status !== 204) throw new Error((await answer.json()).detail);
}

async function turn() {
  try {
    if (!document.hidden && !paused()) {
      await ask();
      failures = 0;
      say("Live", "good");
    }
  } catch (error) {
    failures += 1;
    say(error instanceof TypeError ? "Lockgate does not answer; asking again" : error.message, "bad");
  }
  timer = setTimeout(turn, Math.min(MOST_WAIT, EVERY * 2 ** failures));
}

pause.hidden = false;
pause.addEventListener("click", () => {
  const now = !paused();
  pause.setAttribute("aria-pressed", now);
  pause.textContent = now ? "Go on" : "Pause";
  if (now) say("Paused", "wait");
  else { clearTimeout(timer); turn(); }
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) { clearTimeout(timer); turn(); } });
for (const line of body.rows) seen.set(number(line), Date.now());
painted.then(turn);
