// The live table of connections: as long as there are sessions, though only the rows in sight are in the page. Rows come
// in windows of the API, sorted and searched there, and again every two seconds while somebody looks. A row belongs to one
// session for as long as it is in sight, so that no button ever changes its session under the pointer.
import { bytes, duration, fill, number } from "./format.js";
import { addressOf, Kicks } from "./kick.js";
import { boxNow } from "./live.js";

const rowHeight = 34; // px, as .live tbody tr in style.css
const around = 25; // rows before and behind those in sight
const again = 2000; // ms
const hold = 1500; // ms for which nothing moves after the pointer did
const most = 250_000; // rows: beyond, elements are higher than browsers can have them

export function start(root) {
  new Table(root).begin();
}

class Table {
  constructor(root) {
    this.root = root;
    this.scroller = root.querySelector("[data-scroll]");
    this.table = root.querySelector("table");
    this.body = root.querySelector("tbody");
    this.blank = root.querySelector("[data-row]").content.querySelector("tr");
    this.search = document.querySelector("[data-table-search]");
    this.kicks = new Kicks(root, () => this.load());
    this.sort = root.dataset.sort;
    this.order = root.dataset.order;
    this.total = Number(root.dataset.total);
    this.matched = Number(root.dataset.matched);
    this.first = 0; // place of list[0] in the whole
    this.list = []; // the window that was read last
    this.rows = new Map(); // id -> element
    this.active = 0; // place of the row that the keyboard is at
    this.aim = -1; // place that a key leads to while its row is not there yet
    this.touched = 0;
    this.asked = 0; // number of the last question; answers to others are too late
  }

  begin() {
    this.root.classList.add("virtual");
    this.root.querySelector("[data-paging]")?.remove();
    this.root.querySelector("[data-keys]").hidden = false;
    this.table.setAttribute("role", "grid");
    this.above = this.spacer("beforebegin");
    this.below = this.spacer("afterend");
    this.scroller.tabIndex = 0;
    const from = Number(this.root.dataset.offset);
    this.adopt(from);
    this.scroller.scrollTop = from * rowHeight;
    this.listen();
    this.load();
    setInterval(() => this.calm() && this.load(), again);
  }

  spacer(where) {
    const body = document.createElement("tbody");
    body.setAttribute("aria-hidden", "true");
    body.className = "spacer";
    const row = body.insertRow();
    row.insertCell().colSpan = this.table.tHead.rows[0].cells.length;
    this.body.insertAdjacentElement(where, body);
    return row;
  }

  // adopt takes over the rows of the server, so that nothing blinks.
  adopt(from) {
    this.first = from;
    for (const row of this.body.rows) {
      this.rows.set(row.dataset.id, row);
      this.list.push({ id: row.dataset.id });
    }
    this.space(this.first, this.list.length);
  }

