/* Networks f(x) = sum_j a_j tanh(w_j.x + b_j) + c of two inputs, in edt's flat order:
   w [m, 2], b [m], a [m], c. The loss is the mean of (f(x) - y)^2. */

const widthOf = (p) => (p.length - 1) / 4;

function output(p, x, y) {
  const m = widthOf(p);
  let f = p[4 * m];
  for (let j = 0; j < m; j++) f += p[3 * m + j] * Math.tanh(p[2 * j] * x + p[2 * j + 1] * y + p[2 * m + j]);
  return f;
}

function lossOf(task, p) {
  let sum = 0;
  for (let n = 0; n < task.y.length; n++) {
    const r = output(p, task.x[2 * n], task.x[2 * n + 1]) - task.y[n];
    sum += r * r;
  }
  return sum / task.y.length;
}

/* Writes the gradient into g and, where H is given, the Hessian into it, row after row. */
function derivatives(task, p, g, H) {
  const m = widthOf(p), P = p.length, N = task.y.length;
  const h = new Float64Array(m), d = new Float64Array(m), J = new Float64Array(P);
  let sum = 0;
  g.fill(0);
  if (H) H.fill(0);
  for (let n = 0; n < N; n++) {
    const x = [task.x[2 * n], task.x[2 * n + 1], 1];
    let f = p[4 * m];
    for (let j = 0; j < m; j++) {
      h[j] = Math.tanh(p[2 * j] * x[0] + p[2 * j + 1] * x[1] + p[2 * m + j]);
      d[j] = 1 - h[j] * h[j];
      f += p[3 * m + j] * h[j];
    }
    const r = f - task.y[n], e = (2 * r) / N;
    sum += r * r;
    for (let j = 0; j < m; j++) {
      const t = p[3 * m + j] * d[j];
      J[2 * j] = t * x[0];
      J[2 * j + 1] = t * x[1];
      J[2 * m + j] = t;
      J[3 * m + j] = h[j];
    }
    J[4 * m] = 1;
    for (let i = 0; i < P; i++) g[i] += e * J[i];
    if (!H) continue;
    for (let i = 0; i < P; i++) for (let k = 0, u = (2 / N) * J[i]; k <= i; k++) H[i * P + k] += u * J[k];
    for (let j = 0; j < m; j++) {
      const at = [2 * j, 2 * j + 1, 2 * m + j], second = -2 * e * p[3 * m + j] * h[j] * d[j];
      for (let i = 0; i < 3; i++) {
        for (let k = 0; k <= i; k++) H[at[i] * P + at[k]] += second * x[i] * x[k];
        H[(3 * m + j) * P + at[i]] += e * d[j] * x[i];
      }
    }
  }
  if (H) for (let i = 0; i < P; i++) for (let k = 0; k < i; k++) H[k * P + i] = H[i * P + k];
  return sum / N;
}

/* B of neuron j, [3, 3]: (1/N) sum_n a_j (dl/df)_n tanh''(z_j) x_n x_n^T, with 1 appended to x.
   A split with shares inside (0, 1) has as many ways down as B has negative eigenvalues; outside,
   as many as positive ones (Fukumizu & Amari 2000). */
function splitMatrix(task, p, j) {
  const m = widthOf(p), N = task.y.length, B = new Float64Array(9);
  for (let n = 0; n < N; n++) {
    const x = [task.x[2 * n], task.x[2 * n + 1], 1];
    const h = Math.tanh(p[2 * j] * x[0] + p[2 * j + 1] * x[1] + p[2 * m + j]);
    const r = output(p, x[0], x[1]) - task.y[n];
    const c = (p[3 * m + j] * 2 * r * -2 * h * (1 - h * h)) / N;
    for (let i = 0; i < 9; i++) B[i] += c * x[Math.floor(i / 3)] * x[i % 3];
  }
  return B;
}

/* Copies neuron j: the copies' output weights are share a_j and (1 - share) a_j. */
function splitNeuron(p, j, share) {
  const m = widthOf(p), a = p[3 * m + j];
  const outer = Array.from(p.subarray(3 * m, 4 * m));
  outer[j] = share * a;
  return Float64Array.from([
    ...p.subarray(0, 2 * m), p[2 * j], p[2 * j + 1],
    ...p.subarray(2 * m, 3 * m), p[2 * m + j],
    ...outer, (1 - share) * a, p[4 * m],
  ]);
}
