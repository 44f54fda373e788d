/* Middle: the loss on a plane through the current point, seen from above at a slant, and a ball. */

const MESH = 26;
/* Half the plane's side, in units of the parameters. */
const REACHES = [1, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05];

class Surface {
  constructor(host, moved) {
    this.host = host;
    this.canvas = host.querySelector("canvas");
    this.ball = [0, 0];
    this.moved = moved;
    let held = null;
    this.canvas.addEventListener("pointerdown", (event) => {
      const at = this.screen(...this.ball, this.height(...this.ball));
      if (!this.plane || Math.hypot(event.offsetX - at[0], event.offsetY - at[1]) > 40) return;
      held = { from: [event.offsetX, event.offsetY], ball: [...this.ball] };
      this.canvas.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!held) return;
      const [dx, dy] = [event.offsetX - held.from[0], event.offsetY - held.from[1]];
      this.ball = this.inside(this.slide(held.ball, dx, dy));
      this.draw();
    });
    const drop = () => {
      if (held) moved(this.ball);
      held = null;
    };
    this.canvas.addEventListener("pointerup", drop);
    this.canvas.addEventListener("pointercancel", drop);
    this.canvas.addEventListener("keydown", (event) => {
      const way = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (!way || !this.plane) return;
      event.preventDefault();
      moved(this.inside([0, 1].map((k) => this.ball[k] + 0.1 * this.reach * way[k])));
    });
  }

  inside(at) {
    return at.map((value) => Math.max(-this.reach, Math.min(this.reach, rounded(value))));
  }

  /* The plane to show; ball is where the point lies on it. */
  show(task, flat, ball = [0, 0]) {
    this.task = task;
    this.ball = ball;
    if (this.plane !== flat) {
      this.plane = flat;
      this.reach = reachOf(task, flat);
      this.losses = Array.from({ length: (MESH + 1) ** 2 }, (_, i) =>
        lossOf(task, onPlane(flat, this.grid(i % (MESH + 1)), this.grid(Math.floor(i / (MESH + 1))))));
      const middle = lossOf(task, flat.origin), sorted = [...this.losses].sort((a, b) => a - b);
      this.low = sorted[0];
      // Walls far above what matters would flatten the rest.
      this.high = Math.min(sorted[sorted.length - 1], middle + 3 * (middle - this.low) + 1e-9 * middle || Infinity);
      if (this.high <= middle || middle - this.low < 0.02 * (sorted[sorted.length - 1] - this.low)) this.high = sorted[sorted.length - 1];
    }
    this.draw();
  }

  grid(k) {
    return ((2 * k) / MESH - 1) * this.reach;
  }

  height(s, t) {
    return (Math.min(lossOf(this.task, onPlane(this.plane, s, t)), this.high) - this.low) / (this.high - this.low || 1);
  }

  screen(s, t, height) {
    const { width, height: tall } = this.canvas.getBoundingClientRect(), unit = width / 3.6 / this.reach;
    return [width / 2 + 0.86 * unit * (s - t), tall * (0.7 - 0.4 * height) - 0.42 * unit * (s + t)];
  }

  /* A finger's way on the screen as a way on the plane. */
  slide(ball, dx, dy) {
    const unit = this.canvas.getBoundingClientRect().width / 3.6 / this.reach, across = dx / (0.86 * unit), deep = -dy / (0.42 * unit);
    return [ball[0] + (across + deep) / 2, ball[1] + (deep - across) / 2];
  }

  draw(lift = null) {
    const { pen, width, height } = sharp(this.canvas);
    pen.clearRect(0, 0, width, height);
    const [low, high] = [channels(tone(this.host, "blue")), channels(tone(this.host, "paper"))];
    const side = MESH + 1;
    const corner = (k, i) => {
      const share = (Math.min(this.losses[k * side + i], this.high) - this.low) / (this.high - this.low || 1);
      return { at: this.screen(this.grid(i), this.grid(k), share), share };
    };
    pen.strokeStyle = tone(this.host, "line");
    pen.lineWidth = 0.6;
    // From the back to the front.
    for (let sum = 2 * (MESH - 1); sum >= 0; sum--) for (let k = Math.min(sum, MESH - 1); k >= Math.max(0, sum - MESH + 1); k--) {
      const i = sum - k, corners = [corner(k, i), corner(k, i + 1), corner(k + 1, i + 1), corner(k + 1, i)];
      const share = corners.reduce((all, one) => all + one.share / 4, 0);
      pen.fillStyle = css(blend(low, high, 0.15 + 0.85 * share));
      pen.beginPath();
      corners.forEach(({ at }, c) => (c ? pen.lineTo(...at) : pen.moveTo(...at)));
      pen.closePath();
      pen.fill();
      pen.stroke();
    }
    const at = this.screen(...this.ball, lift ?? this.height(...this.ball));
    pen.fillStyle = tone(this.host, "orange");
    pen.strokeStyle = tone(this.host, "ink");
    pen.lineWidth = 1.5;
    pen.beginPath();
    pen.arc(at[0], at[1] - 7, 8, 0, 7);
    pen.fill();
    pen.stroke();
  }

  /* While it falls, the ball leaves the plane: it is drawn where the plane is nearest, at its own height. */
  follow(p, loss) {
    const off = p.map((value, i) => value - this.plane.origin[i]);
    const along = this.plane.axes.map((axis) => axis.reduce((sum, value, i) => sum + value * off[i], 0));
    this.ball = along.map((value) => Math.max(-this.reach, Math.min(this.reach, value)));
    this.draw(Math.max(-0.25, (Math.min(loss, this.high) - this.low) / (this.high - this.low || 1)));
  }
}

/* The widest plane on which the loss bends as its curvatures say: to the same side at both ends of an
   axis, and by no more than a few times as much. */
function reachOf(task, flat) {
  const middle = lossOf(task, flat.origin);
  const bends = (reach, k) => [reach, -reach].every((s) => {
    const [at, wanted] = [k ? [0, s] : [s, 0], (flat.curvatures[k] * s * s) / 2];
    const share = (lossOf(task, onPlane(flat, ...at)) - middle) / wanted;
    return share > 0.2 && share < 5;
  });
  return REACHES.find((reach) => bends(reach, 0) && bends(reach, 1)) ?? REACHES[REACHES.length - 1];
}
