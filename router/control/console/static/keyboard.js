// Keys of a page. Who speaks to the computer, or types with difficulty, can switch them off (WCAG 2.1.4); this browser keeps that.

const OFF = "lockgate-keys-off";
const WRITES = "input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]";

/** Nothing is heard while somebody types, while a dialog asks, or beside another key that is held. */
export function listen(keys) {
  const button = document.getElementById("keys-off");
  const off = () => localStorage.getItem(OFF) === "yes";
  const say = () => { button?.setAttribute("aria-pressed", String(off())); };
  button?.addEventListener("click", () => {
    if (off()) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "yes");
    say();
  });
  say();
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest(WRITES) || document.querySelector("dialog[open]")) return;
    if (off() || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });
}
