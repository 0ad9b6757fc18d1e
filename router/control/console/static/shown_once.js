// A page that answers an order and holds a secret: a reload shows the list instead of ordering again, and going back to it shows nothing.

history.replaceState(null, "", "/console/keys");
addEventListener("pagehide", () => {
  document.getElementById("secret")?.replaceChildren();
  for (const button of document.querySelectorAll("[data-copy]")) button.remove();
});
