// A change that waits to be kept: counts down, and makes Keep hold. The box takes Keep only over a connection that was
// made after the change, and browsers reuse older ones. While a change waits the box closes an older connection behind
// each page it sends, so as many pages are read first as a browser has connections.
import { duration } from "./format.js";
import { boxNow } from "./live.js";

const tries = 3;
const connections = 6; // that browsers have to one host at once

export function start() {
  setInterval(count, 500);
  count();
  document.addEventListener("submit", (event) => {
    if (event.target.matches("[data-keep]")) keep(event);
  });
}

function count() {
  for (const element of document.querySelectorAll("[data-countdown]")) {
    const left = Date.parse(element.dataset.countdown) - boxNow();
    const words = duration(Math.ceil(Math.max(0, left) / 1000) * 1000);
    if (element.textContent !== words) element.textContent = words;
  }
}

async function keep(event) {
  event.preventDefault();
  const form = event.target;
  const button = form.querySelector("button");
  button.disabled = true;
  for (let i = 0; i < tries; i++) {
    await renew();
    const address = await send(form);
    if (address) return location.assign(address);
    await new Promise((done) => setTimeout(done, 300 * (i + 1)));
  }
  button.disabled = false;
  form.submit(); // shows what the box says
}

function renew() {
  const read = () => fetch("/", { cache: "no-store" }).then((answer) => answer.text()).catch(() => null);
  return Promise.all(Array.from({ length: connections }, read));
}

// send returns where the answer leads, and nothing when another try may do better.
async function send(form) {
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), cache: "no-store" });
    return answer.ok ? answer.url : null;
  } catch {
    return null;
  }
}
