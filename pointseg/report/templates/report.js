// What the report's page does: tables that sort and filter, a confusion matrix that says its counts, charts that zoom,
// scenes that open in the 3D view (viewer.js).

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const value = (row, column) => {
    const text = row.cells[column].dataset.v ?? row.cells[column].textContent.trim(), number = Number(text);
    return text === "" || Number.isNaN(number) ? text : number;
  };
  heads.forEach((head, column) => {
    if (!head.textContent) return;
    head.tabIndex = 0;
    const sort = () => {
      const texts = typeof value(body.rows[0], column) === "string";
      const order = head.dataset.order ? -head.dataset.order : texts ? 1 : -1;
      heads.forEach(other => { delete other.dataset.order; });
      head.dataset.order = order;
      const rows = [...body.rows].map(row => [value(row, column), row]);
      rows.sort(([a], [b]) => order * (a < b ? -1 : a > b ? 1 : 0));
      body.append(...rows.map(([, row]) => row));
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", event => { if (event.key === "Enter") sort(); });
  });
}

function filterable(input) {
  const table = document.getElementById(input.dataset.filters), rows = [...table.tBodies[0].rows];
  const count = document.getElementById(input.dataset.counts);
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = (row.dataset.text ?? row.cells[0].textContent).toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = words.length ? `${shown} of ${rows.length}` : "";
  };
  input.addEventListener("input", filter);
}

function sayCounts(matrix, note) {
  const heads = [...matrix.tHead.rows[0].cells].slice(1).map(cell => cell.textContent);
  const say = event => {
    const cell = event.target.closest("td[data-n]");
    if (!cell) return;
    const row = cell.parentElement, truth = row.cells[0].textContent, answer = heads[cell.cellIndex - 1];
    const [n, total] = [Number(cell.dataset.n), Number(row.dataset.total)], share = (100 * n / total).toFixed(2);
    const what = truth === answer ? `${truth}, recognised` : `${truth}, taken for ${answer}`;
    note.textContent = `${what}: ${n.toLocaleString("en")} of ${total.toLocaleString("en")} points, ${share} %`;
  };
  matrix.addEventListener("pointerover", say);
  matrix.addEventListener("click", say);
}

