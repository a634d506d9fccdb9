// Copies what an input holds: <button data-module="copy" data-copy="ID" data-copied="…" hidden>. Without a clipboard, as
// on pages that are not secure, the button stays hidden; the text can be selected.
export function start(button) {
  const source = document.getElementById(button.dataset.copy);
  if (!source || !navigator.clipboard) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.value);
      button.textContent = button.dataset.copied;
    } catch {
      source.select(); // the browser refuses; the keys for copying still work
    }
  });
}
