// Times are written in UTC by the server. Here they become those of the reader's place; UTC stays as the title.

const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

// localTime words a moment; of today only the clock.
export function localTime(when) {
  const today = when.toDateString() === new Date().toDateString();
  return (today ? clock : day).format(when);
}

export function setTime(element, when) {
  element.dateTime = when.toISOString();
  element.title = `${when.toISOString().replace("T", " ").replace(/\.\d+Z$/, "")} UTC`;
  element.textContent = localTime(when);
}

// localTimes words every time below root that is not yet.
export function localTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]:not([title])")) {
    const when = new Date(element.dateTime);
    if (!Number.isNaN(when.getTime())) setTime(element, when);
  }
}