/** Makes a chart of pointseg/report/charts.py zoom to the steps dragged over, and say what is under the pointer. */
function zoomable(svg) {
  const [left, top, right, bottom] = svg.dataset.plot.split(",").map(Number);
  const [xLow, xHigh, yLow, yHigh] = svg.dataset.range.split(",").map(Number);
  const log = "log" in svg.dataset, percent = "percent" in svg.dataset, axes = svg.querySelector(".axes");
  const whole = {axes: axes.innerHTML, x: [left, right], y: [bottom, top]};
  const marks = [...svg.querySelectorAll("polyline, circle")].map(element => ({
    element, name: element.dataset.name,
    at: element.tagName === "circle" ? [[Number(element.getAttribute("cx")), Number(element.getAttribute("cy"))]]
      : element.getAttribute("points").split(" ").map(point => point.split(",").map(Number)),
  }));
  let window = whole;
  const xValue = px => xLow + (px - left) / (right - left) * (xHigh - xLow);
  const yValue = py => {
    const share = (bottom - py) / (bottom - top);
    return log ? yLow * (yHigh / yLow) ** share : yLow + share * (yHigh - yLow);
  };
  const number = value => percent ? `${Number((100 * value).toPrecision(4))} %` : String(Number(value.toPrecision(4)));
  const place = ([px, py]) => [
    left + (px - window.x[0]) / (window.x[1] - window.x[0]) * (right - left),
    bottom - (py - window.y[0]) / (window.y[1] - window.y[0]) * (bottom - top)];

  function draw() {
    for (const {element, at} of marks) {
      const seen = at.filter(([px]) => px >= window.x[0] && px <= window.x[1]).map(place);
      if (element.tagName === "circle") {
        element.style.display = seen.length ? "" : "none";
        if (seen.length) ["cx", "cy"].forEach((name, axis) => element.setAttribute(name, seen[0][axis]));
      } else element.setAttribute("points", seen.map(point => point.map(v => v.toFixed(1)).join(",")).join(" "));
    }
    if (window === whole) { axes.innerHTML = whole.axes; return; }
    const between = ([from, to], part) => from + (to - from) * part / 4, parts = [0, 1, 2, 3, 4];
    axes.innerHTML = parts.map(part => {
      const y = between([bottom, top], part);
      const step = Math.round(xValue(between(window.x, part))), value = number(yValue(between(window.y, part)));
      return `<line class="grid" x1="${left}" x2="${right}" y1="${y}" y2="${y}"/>`
        + `<text class="tick" text-anchor="end" dy="4" x="${left - 6}" y="${y}">${value}</text>`
        + `<text class="tick" text-anchor="middle" x="${between([left, right], part)}" y="${bottom + 18}">${step}</text>`;
    }).join("");
  }

  const cursor = svg.querySelector(".cursor"), readout = svg.querySelector(".readout");
  const pointer = event => {
    const box = svg.getBoundingClientRect(), width = svg.viewBox.baseVal.width;
    return Math.min(Math.max((event.clientX - box.left) / box.width * width, left), right);
  };
  const unplace = x => window.x[0] + (x - left) / (right - left) * (window.x[1] - window.x[0]);
  let start = null;
  svg.addEventListener("pointerdown", event => { start = pointer(event); svg.setPointerCapture(event.pointerId); });
  svg.addEventListener("pointermove", event => {
    const x = pointer(event), from = start ?? x, px = unplace(x);
    cursor.setAttribute("x", Math.min(from, x));
    cursor.setAttribute("width", Math.max(Math.abs(x - from), 1));
    const texts = new Map();
    for (const {name, at} of marks) {
      const near = at.reduce((best, point) => Math.abs(point[0] - px) < Math.abs(best[0] - px) ? point : best);
      const away = Math.abs(near[0] - px);
      if (name && away <= (texts.get(name)?.away ?? Infinity)) texts.set(name, {away, value: number(yValue(near[1]))});
    }
    const values = [...texts].map(([name, {value}]) => `${name} ${value}`);
    readout.textContent = `step ${Math.round(xValue(px))}: ${values.join(", ")}`;
  });
  svg.addEventListener("pointerup", event => {
    const ends = [start ?? 0, pointer(event)].sort((a, b) => a - b);
    start = null;
    if (ends[1] - ends[0] < 8) return;
    const x = ends.map(unplace), seen = marks.flatMap(({at}) => at.filter(([px]) => px >= x[0] && px <= x[1]));
    if (!seen.length) return;
    const ys = seen.map(([, py]) => py), low = Math.max(...ys), high = Math.min(...ys);
    const room = Math.max(0.05 * (low - high), 1);
    window = {x, y: [low + room, high - room]};
    draw();
  });
  svg.addEventListener("pointercancel", () => { start = null; });
  svg.addEventListener("pointerleave", () => { readout.textContent = ""; cursor.setAttribute("width", 0); });
  svg.addEventListener("dblclick", () => { window = whole; draw(); });
}

/** The bytes of embedded scene `number`: deflated and in base64 in a script element that is no script. */
async function embeddedPoints(number) {
  const text = document.getElementById(`points-${number}`).textContent;
  const packed = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function scenesIn3d(root) {
  const viewer = startViewer(root, embeddedPoints);
  if (!viewer) return;
  for (const button of document.querySelectorAll("button[data-scene]"))
    button.addEventListener("click", () => {
      viewer.open(Number(button.dataset.scene));
      root.scrollIntoView({block: "start"});
    });
  const watch = new IntersectionObserver(entries => {
    if (!entries.some(entry => entry.isIntersecting)) return;
    watch.disconnect();
    if (viewer.current < 0) viewer.open(0);
  }, {rootMargin: "400px"});
  watch.observe(root);
}

document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll("input[data-filters]").forEach(filterable);
document.querySelectorAll("svg.chart").forEach(zoomable);
for (const matrix of document.querySelectorAll("table.matrix"))
  sayCounts(matrix, document.getElementById("confusion-note"));
for (const picture of document.querySelectorAll(".pictures img"))
  picture.addEventListener("click", () => picture.parentElement.classList.toggle("large"));
if (document.getElementById("viewer")) scenesIn3d(document.getElementById("viewer"));
