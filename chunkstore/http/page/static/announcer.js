// What changes without moving the focus is also said, for those who cannot see it.

const region = document.querySelector("#announcer");

export function announce(text) {
  region.textContent = text;
}
