/* Symmetric eigensystems and Cholesky factors of small matrices, row after row. */

/* Eigenvalues in rising order and, as rows, their eigenvectors; cyclic Jacobi. */
function eigensystem(matrix, n) {
  const A = Float64Array.from(matrix), V = new Float64Array(n * n);
  for (let i = 0; i < n; i++) V[i * n + i] = 1;
  for (let sweep = 0; sweep < 60; sweep++) {
    let off = 0, all = 0;
    for (let i = 0; i < n * n; i++) {
      all += A[i] * A[i];
      if (Math.floor(i / n) !== i % n) off += A[i] * A[i];
    }
    if (off <= 1e-36 * all) break;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) {
      const apq = A[p * n + q];
      if (apq === 0) continue;
      const theta = (A[q * n + q] - A[p * n + p]) / (2 * apq);
      const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
      const c = 1 / Math.sqrt(t * t + 1), s = t * c;
      for (let k = 0; k < n; k++) {
        const u = A[k * n + p], v = A[k * n + q];
        A[k * n + p] = c * u - s * v;
        A[k * n + q] = s * u + c * v;
      }
      for (let k = 0; k < n; k++) {
        const u = A[p * n + k], v = A[q * n + k];
        A[p * n + k] = c * u - s * v;
        A[q * n + k] = s * u + c * v;
        const w = V[p * n + k], z = V[q * n + k];
        V[p * n + k] = c * w - s * z;
        V[q * n + k] = s * w + c * z;
      }
    }
  }
  const order = Array.from({ length: n }, (_, i) => i).sort((i, k) => A[i * n + i] - A[k * n + k]);
  const values = order.map((i) => A[i * n + i]);
  const vectors = order.map((i) => {
    const v = V.slice(i * n, (i + 1) * n);
    // One sign for everyone, or an address would mean two places.
    const most = v.reduce((best, value, k) => (Math.abs(value) > Math.abs(v[best]) + 1e-9 ? k : best), 0);
    return v[most] < 0 ? v.map((value) => -value) : v;
  });
  return { values, vectors };
}

/* d with (A + shift I) d = -g, or null where that matrix is not positive definite. */
function dampedSolve(A, g, shift) {
  const n = g.length, L = new Float64Array(n * n), d = new Float64Array(n);
  for (let i = 0; i < n; i++) for (let k = 0; k <= i; k++) {
    let sum = A[i * n + k] + (i === k ? shift : 0);
    for (let q = 0; q < k; q++) sum -= L[i * n + q] * L[k * n + q];
    if (i !== k) L[i * n + k] = sum / L[k * n + k];
    else if (sum > 0) L[i * n + i] = Math.sqrt(sum);
    else return null;
  }
  for (let i = 0; i < n; i++) {
    let sum = -g[i];
    for (let k = 0; k < i; k++) sum -= L[i * n + k] * d[k];
    d[i] = sum / L[i * n + i];
  }
  for (let i = n - 1; i >= 0; i--) {
    let sum = d[i];
    for (let k = i + 1; k < n; k++) sum -= L[k * n + i] * d[k];
    d[i] = sum / L[i * n + i];
  }
  return d;
}

const norm = (v) => Math.hypot(...v);
const largest = (v) => v.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
const minus = (a, b) => a.map((value, i) => value - b[i]);
const plus = (p, s, v) => p.map((value, i) => value + s * v[i]);
