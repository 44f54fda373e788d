/* Puts the pieces together. Until the numbers are checked, and where they do not agree with edt's, the
   still picture stays. */

class Explore {
  constructor(host, data) {
    Object.assign(this, { host, data, neuron: 0, playing: 0 });
    const part = (name) => host.querySelector(`[data-part=${name}]`);
    this.say = host.querySelector(".say");
    this.inputs = new Inputs(part("inputs"), (j) => this.pick(j));
    this.surface = new Surface(part("surface"), (at) => this.drag(at));
    this.ladder = new Ladder(part("ladder"));
    this.tickets = new Tickets(part("tickets"), data);
    this.teachers = host.querySelector("[name=teacher]");
    this.minima = host.querySelector("[name=minimum]");
    this.share = host.querySelector("[name=share]");
    this.act = Object.fromEntries([...host.querySelectorAll("[data-do]")].map((one) => [one.dataset.do, one]));
    this.teachers.replaceChildren(...data.teachers.map((_, t) => new Option(`teacher ${t + 1}`, t)));
    this.teachers.addEventListener("change", () => this.go({ teacher: Number(this.teachers.value), minimum: 0, moves: [] }));
    this.minima.addEventListener("change", () => this.go({ ...this.state, minimum: Number(this.minima.value), moves: [] }));
    this.share.addEventListener("input", () => this.tell());
    this.act.descend.addEventListener("click", () => this.move({ kind: "descend", other: false }));
    this.act.other.addEventListener("click", () => this.move({ kind: "descend", other: true }));
    this.act.split.addEventListener("click", () => this.move({ kind: "split", neuron: this.neuron, share: Number(this.share.value) }));
    this.act.undo.addEventListener("click", () => this.go({ ...this.state, moves: this.state.moves.slice(0, -1) }));
    this.act.again.addEventListener("click", () => this.go({ ...this.state, moves: [] }));
    this.act.link.addEventListener("click", () => this.copy());
    const tabs = [...host.querySelectorAll("[role=tab]")];
    tabs.forEach((tab, i) => {
      tab.addEventListener("click", () => this.turn(tabs, i));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (step) this.turn(tabs, (i + step + tabs.length) % tabs.length).focus();
      });
    });
    addEventListener("hashchange", () => {
      const named = read(location.hash, data);
      if (named && location.hash !== write(this.state)) this.go(named);
    });
    const again = () => this.render();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    new ResizeObserver(again).observe(host);
    this.go(read(location.hash, data) ?? { teacher: 0, minimum: 0, moves: [] }, false);
  }

  get teacher() {
    return this.data.teachers[this.state.teacher];
  }
  get point() {
    return this.points[this.points.length - 1];
  }

  turn(tabs, chosen) {
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", i === chosen);
      tab.tabIndex = i === chosen ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = i !== chosen;
    });
    if (!chosen) this.render();
    return tabs[chosen];
  }

  /* Takes a state as it is, without playing how it came about. */
  go(state, remember = true) {
    this.playing++;
    const other = this.state?.teacher !== state.teacher;
    this.state = state;
    this.points = replay(this.data, state);
    this.neuron = Math.min(this.neuron, widthOf(this.point.p) - 1);
    this.teachers.value = state.teacher;
    this.minima.replaceChildren(...this.teacher.minima.map((minimum, i) =>
      new Option(`width ${widthOf(minimum.p)}, loss ${short(minimum.loss)}`, i)));
    this.minima.value = state.minimum;
    if (other) {
      this.ladder.show(this.teacher, this.data.good);
      this.tickets.show(this.teacher);
    }
    this.most = Math.max(...Array.from(this.teacher.y, (y, n) =>
      Math.abs(output(this.points[0].p, this.teacher.x[2 * n], this.teacher.x[2 * n + 1]) - y)));
    if (remember) history.replaceState(null, "", write(state));
    this.render();
  }

  async move(move) {
    if (this.state.moves.length >= MOST_MOVES) return;
    const mine = ++this.playing, { teacher, data } = this;
    const next = move.kind === "descend" ? await this.fall(move, mine) : apply(teacher, this.point, move, data.good);
    if (!next || mine !== this.playing) return;
    this.state.moves.push(move);
    this.points.push(next);
    history.replaceState(null, "", write(this.state));
    this.render();
  }

  /* Descends before the reader's eyes: first a step a frame, later more. Where motion is not wanted
     only the end is shown. Null where something else was asked for meanwhile. */
  async fall(move, mine) {
    const { teacher, data } = this, still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const way = descent(teacher, this.point.p, data.good, STEPS, move.other);
    let { p } = this.point, steps = 0;
    for (;;) {
      const enough = performance.now() + 12;
      for (let k = still ? -Infinity : 0; k <= steps / 40 && performance.now() < enough; k++, steps++) {
        const { value, done } = way.next();
        if (done) return arrived(teacher, p, value);
        p = value;
      }
      if (!still) this.draw(p);
      await new Promise((next) => (still ? setTimeout(next) : requestAnimationFrame(next)));
      if (mine !== this.playing) return null;
    }
  }

  draw(p) {
    const loss = lossOf(this.teacher, p);
    this.inputs.field(this.teacher, p, this.most);
    this.inputs.neurons(p, this.neuron, (j) => `Neuron ${j + 1}`);
    this.surface.follow(p, loss);
    this.ladder.place(widthOf(p), loss);
  }

  pick(neuron) {
    this.neuron = neuron;
    this.inputs.neurons(this.point.p, neuron, (j) => this.label(j));
    this.tell();
  }

  /* Drags add up to one move. */
  drag(at) {
    const { moves } = this.state, last = moves[moves.length - 1];
    const kept = last?.kind === "move" ? moves.slice(0, -1) : moves;
    this.go({ ...this.state, moves: [...kept, { kind: "move", at }] });
  }

  async copy() {
    const address = location.href.replace(/#.*/, "") + write(this.state);
    try {
      await navigator.clipboard.writeText(address);
      this.act.link.textContent = "Address copied";
    } catch {
      this.act.link.textContent = "The address bar has it";
    }
    setTimeout(() => (this.act.link.textContent = "Copy the address"), 2000);
  }

  label(j) {
    const { critical } = this.point;
    const inside = waysDown(this.teacher, this.point.p, j, 0.5), outside = waysDown(this.teacher, this.point.p, j, 1.5);
    return `Neuron ${j + 1}` + (critical ? `: a copy opens ${many(inside, "way", "ways")} down with shares inside 0 to 1, ${outside} outside` : "");
  }

  render() {
    if (!this.host.offsetWidth || !this.points || this.host.querySelector("#ex-add").hidden) return;
    const { point, teacher } = this, last = this.state.moves[this.state.moves.length - 1];
    this.inputs.field(teacher, point.p, this.most);
    this.inputs.neurons(point.p, this.neuron, (j) => this.label(j));
    this.surface.show(teacher, point.plane, last?.kind === "move" ? last.at : [0, 0]);
    this.ladder.place(widthOf(point.p), point.loss);
    this.tell();
  }

  /* All that is told in words. */
  tell() {
    const { point, teacher } = this, m = widthOf(point.p), share = Number(this.share.value);
    const text = (name, words) => (this.host.querySelector(`[data-say=${name}]`).textContent = words);
    this.say.textContent = sentence(point, m, this.data.good, widthOf(teacher.p));
    const { critical } = point, ways = waysDown(teacher, point.p, this.neuron, share);
    text("split", !critical ? "Only where nothing slopes does a copy decide: descend first."
      : share === 0 || share === 1 ? `At a share of ${share} one copy is silent: no way down opens, and more directions are flat.`
      : `A copy of neuron ${this.neuron + 1}, shared out as ${short(share)} and ${short(1 - share)}, opens ${many(ways, "way", "ways")} down.`);
    text("share", short(share));
    const [a, b] = point.plane.curvatures;
    text("surface", `Curvatures along the two directions: ${short(a)} and ${short(b)}.`);
    const row = teacher.widths.find((one) => one.width === m);
    text("ladder", row ? `Of ${row.runs} random starts at width ${m}, ${row.good} reach zero loss.` : `Width ${m} was not swept.`);
    this.act.split.textContent = `Split neuron ${this.neuron + 1}`;
    this.act.split.disabled = m >= MOST_NEURONS;
    // Copies of equal shares change places in a mirror: both sides are one.
    const last = this.state.moves[this.state.moves.length - 1];
    this.act.other.disabled = !(critical && point.down) || last?.share === 0.5;
    this.act.undo.disabled = this.act.again.disabled = !this.state.moves.length;
  }
}

