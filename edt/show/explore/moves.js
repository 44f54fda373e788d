/* Where a reader is: a teacher, a bad minimum of it, and the moves since. All of it fits into the
   address: #explore=TEACHER.MINIMUM:MOVE,MOVE with sNEURON@SHARE, d (descend), o (down the
   other side), mS_T (in the plane). */

const MOST_MOVES = 40;
const MOST_NEURONS = 12;

const rounded = (value) => Number(value.toFixed(3));

function write(state) {
  const moves = state.moves.map((move) =>
    move.kind === "split" ? `s${move.neuron + 1}@${rounded(move.share)}`
      : move.kind === "move" ? `m${rounded(move.at[0])}_${rounded(move.at[1])}` : move.other ? "o" : "d");
  return `#explore=${state.teacher + 1}.${state.minimum + 1}${moves.length ? ":" : ""}${moves.join(",")}`;
}

/* The state an address names, or null. */
function read(hash, data) {
  const found = /^#explore=(\d+)\.(\d+)(?::([\w@,.-]*))?$/.exec(hash);
  if (!found) return null;
  const teacher = found[1] - 1, minimum = found[2] - 1;
  if (!data.teachers[teacher]?.minima[minimum]) return null;
  const moves = [];
  for (const text of (found[3] ?? "").split(",").filter(Boolean).slice(0, MOST_MOVES)) {
    const split = /^s(\d+)@(-?[\d.]+)$/.exec(text), move = /^m(-?[\d.]+)_(-?[\d.]+)$/.exec(text);
    if (split) moves.push({ kind: "split", neuron: split[1] - 1, share: Number(split[2]) });
    else if (move) moves.push({ kind: "move", at: [Number(move[1]), Number(move[2])] });
    else if (text === "d" || text === "o") moves.push({ kind: "descend", other: text === "o" });
    else return null;
  }
  return { teacher, minimum, moves };
}

/* Two directions to look along: the lowest eigenvectors that are not flat. */
function plane(point) {
  const sloped = point.values.flatMap((value, i) => (Math.abs(value) > point.eps ? [i] : []));
  const [a, b] = [sloped[0] ?? 0, sloped[1] ?? 1];
  return { origin: point.p, axes: [point.vectors[a], point.vectors[b]], curvatures: [point.values[a], point.values[b]] };
}

const onPlane = (flat, s, t) => plus(plus(flat.origin, s, flat.axes[0]), t, flat.axes[1]);

/* The points that the moves of a state lead through; the first is the minimum itself. A move that
   cannot be made is left out, and so are those after it. */
function replay(data, state) {
  const teacher = data.teachers[state.teacher];
  const points = [arrived(teacher, teacher.minima[state.minimum].p, "minimum")];
  for (const move of state.moves) {
    const next = apply(teacher, points[points.length - 1], move, data.good);
    if (!next) break;
    points.push(next);
  }
  state.moves.length = points.length - 1;
  return points;
}

/* The point one move leads to, or null. */
function apply(teacher, point, move, good) {
  if (move.kind === "descend") {
    const { p, end } = descend(teacher, point.p, good, move.other);
    return arrived(teacher, p, end);
  }
  if (move.kind === "move") {
    if (!move.at.every(Number.isFinite)) return null;
    // The plane stays: otherwise a ball that is dragged would never arrive.
    const p = onPlane(point.plane, ...move.at);
    return { ...arrived(teacher, p, "moved"), plane: point.plane };
  }
  const m = widthOf(point.p), inside = Number.isInteger(move.neuron) && move.neuron >= 0 && move.neuron < m;
  if (!inside || !Number.isFinite(move.share) || m >= MOST_NEURONS) return null;
  return arrived(teacher, splitNeuron(point.p, move.neuron, move.share), "split");
}

/* A point, how it was reached, and the plane to look at it on. */
function arrived(teacher, p, end) {
  const point = look(teacher, p);
  return { ...point, end, plane: plane(point) };
}

/* Ways down that a split opens, by B alone: for shares inside (0, 1), outside, and at 0 or 1. */
function waysDown(task, p, neuron, share) {
  const B = splitMatrix(task, p, neuron), { values } = eigensystem(B, 3);
  const eps = 30 * ROUNDING * largest(values);
  if (share === 0 || share === 1) return 0;
  return values.filter((value) => (share > 0 && share < 1 ? value < -eps : value > eps)).length;
}
