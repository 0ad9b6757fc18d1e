// The keyboard of who labels. A key alone says nothing: it chooses, and Enter says it. Intents keep the order of their names.

import { open } from "./console.js";
import { listen } from "./keyboard.js";

const say = document.getElementById("say");
const search = document.getElementById("search");
const intents = [...document.querySelectorAll("#intents li")];
const numbered = () => intents.filter((each) => !each.hidden).slice(0, 9);
const send = (id) => document.getElementById(id)?.requestSubmit();

function choose(radio) {
  if (!radio) return;
  radio.checked = true;
  radio.focus();
  told();
}

/** What Enter would say stands on the button. */
function told() {
  const chosen = say.querySelector("[name=label]:checked");
  if (chosen) document.getElementById("send").textContent = `Say “${chosen.closest("label").querySelector("b").textContent}”, and go on`;
}

/** What is chosen stays to be seen, whatever is searched for. */
function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const each of intents) {
    const text = each.textContent.toLowerCase();
    each.hidden = !words.every((word) => text.includes(word)) && !each.querySelector("input").checked;
    each.querySelector("kbd").hidden = true;
  }
  numbered().forEach((each, place) => {
    const key = each.querySelector("kbd");
    key.textContent = String(place + 1);
    key.hidden = false;
  });
  const shown = intents.filter((each) => !each.hidden).length;
  document.getElementById("matches").textContent = words.length ? `${shown} of ${intents.length} intents` : "";
}

function searching() {
  document.getElementById("search-label").hidden = false;
  search.addEventListener("input", filter);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { search.value = ""; filter(); search.blur(); }
    if (event.key !== "Enter" && event.key !== "ArrowDown") return;
    event.preventDefault();
    choose(numbered()[0]?.querySelector("input"));
  });
  say.addEventListener("change", told);
  filter();
  told();
}

const keys = { c: () => send("claim"), u: () => document.getElementById("back")?.click(), "?": () => open("help") };
if (say) {
  searching();
  keys["/"] = () => search.focus();
  keys.o = () => choose(say.querySelector("[value=out_of_scope]"));
  keys.d = () => choose(say.querySelector("[value=unsure]"));
  keys.s = () => send("skip");
  for (let place = 1; place <= 9; place += 1) keys[place] = () => choose(numbered()[place - 1]?.querySelector("input"));
}
listen(keys);
