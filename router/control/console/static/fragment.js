// Lines of a table that the server made. It escapes what it is given; this policy is the only one that the page's own policy lets through.

const policy = globalThis.trustedTypes?.createPolicy("console", { createHTML: (text) => text }) ?? { createHTML: (text) => text };

export function lines(text) {
  const template = document.createElement("template");
  template.innerHTML = policy.createHTML(`<table><tbody>${text}</tbody></table>`);
  return [...template.content.querySelectorAll("tr")];
}

/** One part of a whole page. */
export function part(text, id) {
  const template = document.createElement("template");
  template.innerHTML = policy.createHTML(text);
  return template.content.getElementById(id);
}
