// Live numbers: one stream for each tab that somebody sees. [data-live="key"] shows a number of the sample, in the unit of
// its data-unit. [data-fragment="name"] is a part of the page that the server words: it is read again from the page's own
// address when the state of the box changed, and every data-every seconds. Other modules listen on `samples`.
import { text } from "./format.js";
import { reachScrollers } from "./scroll.js";
import { localTimes, setTime } from "./time.js";

const slowest = 30_000;
const quiet = 10_000; // the stream tells something every two seconds

// samples dispatches "sample" with every sample as its detail, and "parts" with every part that was replaced.
export const samples = new EventTarget();

let source = null;
let state; // of the box, as the last sample told it
let ahead = 0; // how far the box's clock is before this one, in ms
let failures = 0;
let retry = 0;
let watchdog = 0;
let brokenSince = null;

// boxNow is the time at the box, in ms.
export const boxNow = () => Date.now() + ahead;

export function start() {
  for (const part of document.querySelectorAll("[data-fragment]")) remember(part);
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("beforeunload", leave);
  addEventListener("pageshow", (event) => event.persisted && open());
  if (!document.hidden) open();
  setInterval(() => document.hidden || due().length === 0 || refresh(due()), 1000);
}

function open() {
  close();
  source = new EventSource("/api/v1/live");
  source.addEventListener("sample", (event) => show(JSON.parse(event.data)));
  source.addEventListener("error", broken);
  watchdog = setTimeout(broken, quiet);
}

function close() {
  clearTimeout(retry);
  clearTimeout(watchdog);
  source?.close();
  source = null;
}

// leave asks for nothing more while the next page is on its way, which may be the one that follows a sign-out. What was a download
// leads nowhere.
function leave() {
  close();
  retry = setTimeout(() => document.hidden || open(), quiet);
}

// broken says so and tries again, later each time. EventSource's own retry would hide how long it lasts.
function broken() {
  close();
  brokenSince ??= new Date();
  failures++;
  if (failures > 1) paused(brokenSince); // one failure is a box that restarts its page, or a sleep that is over
  askWhy();
  retry = setTimeout(() => document.hidden || open(), Math.min(slowest, 500 * 2 ** failures));
}

// askWhy lets the box ask for the login when that is over. What somebody typed stays: its form asks when it is sent.
async function askWhy() {
  const answer = await fetch("/api/v1/me", { cache: "no-store" }).catch(() => null);
  const typed = [...document.querySelectorAll("input, textarea")].some((field) => field.value !== field.defaultValue);
  if (answer?.status === 401 && !typed) location.reload();
}

function paused(since) {
  const notice = document.querySelector("[data-paused] > p");
  if (!notice) return;
  if (since) setTime(notice.querySelector("[data-paused-since]"), since);
  notice.hidden = !since;
  document.body.classList.toggle("stale", Boolean(since));
}

function show(sample) {
  clearTimeout(watchdog);
  watchdog = setTimeout(broken, quiet);
  ahead = Date.parse(sample.time) - Date.now();
  for (const element of document.querySelectorAll("[data-live]")) {
    const known = sample.edgeUp || !numbersOfEdge.includes(element.dataset.live);
    const words = text(known ? value(sample, element.dataset.live) : null, element.dataset.unit);
    if (element.textContent !== words) element.textContent = words;
  }
  samples.dispatchEvent(new CustomEvent("sample", { detail: sample }));
  // The first sample belongs to the page as it was just read, unless it came late.
  const changed = state === undefined ? failures > 0 : state !== sample.state;
  state = sample.state;
  failures = 0;
  if (brokenSince) paused(brokenSince = null);
  if (changed) refresh([...document.querySelectorAll("[data-fragment]")]);
}

const numbersOfEdge = ["sessions", "flows", "toOrigin", "toClient", "opened", "dropped"];

// value finds conditions.critical in a sample.
function value(sample, key) {
  return key.split(".").reduce((inner, name) => inner?.[name], sample);
}

const html = new WeakMap(); // what the server said of a part last
const read = new WeakMap(); // when
let reading = false;

function remember(part) {
  html.set(part, part.outerHTML);
  read.set(part, Date.now());
}

const due = () =>
  [...document.querySelectorAll("[data-fragment][data-every]")].filter(
    (part) => Date.now() - (read.get(part) ?? 0) >= part.dataset.every * 1000,
  );

// refresh reads parts of the page again. A page that is an answer to a form has no address of its own; the parts that
// every page has are in whatever is answered.
async function refresh(parts) {
  if (reading) return;
  reading = true;
  for (const part of parts) read.set(part, Date.now());
  try {
    const answer = await fetch(location.href, { cache: "no-store", headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of parts) replace(part, page.querySelector(`[data-fragment="${CSS.escape(part.dataset.fragment)}"]`));
  } catch {
    // The stream says when the box is gone; the next round reads again.
  } finally {
    reading = false;
  }
}

function replace(old, found) {
  if (!found || !old.isConnected || html.get(old) === found.outerHTML || inUse(old)) return;
  const part = document.importNode(found, true);
  const raw = found.outerHTML;
  const focused = focusables(old).indexOf(document.activeElement);
  const open = [...old.querySelectorAll("details")].map((details) => details.open);
  const scrolled = [...old.querySelectorAll(".table")].map((table) => table.scrollLeft);
  part.querySelectorAll("details").forEach((details, i) => (details.open = open[i] ?? details.open));
  if (old.matches("details")) part.open = old.open;
  localTimes(part);
  old.replaceWith(part);
  html.set(part, raw);
  read.set(part, Date.now());
  reachScrollers(part);
  part.querySelectorAll(".table").forEach((table, i) => (table.scrollLeft = scrolled[i] ?? 0));
  if (focused >= 0) focusables(part)[focused]?.focus({ preventScroll: true });
  samples.dispatchEvent(new CustomEvent("parts", { detail: part }));
}

const focusables = (part) => [part, ...part.querySelectorAll("a, button, summary, input, select, textarea, [tabindex]")];

// inUse keeps what somebody types or marks right now.
function inUse(part) {
  const active = document.activeElement;
  if (part.contains(active) && active.matches("input:not([type=hidden]), select, textarea")) return true;
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(part, true);
}
