// What somebody wrote is not lost where their session had ended: kept in this tab until it has arrived, for the same person, and never sent
// anywhere by itself. Comments alone; nothing that a form showed.

const KEY = "lockgate-kept", SIGN_OUT = "/console/sign-out";
const who = document.body.dataset.who ?? "";

function read() {
  try { return JSON.parse(sessionStorage.getItem(KEY)); } catch { return null; }
}

function write(kept) {
  try {
    if (kept) sessionStorage.setItem(KEY, JSON.stringify(kept));
    else sessionStorage.removeItem(KEY);
  } catch { /* the page that says that the session has ended shows it all the same */ }
}

const path = (form) => new URL(form.getAttribute("action"), location.href).pathname;

function putBack(kept) {
  const form = [...document.querySelectorAll("form[method=post]")].find((each) => path(each) === kept.path && each.elements.comment);
  const field = form?.elements.comment;
  if (!field || field.value) return;
  const told = document.createElement("p");
  told.className = "notice wait";
  told.setAttribute("role", "status");
  told.textContent = "Your session had ended. This is what you wrote; it was not sent.";
  field.value = kept.text;
  field.closest("label").before(told);
  form.closest("dialog")?.showModal();
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  const text = path(form) === SIGN_OUT ? "" : form.elements.comment?.value;
  write(text ? { path: path(form), who, text, unsent: false } : null);
});

const kept = read();
if (kept && document.querySelector("[data-unsent]")) write({ ...kept, unsent: true });
else if (kept && (!kept.unsent || (who && who !== kept.who))) write(null); // it has arrived, or somebody else sits here now
else if (kept) putBack(kept);
