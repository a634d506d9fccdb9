// Charts of the last minutes with uPlot, which is loaded only where there is one: <figure data-chart="toOrigin toClient"
// data-unit="rate">. With data-series="/api/v1/incidents/7" it is the whole course of that incident; data-open: it goes on.
// Lines differ in colour and in dashes; the numbers are in the table below each chart too.
import * as format from "./format.js";
import { boxNow, samples } from "./live.js";

const minutes = 10;
const readSeries = 5000; // how often the course of an incident that goes on is read again, in ms
const lines = [
  { colour: "--series-1" },
  { colour: "--series-2", dash: [7, 5] },
  { colour: "--series-3" },
  { colour: "--series-4", dash: [2, 4] },
];

let columns = null; // of the samples, as the API gives them
const charts = [];

export async function start() {
  const figures = [...document.querySelectorAll("[data-chart]")];
  await library();
  if (figures.some((figure) => !figure.dataset.series)) {
    const answer = await fetch(`/api/v1/samples?minutes=${minutes}`, { cache: "no-store" });
    if (!answer.ok) throw new Error(`samples: ${answer.status}`);
    columns = await answer.json();
    samples.addEventListener("sample", (event) => add(event.detail));
  }
  for (const figure of figures) charts.push(newChart(figure, figure.dataset.series ? await course(figure.dataset.series) : null));
  document.addEventListener("visibilitychange", () => document.hidden || reread());
  for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
    matchMedia(query).addEventListener("change", () => charts.forEach(redraw));
  }
}

// course is an incident as columns.
async function course(address) {
  const answer = await fetch(address, { cache: "no-store" });
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  const incident = await answer.json();
  const begin = Math.floor(Date.parse(incident.start) / 1000);
  const points = incident.series ?? [];
  const column = (name) => points.map((point) => point[name]);
  return { time: points.map((point) => begin + point.at), passed: column("passed"), dropped: column("dropped"), would: column("would") };
}

// follow reads the course of an incident that goes on again and again. One failure is not worth a word: the next may work.
function follow(chart) {
  setInterval(async () => {
    if (document.hidden) return;
    chart.own = await course(chart.figure.dataset.series).catch(() => chart.own);
    show(chart);
  }, readSeries);
}

// library loads uPlot, which is a plain script, and its style.
function library() {
  const style = document.createElement("link");
  style.rel = "stylesheet";
  style.href = new URL("uplot/uPlot.min.css", import.meta.url);
  const script = document.createElement("script");
  script.src = new URL("uplot/uPlot.iife.min.js", import.meta.url);
  document.head.append(style, script);
  return new Promise((done, failed) => {
    script.onload = done;
    script.onerror = () => failed(new Error("uPlot cannot be loaded"));
  });
}

async function reread() {
  if (!columns) return;
  const answer = await fetch(`/api/v1/samples?minutes=${minutes}`, { cache: "no-store" }).catch(() => null);
  if (!answer?.ok) return;
  columns = await answer.json();
  for (const chart of charts) show(chart);
}

// of is what a chart shows.
const of = (chart) => chart.own ?? columns;

// add puts a sample of the stream at the end. A pause leaves a gap in the line instead of a slope nobody saw.
function add(sample) {
  const at = Math.floor(Date.parse(sample.time) / 1000);
  const last = columns.time.at(-1) ?? 0;
  if (at <= last) return;
  if (last > 0 && at - last > 3) push(last + 1, {});
  push(at, sample.edgeUp ? sample : {});
  while (columns.time[0] < at - minutes * 60) for (const values of Object.values(columns)) values.shift();
  if (!document.hidden) for (const chart of charts) if (!chart.own) show(chart);
}

function push(at, sample) {
  for (const [name, values] of Object.entries(columns)) values.push(name === "time" ? at : (sample[name] ?? null));
}

