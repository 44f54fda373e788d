/* Left: the input plane. Colour is what the network gets wrong; each neuron is a line and a button. */

const SPAN = 3.2;

class Inputs {
  constructor(host, choose) {
    this.host = host;
    this.canvas = host.querySelector("canvas");
    this.lines = host.querySelector("svg");
    this.choose = choose;
    this.lines.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      choose(Number(event.target.dataset.neuron));
    });
    this.lines.addEventListener("click", (event) => {
      const { neuron } = event.target.closest("[data-neuron]")?.dataset ?? {};
      if (neuron !== undefined) choose(Number(neuron));
    });
  }

  /* The residual, on the scale of the largest one at the start. */
  field(teacher, p, most) {
    const cells = 72, image = new ImageData(cells, cells);
    const [paper, over, under] = ["paper", "orange", "blue"].map((name) => channels(tone(this.host, name)));
    for (let k = 0; k < cells; k++) for (let i = 0; i < cells; i++) {
      const x = ((i + 0.5) / cells) * 2 * SPAN - SPAN, y = SPAN - ((k + 0.5) / cells) * 2 * SPAN;
      const wrong = (output(p, x, y) - output(teacher.p, x, y)) / most;
      const share = Math.min(1, Math.sqrt(Math.abs(wrong)));
      image.data.set([...blend(paper, wrong > 0 ? over : under, 0.9 * share), 255], 4 * (k * cells + i));
    }
    const small = document.createElement("canvas");
    small.width = small.height = cells;
    small.getContext("2d").putImageData(image, 0, 0);
    const { pen, width, height } = sharp(this.canvas);
    pen.imageSmoothingEnabled = true;
    pen.drawImage(small, 0, 0, width, height);
    pen.fillStyle = tone(this.host, "soft");
    for (let n = 0; n < teacher.y.length; n++) {
      const [x, y] = [teacher.x[2 * n], teacher.x[2 * n + 1]];
      pen.beginPath();
      pen.arc(((x + SPAN) / (2 * SPAN)) * width, ((SPAN - y) / (2 * SPAN)) * height, 1.1, 0, 7);
      pen.fill();
    }
  }

  /* Lines w.x + b = 0 and, over all of them, their numbers, which are buttons. */
  neurons(p, chosen, label) {
    const m = widthOf(p), focused = document.activeElement?.dataset?.neuron;
    const ways = Array.from({ length: m }, (_, j) => {
      const [u, v, b] = [p[2 * j], p[2 * j + 1], p[2 * m + j]], length = Math.hypot(u, v) || 1;
      // A line that passes outside is drawn at the edge, dashed.
      const away = -b / length, edge = 0.94 * SPAN * (Math.abs(u) + Math.abs(v)) / length;
      const kept = Math.max(-edge, Math.min(edge, away));
      return { ends: chord(u / length, v / length, kept), outside: kept !== away };
    });
    const lines = ways.flatMap(({ ends: [[x1, y1], [x2, y2]], outside }, j) => {
      const kind = `${outside ? "outside" : ""} ${j === chosen ? "chosen" : ""}`;
      return ["reach", `way ${kind}`].map((name) => svg("line", { x1, y1, x2, y2, class: name, "data-neuron": j }));
    });
    const buttons = ways.map(({ ends: [a, b] }, j) => {
      // Copies lie on one line: their numbers stand apart.
      const along = 0.12 + (0.76 * (j + 0.5)) / m, [x, y] = [0, 1].map((k) => a[k] + along * (b[k] - a[k]));
      const number = svg("text", { x, y });
      number.textContent = j + 1;
      return svg("g", { role: "button", tabindex: 0, "data-neuron": j, "aria-pressed": j === chosen, "aria-label": label(j) },
        svg("circle", { cx: x, cy: y, r: 5 }), number);
    });
    this.lines.replaceChildren(...lines, ...buttons);
    if (focused !== undefined) buttons[Math.min(focused, m - 1)].focus();
  }
}

/* Where the line n.x = away crosses the picture, in units of its svg. */
function chord(nx, ny, away) {
  const at = [nx * away, ny * away], way = [-ny, nx];
  let [low, high] = [-Infinity, Infinity];
  for (const k of [0, 1]) {
    if (Math.abs(way[k]) < 1e-12) continue;
    const cuts = [-SPAN, SPAN].map((edge) => (edge - at[k]) / way[k]).sort((a, b) => a - b);
    low = Math.max(low, cuts[0]);
    high = Math.min(high, cuts[1]);
  }
  return [low, high].map((s) => [
    (50 * (at[0] + s * way[0])) / SPAN + 50, 50 - (50 * (at[1] + s * way[1])) / SPAN,
  ]);
}
