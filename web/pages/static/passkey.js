// Passkeys, WebAuthn level 3: signing in with one on the login page, and making one on the pages of one's own account.
// Browsers have them under names only; under an address everything of it stays hidden.

const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const decoded = (list) => (list ?? []).map((c) => ({ ...c, id: bytes(c.id) }));

function possible() {
  const name = location.hostname;
  const address = name.startsWith("[") || /^[\d.]+$/.test(name);
  return !address && window.isSecureContext && "PublicKeyCredential" in window;
}

async function post(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify(body ?? {}),
  });
  if (response.ok) return response.status === 204 ? null : response.json();
  const problem = await response.json().catch(() => ({}));
  throw Object.assign(new Error(problem.detail ?? response.statusText), { code: problem.code });
}

// answer is a credential in the JSON form of WebAuthn; browsers that lack toJSON get it by hand.
function answer(credential) {
  const r = credential.response;
  const out = { id: credential.id, rawId: text(credential.rawId), type: credential.type, clientExtensionResults: credential.getClientExtensionResults(), response: { clientDataJSON: text(r.clientDataJSON) } };
  if (credential.authenticatorAttachment) out.authenticatorAttachment = credential.authenticatorAttachment;
  for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) if (r[name]) out.response[name] = text(r[name]);
  if (r.getTransports) out.response.transports = r.getTransports();
  return out;
}

async function login(button, problem) {
  problem.hidden = true;
  button.disabled = true;
  try {
    const { ceremony, options } = await post("/login/passkey/begin");
    const o = options.publicKey;
    const credential = await navigator.credentials.get({ publicKey: { ...o, challenge: bytes(o.challenge), allowCredentials: decoded(o.allowCredentials) } });
    await post("/login/passkey", { ceremony, response: answer(credential) });
    goOn(button.form);
  } catch (err) {
    problem.hidden = err.name === "NotAllowedError" && !err.code; // closed by the person: nothing to tell
    if (err.code) problem.textContent = err.message;
    button.disabled = false;
  }
}

// goOn opens the page that was asked for, or sends the form that was kept.
function goOn(form) {
  const next = form.elements.namedItem("next").value;
  if (!form.hasAttribute("data-kept")) {
    location.assign(next);
    return;
  }
  for (const field of form.querySelectorAll("[name^='login.'], [name='next']")) field.disabled = true;
  form.action = next;
  form.submit();
}

async function create(panel) {
  const result = panel.querySelector("[data-passkey-result]");
  const button = panel.querySelector("button");
  button.disabled = true;
  result.textContent = "";
  try {
    const o = (await post("/api/v1/me/passkeys/begin")).publicKey;
    const credential = await navigator.credentials.create({
      publicKey: { ...o, challenge: bytes(o.challenge), user: { ...o.user, id: bytes(o.user.id) }, excludeCredentials: decoded(o.excludeCredentials) },
    });
    await post("/api/v1/me/passkeys", { name: panel.querySelector("input").value, response: answer(credential) });
    result.textContent = panel.dataset.kept;
    if (location.pathname === "/me") location.reload();
  } catch (err) {
    const proof = err.code === "proof-needed" ? panel.dataset.proof : "";
    result.textContent = proof || (err.code ? err.message : panel.dataset.refused);
  }
  button.disabled = false;
}

export function start() {
  if (!possible()) return;
  const button = document.getElementById("passkey");
  if (button) {
    button.hidden = false;
    button.addEventListener("click", () => login(button, document.getElementById("passkey-problem")));
  }
  const panel = document.querySelector("[data-passkey='create']");
  if (panel) {
    panel.hidden = false;
    for (const note of document.querySelectorAll("[data-passkey-missing]")) note.hidden = true;
    panel.querySelector("button").addEventListener("click", () => create(panel));
  }
}