function newChart(figure, own) {
  const chart = { figure, own, keys: figure.dataset.chart.split(" "), place: figure.querySelector(".chart"), plot: null };
  redraw(chart);
  new ResizeObserver(() => chart.plot.setSize(size(chart))).observe(chart.place);
  if ("open" in figure.dataset) follow(chart);
  return chart;
}

// redraw makes the plot anew: its colours are fixed when it is made.
function redraw(chart) {
  chart.plot?.destroy();
  chart.plot = new uPlot(options(chart), data(chart), chart.place);
}

const show = (chart) => chart.plot.setData(data(chart));

const data = (chart) => [of(chart).time, ...chart.keys.map((key) => of(chart)[key])];

const size = (chart) => ({ width: chart.place.clientWidth, height: chart.place.clientHeight });

function options(chart) {
  const words = format[chart.figure.dataset.unit] ?? format.number;
  const css = getComputedStyle(chart.figure);
  const axis = { stroke: resolved(chart.figure, "--soft"), grid: { stroke: resolved(chart.figure, "--line"), width: 1 }, ticks: { show: false }, font: `12px ${css.fontFamily}` };
  const names = [...chart.figure.querySelectorAll("[data-name]")].map((e) => e.textContent);
  const marks = [...chart.figure.querySelectorAll(".legend i")].map((e) => Number(/s(\d)/.exec(e.className)?.[1] ?? 1) - 1);
  return {
    ...size(chart),
    legend: { show: false },
    cursor: { y: false, points: { size: 7 } },
    padding: [8, 26, 0, 0],
    plugins: [readout(chart, names)],
    scales: { x: { range: chart.own ? (_, low, high) => [low, Math.max(high, low + 10)] : (_, low, high) => [(high || boxNow() / 1000) - minutes * 60, high || boxNow() / 1000] }, y: { range: (_, low, high) => [0, Math.max((high ?? 0) * 1.1, 1)] } },
    axes: [
      { ...axis, space: chart.own ? 96 : 64, size: 28, incrs: chart.own ? steps : [60, 120, 300], values: (_, at) => at.map((t) => (at[1] - at[0] < 60 ? exact : clock).format(new Date(t * 1000))) },
      { ...axis, size: 72, space: 34, values: (_, at) => at.map((v) => (v === 0 ? "0" : words(v))) },
    ],
    series: [
      {},
      ...chart.keys.map((key, i) => ({
        label: names[i] ?? key,
        stroke: resolved(chart.figure, lines[marks[i]].colour),
        dash: lines[marks[i]].dash,
        width: 2,
        points: { show: false },
      })),
    ],
  };
}

// steps are those between the times below an incident, in seconds.
const steps = [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 14400];
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const exact = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

// resolved is a colour as the canvas understands it: variables hold light-dark(), which only an element resolves.
function resolved(figure, name) {
  const probe = document.createElement("i");
  probe.hidden = true;
  probe.style.color = `var(${name})`;
  figure.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

// readout shows the numbers under the pointer.
function readout(chart, names) {
  let box;
  return {
    hooks: {
      init: (u) => {
        box = document.createElement("div");
        box.className = "readout";
        box.hidden = true;
        u.over.append(box);
        u.over.addEventListener("mouseleave", () => (box.hidden = true));
      },
      setCursor: (u) => {
        const i = u.cursor.idx;
        box.hidden = i === null || i === undefined || u.cursor.left < 0;
        if (box.hidden) return;
        const rows = chart.keys.map((key, n) => `${names[n]}: ${format.text(of(chart)[key][i], chart.figure.dataset.unit)}`);
        box.textContent = [exact.format(new Date(of(chart).time[i] * 1000)), ...rows].join("\n");
        const left = u.cursor.left > u.over.clientWidth / 2;
        box.style.left = left ? "" : `${u.cursor.left + 12}px`;
        box.style.right = left ? `${u.over.clientWidth - u.cursor.left + 12}px` : "";
      },
    },
  };
}
