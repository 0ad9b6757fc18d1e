// Verifies a decision's evidence here, with the verifier that strangers use offline (verify.js, unchanged). The server is asked for the
// evidence alone; what holds and what does not is found out by this browser.

const form = document.getElementById("verify"), verdict = document.getElementById("verdict");
const steps = document.getElementById("steps"), pinned = document.getElementById("pinned");
const MOST = 16 * 2 ** 20 + 1;
const UNABLE = "This browser cannot check Ed25519 signatures here. Chrome and Edge can from version 137 on, Firefox from 129, Safari from 17, "
  + "over HTTPS or from this machine itself; lockgate-verify can everywhere.";

/** The key by which evidence of this ledger was verified here first: a server that shows another one later is to be asked why. */
const PIN = `ledger-key ${location.origin}`;
const kept = () => { try { return localStorage.getItem(PIN); } catch { return null; } };
const keep = (key) => { try { localStorage.setItem(PIN, key); } catch { /* then it is compared by eye */ } };

function pin() {
  const [known, shown] = [kept(), form.elements.key.value.trim()];
  if (!known) return;
  if (known === shown) pinned.textContent = "This is the key by which evidence of this ledger was verified in this browser before.";
  else {
    pinned.textContent = `Another key than was used in this browser before, which was ${known}. Verify with that one, or learn why it changed.`;
    pinned.className = "notice wait";
  }
}

function say(kind, heading, sentence) {
  verdict.className = `verdict ${kind}`;
  verdict.querySelector("strong").textContent = heading;
  verdict.querySelector("p").textContent = sentence;
  verdict.hidden = false;
  verdict.focus();
}

function line(text, className = "") {
  const made = document.createElement("li");
  made.textContent = text;
  made.className = className;
  return made;
}

const pasted = (text) => (text.trim() === "" ? null : new TextEncoder().encode(`${text.replaceAll("\r\n", "\n").trimEnd()}\n`));

async function evidence(note) {
  const url = new URL(form.dataset.bundle, location.href);
  if (note) url.searchParams.set("checkpoint", new TextDecoder().decode(note));
  const answer = await fetch(url, { headers: { accept: "application/json" }, cache: "no-store" });
  if (!answer.ok) throw new Error((await answer.json()).detail);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  if (bytes.length >= MOST) throw new Error("The evidence is larger than is verified here; take it as a file.");
  return bytes;
}

function show(answer) {
  say(answer.ok ? "good" : "bad", answer.ok ? "Holds" : "Does not hold", answer.sentence);
  steps.replaceChildren(...answer.steps.map(({ name, state }) => {
    const made = line(name, ["holds", "fails"].includes(state) ? state : "quiet");
    const word = document.createElement("span");
    word.textContent = state;
    made.append(word);
    return made;
  }));
  steps.hidden = false;
  document.getElementById("open").replaceChildren(...answer.notProven.map((each) => line(each)));
  document.getElementById("open-part").hidden = answer.notProven.length === 0;
}

async function verify(event) {
  event.preventDefault();
  if (!(await lockgateVerify.able())) return say("bad", "Cannot verify", UNABLE);
  const key = form.elements.key.value.trim(), checkpoint = pasted(form.elements.checkpoint.value);
  try {
    const answer = await lockgateVerify.verify({ bundle: await evidence(checkpoint), keys: key.split("\n").map((each) => each.trim()).filter(Boolean),
      policy: null, checkpoint });
    show(answer);
    if (answer.ok && !kept()) keep(key);
  } catch (error) {
    say("bad", "Cannot verify", error.message);
  }
}

if (form) {
  form.hidden = false;
  form.addEventListener("submit", verify);
  pin();
}
