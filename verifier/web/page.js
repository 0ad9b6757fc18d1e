// The page around verify.js. Whatever comes from a bundle is shown as text, never as markup.

"use strict";

(() => {
  const at = (id) => document.getElementById(id);
  const MAX_BYTES = 16 * 2 ** 20 + 1;
  const UNABLE = "This browser cannot check Ed25519 signatures here. Chrome and Edge can from version 137 on, Firefox from 129, Safari "
    + "from 17, when the page is opened from a file or over HTTPS; lockgate-verify can everywhere.";
  const UNFORESEEN = "The page met a fault of its own and can say nothing about this bundle; lockgate-verify may.";
  // Orders to show text in another order than it stands, or not at all: directions of Unicode, its tags, and control characters. A mark
  // that says right-to-left is natural beside a letter of such a script, and turns numbers around where there is none.
  const MISLEADING = new RegExp(
    "[\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f\\u202a-\\u202e\\u2066-\\u2069\\u{e0000}-\\u{e007f}]"
    + "|(?<![RTL])[\\u061c\\u200f](?![RTL])".replaceAll("RTL", "\\u0590-\\u061b\\u061d-\\u08ff\\ufb1d-\\ufdff\\ufe70-\\ufefe"
      + "\\u{10800}-\\u{10fff}\\u{1e800}-\\u{1efff}"), "gu");
  let chosen = null, asked = 0;

  /** What was opened is read as it stands, whoever wrote it. */
  const visible = (text) => text.replace(MISLEADING, (each) => `\\u${each.codePointAt(0).toString(16).padStart(4, "0")}`);

  function element(tag, text, className = "") {
    const made = document.createElement(tag);
    made.textContent = visible(text);
    made.className = className;
    return made;
  }

  function say(kind, heading, sentence) {
    const verdict = at("verdict");
    verdict.className = `verdict ${kind}`;
    verdict.querySelector("strong").textContent = heading;
    verdict.querySelector("p").textContent = sentence;
    verdict.hidden = false;
    at("result").hidden = true;
    verdict.focus();
  }

  /** What was said is not of what is given from now on, nor is what is still being found out. */
  function another() {
    asked += 1;
    at("verdict").hidden = true;
    at("result").hidden = true;
  }

  /** What was pasted, as the bytes of a file; browsers may have taken the last line's end, or given lines another system's end. */
  function pasted(id) {
    const text = at(id).value.replaceAll("\r\n", "\n");
    return text.trim() === "" ? null : new TextEncoder().encode(text.endsWith("\n") ? text : `${text}\n`);
  }

  function show(answer) {
    say(answer.ok ? "good" : "bad", answer.ok ? "Holds" : "Does not hold", answer.sentence);
    at("steps").replaceChildren(...answer.steps.map(({ name, state }) => {
      const line = element("li", "");
      line.append(element("span", name), element("span", state, `state ${["holds", "fails"].includes(state) ? state : "quiet"}`));
      return line;
    }));
    at("unproven").replaceChildren(...answer.notProven.map((each) => element("li", each)));
    at("opened").replaceChildren(...answer.opened.map(({ record, field, value }) => {
      const row = element("tr", "");
      row.append(element("td", String(record)), element("td", field), element("td", value));
      return row;
    }));
    at("records").replaceChildren(...answer.records.map(({ index, leaf }) => {
      const part = element("details", "");
      part.append(element("summary", `Record ${index}: ${leaf.get("schema")}`), element("pre", indented(leaf)));
      return part;
    }));
    for (const [part, shown] of [["unproven", answer.notProven], ["opened", answer.opened], ["records", answer.records]]) {
      at(`${part}-part`).hidden = shown.length === 0;
    }
    at("result").hidden = false;
  }

  const indented = (leaf) => JSON.stringify(JSON.parse(lockgateVerify.canonical(leaf)), null, 2);

  async function verify(event) {
    event.preventDefault();
    another();
    const mine = asked;
    if (!(await lockgateVerify.able())) return say("bad", "Cannot verify", UNABLE);
    if (!chosen) return say("bad", "Nothing to verify", "No bundle is chosen.");
    const bundle = await chosen.slice(0, MAX_BYTES).arrayBuffer().catch(() => null);
    if (!bundle) return say("bad", "Cannot verify", "The bundle’s file cannot be read.");
    const keys = at("keys").value.split("\n").map((key) => key.trim()).filter(Boolean);
    const given = { bundle: new Uint8Array(bundle), keys, policy: pasted("policy"), checkpoint: pasted("checkpoint") };
    const answer = await lockgateVerify.verify(given).catch(() => null);
    if (mine !== asked) return undefined;
    return answer ? show(answer) : say("bad", "Cannot verify", UNFORESEEN);
  }

  function dropped(event) {
    event.preventDefault();
    at("drop").classList.remove("over");
    const file = event.dataTransfer?.files[0];
    if (!file) return;
    at("bundle").files = event.dataTransfer.files;
    chosen = file;
    another();
  }

  at("form").addEventListener("submit", verify);
  at("form").addEventListener("input", another);
  at("bundle").addEventListener("change", () => {
    chosen = at("bundle").files[0] ?? null;
  });
  for (const [name, over] of [["dragenter", true], ["dragover", true], ["dragleave", false]]) {
    at("drop").addEventListener(name, (event) => {
      event.preventDefault();
      at("drop").classList.toggle("over", over);
    });
  }
  at("drop").addEventListener("drop", dropped);
})();