  listen() {
    this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.body.addEventListener("pointermove", () => (this.touched = Date.now()), { passive: true });
    this.scroller.addEventListener("keydown", (event) => this.key(event));
    this.body.addEventListener("focusin", (event) => this.focused(event));
    this.table.tHead.addEventListener("click", (event) => this.head(event));
    document.addEventListener("visibilitychange", () => document.hidden || this.load());
    new ResizeObserver(() => this.scrolled()).observe(this.scroller);
    this.search.addEventListener("submit", (event) => {
      event.preventDefault();
      this.restart();
    });
    this.search.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.restart(), 200);
    });
  }

  // calm tells whether rows may move: somebody looks, and nobody aims.
  calm() {
    return !document.hidden && !this.kicks.asking && Date.now() - this.touched > hold;
  }

  get query() {
    const form = new FormData(this.search);
    return { search: form.get("search").trim(), service: form.get("service"), sort: this.sort, order: this.order };
  }

  // restart shows another search or order from its begin, and notes it in the address.
  restart() {
    const asked = this.query;
    if (asked.sort === "started" && asked.order === "desc") delete asked.sort, delete asked.order;
    const address = new URLSearchParams(Object.entries(asked).filter(([, value]) => value));
    history.replaceState(null, "", `/connections${address.size ? `?${address}` : ""}`);
    for (const input of this.root.querySelectorAll("[name=here]")) input.value = location.pathname + location.search;
    this.search.elements.sort.value = this.sort;
    this.search.elements.order.value = this.order;
    this.scroller.scrollTop = 0;
    this.active = 0;
    this.aim = -1;
    this.load();
  }

  inSight() {
    const head = this.table.tHead.offsetHeight;
    const from = Math.floor(this.scroller.scrollTop / rowHeight);
    return { from, to: from + Math.ceil((this.scroller.clientHeight - head) / rowHeight) };
  }

  scrolled() {
    const { from, to } = this.inSight();
    const covered = from >= this.first && Math.min(to, this.matched) <= this.first + this.list.length;
    const near = from < this.first + 5 && this.first > 0 || to > this.first + this.list.length - 5 && this.first + this.list.length < this.matched;
    if (covered && !near) return;
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.load(), covered ? 150 : 40);
  }

  async load() {
    const asked = ++this.asked;
    const { from, to } = this.inSight();
    const first = Math.max(0, from - around);
    const q = new URLSearchParams({ ...this.query, offset: first, limit: to - first + around });
    try {
      const answer = await fetch(`/api/v1/sessions?${q}`, { cache: "no-store" });
      if (asked !== this.asked) return;
      if (answer.status === 401) return location.reload(); // the login is over: the box asks for it
      const body = await answer.json();
      if (answer.ok) this.show(first, body);
      else this.kicks.tell("wordFailed", body.detail);
      this.root.classList.toggle("old", !answer.ok);
    } catch {
      this.root.classList.add("old");
    }
  }

  show(first, window) {
    if (window.sessions.length === 0 && first > 0 && window.matched > 0) return this.shrink(window.matched);
    const moved = this.movedBy(first, window.sessions);
    this.first = first;
    this.list = window.sessions;
    this.total = window.total;
    this.matched = Math.min(window.matched, most);
    this.space(first, this.list.length);
    this.place();
    this.reach();
    if (moved !== 0) this.scroller.scrollTop += moved * rowHeight;
    const narrowed = Boolean(this.query.search || this.query.service);
    for (const empty of this.root.querySelectorAll("[data-empty]")) empty.hidden = this.matched > 0 || (empty.dataset.empty === "search") !== narrowed;
    this.table.setAttribute("aria-rowcount", this.matched);
    this.count(window);
  }

  // shrink comes back from behind the end, when most sessions ended meanwhile.
  shrink(matched) {
    this.matched = Math.min(matched, most);
    this.list = [];
    this.first = 0;
    this.place();
    this.space(0, 0);
    this.scroller.scrollTop = this.matched * rowHeight;
    this.load();
  }

  // movedBy is how far the first row in sight moved, so that the reader keeps the place. At the top the newest are wanted.
  movedBy(first, sessions) {
    const { from } = this.inSight();
    if (from === 0) return 0;
    for (let place = from; place < this.first + this.list.length; place++) {
      const now = sessions.findIndex((s) => s.id === this.list[place - this.first]?.id);
      if (now >= 0) return first + now - place;
    }
    return 0;
  }

  count(window) {
    const q = this.query;
    const words = q.search || q.service ? this.root.dataset.wordMatched : this.root.dataset.wordAll;
    let text = fill(words, ...(q.search || q.service ? [number(window.matched)] : []), number(window.total));
    if (window.matched > most) text += ` ${fill(this.root.dataset.wordCapped, number(most))}`;
    this.root.querySelector("[data-count]").textContent = text;
  }

  space(first, rows) {
    this.above.style.height = `${first * rowHeight}px`;
    this.below.style.height = `${Math.max(0, this.matched - first - rows) * rowHeight}px`;
    this.above.hidden = first === 0;
  }

  // place puts the rows of the window in order. Rows that stay are not moved, so that focus stays with its session.
  place() {
    const focused = document.activeElement;
    const inside = this.body.contains(focused);
    const wanted = new Set(this.list.map((s) => s.id));
    for (const [id, row] of this.rows) {
      if (wanted.has(id)) continue;
      row.remove();
      this.rows.delete(id);
    }
    let next = this.body.firstElementChild;
    this.list.forEach((session, i) => {
      let row = this.rows.get(session.id);
      if (!row) this.rows.set(session.id, (row = this.blank.cloneNode(true)));
      if (row === next) next = next.nextElementSibling;
      else this.body.insertBefore(row, next);
      this.fillRow(row, session, this.first + i);
    });
    if (!inside) return;
    const stays = focused.isConnected ? focused : this.rowAt(Math.min(this.active, this.matched - 1)) ?? this.scroller;
    stays.focus({ preventScroll: true });
    const row = document.activeElement.closest("tbody tr");
    if (row) this.active = Number(row.getAttribute("aria-rowindex")) - 1;
  }

  fillRow(row, s, place) {
    row.dataset.id = s.id;
    row.setAttribute("aria-rowindex", place + 1);
    this.reachable(row, place === this.active);
    const cells = {
      client: s.client, service: s.service, edge: s.edge, origin: s.origin, originAddress: s.originAddress, protocol: s.protocol,
      age: whole(boxNow() - Date.parse(s.started)), idle: whole(s.idleSeconds * 1000),
      up: bytes(s.bytesToOrigin), down: bytes(s.bytesToClient), state: this.root.getAttribute(`data-state-${s.state}`) ?? s.state,
    };
    for (const cell of row.querySelectorAll("[data-cell]")) {
      const text = cells[cell.dataset.cell] ?? "";
      if (cell.textContent === text) continue;
      cell.textContent = text;
      if (cell.matches(".whole")) cell.title = text;
    }
    row.querySelector("[data-cell=origin]").parentElement.title = s.originAddress ?? "";
    row.querySelector("[data-cell=protocol]").title = this.root.getAttribute(`data-path-${s.path}`) ?? "";
    const form = row.querySelector("form");
    if (!form) return;
    form.action = `/connections/${s.id}/kick`;
    row.querySelector("[data-ban]").href = `/shield?client=${encodeURIComponent(addressOf(s.client))}#ban`;
  }

  // reachable puts one row into the order of the Tab key; the arrow keys lead to the others.
  reachable(row, yes) {
    row.tabIndex = yes ? 0 : -1;
    for (const button of row.querySelectorAll("button, a")) button.tabIndex = yes ? 0 : -1;
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const page = Math.max(1, this.inSight().to - this.inSight().from - 2);
    const to = { ArrowDown: this.active + 1, ArrowUp: this.active - 1, PageDown: this.active + page, PageUp: this.active - page, Home: 0, End: this.matched - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      this.goTo(Math.min(Math.max(0, to), this.matched - 1));
      return;
    }
    const row = event.target.closest("tbody tr[data-id]");
    if (!row) return;
    const button = { k: "[data-kick]", b: "[data-ban]" }[event.key];
    if (!button) return;
    event.preventDefault();
    row.querySelector(button)?.click();
  }

  goTo(place) {
    if (this.matched === 0) return;
    this.active = place;
    this.touched = Date.now();
    const top = place * rowHeight;
    const space = this.scroller.clientHeight - this.table.tHead.offsetHeight - rowHeight;
    const at = this.scroller.scrollTop;
    if (top < at) this.scroller.scrollTop = top;
    else if (top > at + space) this.scroller.scrollTop = top - space;
    this.aim = place;
    if (place < this.first || place >= this.first + this.list.length) this.load();
    else this.reach();
  }

  // reach focuses the row that a key leads to, as soon as it is there.
  reach() {
    const row = this.rowAt(this.aim);
    if (!row) return;
    this.active = this.aim;
    this.aim = -1;
    for (const other of this.rows.values()) this.reachable(other, other === row);
    row.focus({ preventScroll: true });
  }

  rowAt(place) {
    const session = this.list[place - this.first];
    return session && this.rows.get(session.id);
  }

  focused(event) {
    const row = event.target.closest("tr[data-id]");
    const place = Number(row.getAttribute("aria-rowindex")) - 1;
    if (place === this.active) return;
    this.active = place;
    for (const other of this.rows.values()) this.reachable(other, other === row);
  }

  head(event) {
    const link = event.target.closest("a[data-sort]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const same = link.dataset.sort === this.sort;
    this.order = same ? (this.order === "asc" ? "desc" : "asc") : link.dataset.first;
    this.sort = link.dataset.sort;
    for (const other of this.table.tHead.querySelectorAll("a[data-sort]")) {
      const by = other.dataset.sort;
      const rising = (this.order === "asc") !== (by === "started"); // the age runs against the start
      other.closest("th").setAttribute("aria-sort", by !== this.sort ? "none" : rising ? "ascending" : "descending");
    }
    this.restart();
  }
}

const whole = (ms) => (ms < 1000 ? "0 s" : duration(ms));
