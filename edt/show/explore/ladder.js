/* Right: the losses at which students of each width got stuck, and the ball on its rung. */

class Ladder {
  constructor(host) {
    this.picture = host.querySelector("svg");
  }

  /* Columns are widths, rungs are losses of bad minima (thicker: more runs), the floor is zero loss. */
  show(teacher, good) {
    const widths = teacher.widths.map((row) => row.width), last = Math.max(...widths);
    this.columns = Array.from({ length: MOST_NEURONS - widths[0] + 1 }, (_, i) => widths[0] + i).filter((w) => w <= Math.max(last, 8));
    const losses = teacher.levels.map((level) => level[1]);
    this.top = Math.log10(Math.max(...losses)) + 0.25;
    this.bottom = Math.min(-3, Math.log10(Math.min(...losses)) - 0.5);
    this.good = good;
    const parts = [];
    for (let power = Math.ceil(this.bottom); power <= this.top; power++) {
      const y = this.y(10 ** power);
      parts.push(svg("line", { x1: 42, x2: 296, y1: y, y2: y, class: "grid" }), words(38, y + 4, powerOf(power), "end"));
    }
    parts.push(svg("line", { x1: 42, x2: 296, y1: 244, y2: 244, class: "floor" }), words(38, 248, "zero", "end"));
    for (const width of this.columns) parts.push(words(this.x(width), 278, String(width)));
    for (const row of teacher.widths) {
      const said = words(this.x(row.width), 262, `${Math.round((100 * row.good) / row.runs)}%`);
      said.setAttribute("class", "rate");
      parts.push(said);
    }
    for (const [width, loss, runs] of teacher.levels) {
      const [x, y] = [this.x(width), this.y(loss)], rung = svg("line", { x1: x - 11, x2: x + 11, y1: y, y2: y, class: "rung", "stroke-width": Math.min(1.2 + Math.sqrt(runs) * 0.7, 6) });
      rung.append(svg("title"));
      rung.firstChild.textContent = `width ${width}, loss ${short(loss)}: ${many(runs, "run", "runs")}`;
      parts.push(rung);
    }
    parts.push(words(169, 294, "hidden neurons"));
    this.ball = svg("circle", { r: 6.5, class: "ball" });
    this.picture.replaceChildren(...parts, this.ball);
  }

  x(width) {
    return 42 + (254 * (this.columns.indexOf(width) + 0.5)) / this.columns.length;
  }

  y(loss) {
    if (loss <= this.good) return 244;
    const share = (this.top - Math.log10(loss)) / (this.top - this.bottom);
    return Math.min(12 + 214 * share, 236);
  }

  place(width, loss) {
    const column = Math.min(width, this.columns[this.columns.length - 1]);
    this.ball.setAttribute("cx", this.x(column));
    this.ball.setAttribute("cy", this.y(loss) - 6.5);
  }
}

function words(x, y, text, anchor = "middle") {
  const made = svg("text", { x, y, "text-anchor": anchor });
  made.textContent = text;
  return made;
}

const powerOf = (power) => (power < -2 ? `10${raised(power)}` : String(10 ** power));
