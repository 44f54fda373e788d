/* The second tab: keep a ticket, draw the rest again, and count who wins, beside the same number of
   networks drawn afresh. Trained here: Adam, then Newton steps. */

const ADAM_STEPS = 1000;
const NEWTON_STEPS = 150;

/* mulberry32: 32 bits of state, so that a count can be repeated. */
function generator(seed) {
  const uniform = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

/* Neurons [w1, w2, b, a] as edt's Glorot scheme starts those of a network of width r. */
function draw(normal, count, r) {
  const into = Math.sqrt(2 / (2 + r)), out = Math.sqrt(2 / (r + 1));
  return Array.from({ length: count }, () => [into * normal(), into * normal(), 0, out * normal()]);
}

const neuronsOf = (p) => {
  const m = widthOf(p);
  return Array.from({ length: m }, (_, j) => [p[2 * j], p[2 * j + 1], p[2 * m + j], p[3 * m + j]]);
};
const networkOf = (neurons) => Float64Array.from([
  ...neurons.flatMap((n) => [n[0], n[1]]), ...neurons.map((n) => n[2]), ...neurons.map((n) => n[3]), 0,
]);

/* Trains one network, a little at a time; returns whether it won. */
function* train(task, p, good) {
  const P = p.length, g = new Float64Array(P), m = new Float64Array(P), v = new Float64Array(P);
  p = Float64Array.from(p);
  for (let k = 1; k <= ADAM_STEPS; k++) {
    derivatives(task, p, g, null);
    const rate = 0.01 * 0.5 * (1 + Math.cos((Math.PI * (k - 1)) / ADAM_STEPS));
    for (let i = 0; i < P; i++) {
      m[i] = 0.9 * m[i] + 0.1 * g[i];
      v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
      p[i] -= (rate * (m[i] / (1 - 0.9 ** k))) / (Math.sqrt(v[i] / (1 - 0.999 ** k)) + 1e-8);
    }
    if (k % 20 === 0) yield;
  }
  const way = descent(task, p, good, NEWTON_STEPS);
  for (;;) {
    const { value, done } = way.next();
    if (done) return value === "zero";
    yield;
  }
}

/* Wilson's interval of a share, and Newcombe's of a difference, 95%. */
function wilson(wins, of) {
  const z = 1.959964, share = wins / of, middle = (share + (z * z) / (2 * of)) / (1 + (z * z) / of);
  const half = (z / (1 + (z * z) / of)) * Math.sqrt((share * (1 - share)) / of + (z * z) / (4 * of * of));
  return [middle - half, middle + half];
}
function difference([a, n], [b, m]) {
  const [one, two] = [a / n, b / m], [la, ha] = wilson(a, n), [lb, hb] = wilson(b, m);
  return [one - two - Math.hypot(one - la, hb - two), one - two + Math.hypot(ha - one, two - lb)];
}

class Tickets {
  constructor(host, data) {
    Object.assign(this, { host, data, running: false });
    this.rows = [...host.querySelectorAll("[data-row]")];
    this.button = host.querySelector("[data-do=race]");
    this.button.addEventListener("click", () => (this.running ? this.stop() : this.start()));
  }

  show(teacher) {
    this.stop();
    this.teacher = teacher;
    this.counts = { kept: [0, 0], loser: [0, 0], fresh: [0, 0] };
    this.normal = generator(1 + this.data.teachers.indexOf(teacher));
    this.button.disabled = !teacher.ticket;
    this.tell();
  }

  stop() {
    this.running = false;
    this.button.textContent = "Draw and train";
  }

  async start() {
    const { teacher } = this;
    this.running = true;
    this.button.textContent = "Stop";
    while (this.running && teacher === this.teacher) await this.draw(teacher);
  }

  /* One draw of the rest: trained with the winner's neurons, with a loser's, and with new ones. */
  async draw(teacher) {
    const { ticket } = teacher, r = widthOf(ticket.winner), rest = draw(this.normal, ticket.width - r, r);
    const heads = { kept: neuronsOf(ticket.winner), loser: neuronsOf(ticket.loser), fresh: draw(this.normal, r, r) };
    for (const [row, head] of Object.entries(heads)) {
      const work = train(teacher, networkOf([...head, ...rest]), this.data.good);
      let result = work.next();
      while (!result.done) {
        const end = performance.now() + 12;
        while (!result.done && performance.now() < end) result = work.next();
        await new Promise((next) => setTimeout(next));
        if (!this.running || teacher !== this.teacher) return;
      }
      this.counts[row][0] += result.value;
      this.counts[row][1] += 1;
      this.tell();
    }
  }

  tell() {
    for (const row of this.rows) {
      const [wins, of] = this.counts[row.dataset.row], [low, high] = of ? wilson(wins, of) : [0, 1];
      row.querySelector("output").textContent = of ? `${wins} of ${of}` : "–";
      row.querySelector(".band").style.cssText = of ? `left:${100 * low}%;width:${100 * (high - low)}%` : "width:0";
      row.querySelector(".dot").style.cssText = of ? `left:${(100 * wins) / of}%` : "display:none";
    }
    this.host.querySelector(".verdict").textContent = verdict(this.counts);
    const { ticket } = this.teacher;
    this.host.querySelector(".edts").textContent = ticket?.counts ? edts(ticket) : "";
  }
}

const points = (share) => `${share < 0 ? "−" : "+"}${Math.abs(Math.round(100 * share))}`;

/* What the counts allow to say: nothing before ten of each. */
function verdict({ kept, loser, fresh }) {
  if (Math.min(kept[1], loser[1], fresh[1]) < 10) return "Ten draws of each, before this says anything.";
  return `Against the null: ${against("the winner", kept, fresh)}; ${against("the loser", loser, fresh)}.`;
}
function against(name, kept, fresh) {
  const [low, high] = difference(kept, fresh), middle = kept[0] / kept[1] - fresh[0] / fresh[1];
  const told = low > 0 ? "helps" : high < 0 ? "harms" : "makes no difference that this count could tell";
  return `${name} ${told} (${points(middle)} points, 95%: ${points(low)} to ${points(high)})`;
}
const edts = ({ counts }) => `edt's own count for this teacher: ticket kept ${counts.kept.join(" of ")}, `
  + `loser kept ${counts.loser.join(" of ")}, drawn afresh ${counts.fresh.join(" of ")}.`;
