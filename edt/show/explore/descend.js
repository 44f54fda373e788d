/* What a point is, and the way down from it: Newton steps, damped until each lowers the loss. */

const ROUNDING = 2 ** -52;
const STILL = 1e-11; // a larger gradient is a slope
const NEARLY = 1e-7; // a smaller one may be all that rounding leaves, where Newton's step is short, too
const NEAR = 1e-3; // Newton's step from what counts as a critical point
const LONGEST = 0.25; // of a step
const STEPS = 2000; // of one descent
/* Along the lowest eigenvector, in units of max(1, |p|): as edt leaves saddles. */
const LENGTHS = [0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4];

/* Loss, gradient, eigensystem; eigenvalues within 10 u P |H| of 0 are flat, as in edt. */
function look(task, p) {
  const P = p.length, g = new Float64Array(P), H = new Float64Array(P * P);
  const loss = derivatives(task, p, g, H);
  const { values, vectors } = eigensystem(H, P);
  const eps = 10 * ROUNDING * P * Math.max(Math.abs(values[0]), values[P - 1]);
  const sloped = values.map((value) => Math.abs(value) > eps);
  const step = norm(values.map((value, i) => (sloped[i] ? dot(vectors[i], g) / value : 0)));
  return {
    p, loss, values, vectors, eps,
    critical: largest(g) <= NEARLY && step <= NEAR,
    down: values.filter((value) => value < -eps).length,
    flat: values.filter((value) => Math.abs(value) <= eps).length,
  };
}

/* One step down from a point without a slope: along the lowest eigenvector, to the lowest loss of both
   sides, or of the other side than that. */
function nudge(task, point, other = false) {
  if (!point.down) return null;
  const unit = Math.max(1, norm(point.p));
  const [one, two] = [1, -1].map((side) => {
    const tried = LENGTHS.map((length) => plus(point.p, side * length * unit, point.vectors[0]));
    return tried.map((p) => ({ p, loss: lossOf(task, p) })).reduce((a, b) => (b.loss < a.loss ? b : a));
  });
  const chosen = (one.loss <= two.loss) !== other ? one : two;
  return chosen.loss < point.loss ? chosen.p : null;
}

/* Descends from p. Yields every point on the way, and returns why it ended: "zero" (at or below
   good), "minimum" (no slope, no way down) or "falling" (after ``most`` steps, or where rounding hides
   what is left of the slope). */
function* descent(task, p, good, most = STEPS, other = false) {
  let shift = 1e-3;
  const g = new Float64Array(p.length), H = new Float64Array(p.length ** 2);
  for (let step = 0; step < most; step++) {
    const loss = derivatives(task, p, g, H);
    if (loss <= 1e-6 * good) return "zero";
    const next = largest(g) <= STILL ? nudge(task, look(task, p), other && step === 0) : null;
    if (next) {
      const from = p;
      for (let k = 1; k <= 20; k++) yield (p = plus(from, k / 20, minus(next, from)));
      continue;
    }
    const found = largest(g) > STILL ? newton(task, p, loss, g, H, shift) : null;
    if (!found) return loss <= good ? "zero" : stands(look(task, p)) ? "minimum" : "falling";
    shift = found.shift;
    yield (p = found.p);
  }
  return lossOf(task, p) <= good ? "zero" : "falling";
}

/* The shortest shift of the Hessian, from the last one on, whose step is short and lowers the loss. */
function newton(task, p, loss, g, H, shift) {
  const size = largest(H);
  for (; shift < 1e6 * size; shift = Math.max(4 * shift, 1e-12 * size)) {
    const d = dampedSolve(H, g, shift);
    if (!d || norm(d) > LONGEST) continue;
    const tried = plus(p, 1, d), gain = loss - lossOf(task, tried);
    if (!(gain > 0)) continue;
    // Where the loss falls as the slope promises, the damping may go.
    return { p: tried, shift: gain > -0.25 * dot(d, g) ? shift / 6 : shift };
  }
  return null;
}

const stands = (point) => point.critical && !point.down;

/* The whole descent at once: its last point, and why it ended. */
function descend(task, p, good, other = false) {
  const way = descent(task, p, good, STEPS, other);
  for (;;) {
    const { value, done } = way.next();
    if (done) return { p, end: value };
    p = value;
  }
}
