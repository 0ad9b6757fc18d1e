// What every page has: the theme's button, the menu that is open where there is room, times in the reader's own zone.

import "./kept.js";

const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");
const wide = matchMedia("(min-width: 60rem)");

const isDark = () => (root.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";

/** For the server, which writes it into every page: a page never flashes in the other theme, and no script stands before its first paint. */
function keep(theme) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `lockgate-theme=${theme}; Path=/console; Max-Age=31536000; SameSite=Lax${secure}`;
}

function themes(button) {
  const say = () => { button.textContent = isDark() ? "Light theme" : "Dark theme"; };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    keep(root.dataset.theme);
    say();
  });
  dark.addEventListener("change", say);
  button.hidden = false;
  say();
}

function menu(details) {
  const fit = () => { details.open = wide.matches; };
  wide.addEventListener("change", fit);
  fit();
}

/** Everything is written in UTC; the reader's own time is in the title, by the time that somebody points at it. */
function localTimes() {
  document.addEventListener("pointerover", (event) => {
    const time = event.target.closest?.("time[datetime]");
    const moment = time && new Date(time.dateTime);
    if (moment && !Number.isNaN(moment.getTime())) time.title = `${time.dateTime} · here ${moment.toLocaleString()}`;
  });
}

/** When the page is on the screen, or would be: what a script has to do can wait for that. */
export const painted = new Promise((resolve) => {
  requestAnimationFrame(() => setTimeout(resolve));
  setTimeout(resolve, 1000); // a tab that nobody looks at is not painted
});

/** A button that asks first: `data-confirm` holds the id of a dialog, whose form is what is sent. */
function dialogs() {
  for (const button of document.querySelectorAll("[data-confirm]")) {
    button.addEventListener("click", () => open(button.dataset.confirm));
  }
  for (const button of document.querySelectorAll("dialog [data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
}

export function open(id) {
  const dialog = document.getElementById(id);
  if (dialog && !dialog.open) dialog.showModal();
}

/** One order is sent once, however often the button is pressed. */
function once() {
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post") return;
    if (event.target.dataset.sent) event.preventDefault();
    event.target.dataset.sent = "yes";
  });
  addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach((form) => { delete form.dataset.sent; }));
}

function copying() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    });
  }
}

themes(document.getElementById("theme"));
menu(document.getElementById("menu"));
localTimes();
dialogs();
once();
copying();
