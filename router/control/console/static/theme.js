// Before the first paint, so that a page never flashes in the other theme. Only what was chosen by hand is kept.
"use strict";
(() => {
  try {
    const chosen = localStorage.getItem("theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch { /* storage is forbidden: the system's theme it is */ }
})();
