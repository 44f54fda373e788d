/* Colours of the page's theme, and the small pieces all pictures are made of. */

const tone = (host, name) => getComputedStyle(host).getPropertyValue(`--${name}`).trim();
const channels = (colour) => [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
const blend = (a, b, share) => a.map((value, i) => value + (b[i] - value) * share);
const css = (rgb) => `rgb(${rgb.map(Math.round).join(",")})`;

function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/* A canvas as sharp as the screen; returns its context in CSS pixels and its size. */
function sharp(canvas) {
  const { width, height } = canvas.getBoundingClientRect(), scale = Math.min(devicePixelRatio || 1, 2);
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  return { pen, width, height };
}

/* Two significant digits, powers of ten where they are short. */
function short(value) {
  if (value === 0) return "0";
  const size = Math.floor(Math.log10(Math.abs(value)) + 1e-12);
  if (size >= -3 && size < 4) return Number(value.toPrecision(2)).toString().replace("-", "−");
  const [head, power] = value.toExponential(1).split("e");
  return `${head.replace("-", "−")}·10${raised(Number(power))}`;
}
const raised = (power) => String(power).replace(/./g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);
const many = (count, one, more) => `${count} ${count === 1 ? one : more}`;
