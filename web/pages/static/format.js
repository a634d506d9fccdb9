// Numbers as the pages write them (functions.go): three digits and a unit, digits grouped by narrow spaces.

function short(value) {
  if (value >= 100 || Number.isInteger(value)) return value.toFixed(0);
  return value.toFixed(value >= 10 ? 1 : 2);
}

export function number(value) {
  return Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${short(value)} ${units[unit]}`;
}

export const rate = (value) => `${bytes(value)}/s`;

export const each = (value) => `${value < 1000 ? short(value) : number(value)}/s`;

// duration keeps the two largest units of milliseconds: 3 d 4 h, 1 min 20 s.
export function duration(ms) {
  if (ms < 1000) return `${Math.max(0, Math.floor(ms))} ms`;
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const seconds = Math.floor(ms / 1000);
  const i = units.findIndex(([size]) => seconds >= size);
  let text = `${Math.floor(seconds / units[i][0])} ${units[i][1]}`;
  if (i + 1 < units.length) {
    const next = Math.floor((seconds % units[i][0]) / units[i + 1][0]);
    if (next > 0) text += ` ${next} ${units[i + 1][1]}`;
  }
  return text;
}

const byUnit = { rate, each, bytes, number };

// text is a value in the unit of an element's data-unit. What is not a number is shown as it is.
export function text(value, unit) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  return (byUnit[unit] ?? number)(value);
}

// fill puts values at {0}, {1} … of a text.
export function fill(words, ...values) {
  return values.reduce((all, value, i) => all.replaceAll(`{${i}}`, value), words ?? "");
}
