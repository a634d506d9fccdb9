// What operators do with a row of the connections: kick its session, or ban its client in a dialog. What came of it is told
// in the live region of the table.
import { fill } from "./format.js";

export class Kicks {
  // changed is called when rows may be gone.
  constructor(root, changed) {
    this.root = root;
    this.changed = changed;
    this.dialog = root.querySelector("dialog");
    root.querySelector("tbody").addEventListener("click", (event) => this.click(event));
    this.dialog?.addEventListener("submit", (event) => this.ban(event));
    this.dialog?.querySelector("[data-close]").addEventListener("click", () => this.dialog.close());
  }

  get asking() {
    return Boolean(this.dialog?.open);
  }

  click(event) {
    const button = event.target.closest("[data-kick], [data-ban]");
    if (!button) return;
    event.preventDefault();
    const row = button.closest("tr");
    if (button.matches("[data-kick]")) this.kick(row);
    else this.ask(row);
  }

  async kick(row) {
    if (row.matches(".ended")) return; // a second click
    row.classList.add("ended");
    const problem = await call("DELETE", `/api/v1/sessions/${row.dataset.id}`);
    const gone = problem?.code === "no-session";
    if (problem && !gone) {
      row.classList.remove("ended");
      return this.tell("wordFailed", this.wordsOf(problem));
    }
    this.tell(gone ? "wordGone" : "wordKicked", clientOf(row));
    this.changed();
  }

  ask(row) {
    const form = this.dialog.querySelector("form");
    form.elements.client.value = networkOf(clientOf(row));
    form.elements.reason.value = "";
    form.querySelector("[data-problem]").hidden = true;
    this.dialog.showModal();
    // By the attribute autofocus the closed dialog would compete for the page's first focus.
    form.querySelector("button[name=for]").focus();
  }

  async ban(event) {
    event.preventDefault();
    const form = event.target;
    const chosen = event.submitter?.value ?? "1h";
    const body = { prefix: form.elements.client.value.trim(), reason: form.elements.reason.value.trim() };
    if (chosen !== "ever") body.for = chosen;
    const buttons = form.querySelectorAll("button");
    for (const button of buttons) button.disabled = true;
    const problem = await call("POST", "/api/v1/bans", body);
    for (const button of buttons) button.disabled = false;
    if (problem) {
      const place = form.querySelector("[data-problem]");
      place.textContent = this.wordsOf(problem);
      place.hidden = false;
      event.submitter?.focus();
      return;
    }
    this.dialog.close();
    this.tell("wordBanned", body.prefix);
    this.changed();
  }

  wordsOf(problem) {
    return problem.problems?.map((p) => p.text).join(" ") || problem.detail || this.root.dataset.wordNetwork;
  }

  tell(word, ...values) {
    this.root.querySelector("[data-told]").textContent = fill(this.root.dataset[word], ...values);
  }
}

const clientOf = (row) => row.querySelector("[data-cell=client]").textContent;

// call returns nothing when it is done, and the problem otherwise.
async function call(method, address, body) {
  try {
    const answer = await fetch(address, {
      method, cache: "no-store", body: body && JSON.stringify(body), headers: body ? { "Content-Type": "application/json" } : {},
    });
    return answer.ok ? null : await answer.json();
  } catch {
    return {};
  }
}

// addressOf takes the port off an address: 203.0.113.7:1234, [2001:db8::1]:1234.
export function addressOf(client) {
  return client.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
}

// networkOf is what a ban of a client should hold: an IPv6 player has at least a /64, and all of its addresses at hand.
function networkOf(client) {
  const address = addressOf(client);
  if (!address.includes(":")) return address;
  const [head, tail] = address.split("::");
  const left = head ? head.split(":") : [];
  const right = tail ? tail.split(":") : [];
  const zeros = tail === undefined ? [] : Array(Math.max(0, 8 - left.length - right.length)).fill("0");
  return `${[...left, ...zeros, ...right].slice(0, 4).join(":")}::/64`;
}
