/* Numbers of the page as edt wrote them, and whether this browser computes the same. */

const AGREE = 1e-11; // relatively: sums of 256 terms in another order

function floats(text) {
  const packed = atob(text), bytes = Uint8Array.from(packed, (char) => char.charCodeAt(0));
  return new Float64Array(bytes.buffer);
}

/* Makes arrays of what is packed. */
function unpack(data) {
  const x = floats(data.x);
  for (const teacher of data.teachers) {
    Object.assign(teacher, { x, y: floats(teacher.y), p: floats(teacher.theta) });
    for (const minimum of teacher.minima) {
      minimum.p = floats(minimum.theta);
      for (const split of minimum.splits) split.B = floats(split.B);
    }
    if (teacher.ticket) for (const name of ["winner", "loser"]) teacher.ticket[name] = floats(teacher.ticket[name]);
  }
  return data;
}

const apart = (a, b) => Math.abs(a - b) / Math.max(Math.abs(a), Math.abs(b), Number.MIN_VALUE);

/* What does not agree with edt, in words; nothing where all does. */
function mismatches(data) {
  const found = [];
  const insist = (holds, words) => holds || found.push(words);
  data.teachers.forEach((teacher, t) => {
    insist(lossOf(teacher, teacher.p) < 1e-24, `teacher ${t + 1}: its own loss is not 0`);
    teacher.minima.forEach((minimum, i) => {
      const name = `teacher ${t + 1}, minimum ${i + 1}`, point = look(teacher, minimum.p);
      insist(apart(point.loss, minimum.loss) <= AGREE, `${name}: loss ${point.loss}, edt has ${minimum.loss}`);
      insist(stands(point), `${name}: not a minimum here`);
      minimum.splits.forEach((split, j) => {
        const B = splitMatrix(teacher, minimum.p, j), size = largest(split.B);
        insist(B.every((value, k) => Math.abs(value - split.B[k]) <= 1e-9 * size), `${name}, neuron ${j + 1}: B differs`);
        for (const { share, ways } of split.ends)
          insist(waysDown(teacher, minimum.p, j, share) === ways, `${name}, neuron ${j + 1}, share ${share}: ways down differ`);
      });
    });
  });
  return found;
}
