// The page that plays one stream: the player, which the keys of the whole page steer, and the stream's address.

import "./element.js";
import { copy } from "./streams.js";

const player = document.getElementById("player");
const plain = document.getElementById("plain");
const button = document.getElementById("copy");

// The page's own query says how to play: ?engine=mse, ?target=200. It is read before the player begins to.
const query = new URLSearchParams(location.search);
for (const name of ["engine", "target"]) if (query.has(name)) player.setAttribute(name, query.get(name));

document.addEventListener("keydown", (event) => {
  if (!event.composedPath().includes(player)) player.key(event);
});

function write(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

plain.textContent = plain.href;
button.hidden = false;
button.addEventListener("click", async () => {
  write(button, (await copy(plain.href, plain)) ? "Copied" : "Press Ctrl+C");
  setTimeout(() => write(button, "Copy"), 2000);
});