/* What the current point is. */
function sentence(point, m, good, goal) {
  const loss = `Loss ${short(point.loss)} with ${many(m, "neuron", "neurons")}`;
  if (point.loss <= good) {
    const more = m - goal;
    return `Zero loss with ${many(m, "neuron", "neurons")}: ${more > 0 ? `${more} more than the teacher has. Can it be done with fewer?` : "as few as the teacher has."}`;
  }
  if (point.critical) return point.down
    ? `${loss}. A saddle: nothing slopes, but ${many(point.down, "direction leads", "directions lead")} down. Descend, on one side or the other.`
    : `${loss}. ${point.flat ? "No direction leads down" : "A minimum: every direction leads up"}. Descend does nothing; split a neuron.`;
  return point.end === "falling" ? `${loss}, and still falling, ever more slowly: a channel to infinity. Descend goes on, or split a neuron.`
    : `${loss}. On a slope: descend.`;
}

function begin() {
  const host = document.querySelector(".explore");
  const data = unpack(JSON.parse(host.querySelector("script[type='application/json']").textContent));
  const wrong = mismatches(data);
  host.dataset.state = wrong.length ? "mismatch" : "live";
  if (wrong.length) {
    host.querySelector(".differs").textContent = `This browser computes other numbers than edt did (${wrong[0]}), so only the picture is shown.`;
    return;
  }
  globalThis.explore = new Explore(host, data);
}
