// What a page needs is loaded when something on it asks: data-module="table" starts table.js with that element. Live
// numbers, local times, the countdown of a change that waits and charts have attributes of their own.
import { reachScrollers } from "./scroll.js";
import { localTimes } from "./time.js";

const wanted = [
  ["[data-live], [data-fragment]", "live"],
  ["[data-countdown], [data-fragment]", "countdown"],
  ["[data-chart]", "chart"],
  ["#passkey, [data-passkey]", "passkey"],
];

async function start(name, element) {
  if (!/^[a-z]+$/.test(name)) return;
  try {
    const module = await import(`./${name}.js`);
    module.start(element);
  } catch (err) {
    console.error(`${name}.js does not run; the page works without it.`, err);
  }
}

localTimes(document);
reachScrollers(document);
addEventListener("resize", () => reachScrollers(document));
document.addEventListener("toggle", () => reachScrollers(document), true);
for (const [selector, name] of wanted) {
  const element = document.querySelector(selector);
  if (element) start(name, element);
}
for (const element of document.querySelectorAll("[data-module]")) start(element.dataset.module, element);
