"use strict";
/* Draws the panels of every figure with plotly, in the page's theme. Until then, where it cannot,
   and in print, the pictures stay. The key and the points can be reached with the keyboard. */
(async () => {
  const palettes = JSON.parse(document.getElementById("palettes").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)").matches;
  const config = {
    responsive: true,
    displaylogo: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg" },
    ...(coarse ? { displayModeBar: false } : {}),
  };
  const symbols = {
    circle: "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0", square: "M-4,-4h8v8h-8z",
    diamond: "M0,-5L5,0L0,5L-5,0z", "triangle-up": "M0,-5L5,4H-5z", "triangle-down": "M0,5L5,-4H-5z",
    pentagon: "M0,-5L5,-1L3,4H-3L-5,-1z", hexagon: "M-2.5,-4.5h5L5,0L2.5,4.5h-5L-5,0z",
    star: "M0,-6L2,-2L6,-1L3,2L4,6L0,4L-4,6L-3,2L-6,-1L-2,-2z",
    cross: "M-1.5,-5h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z",
    x: "M0,-2L3,-5L5,-3L2,0L5,3L3,5L0,2L-3,5L-5,3L-2,0L-5,-3L-3,-5z",
    "x-thin": "M-4,-4L4,4M4,-4L-4,4", "line-ew": "M-5,0H5",
  };
  const hatches = {
    "/": "M-7,3L2,-6M-2,6L7,-3", "\\": "M-7,-3L2,6M-2,-6L7,3", x: "M-7,3L2,-6M-2,6L7,-3M-7,-3L2,6M-2,-6L7,3",
    ".": "M-5,-3h2M-1,1h2M3,-3h2M-5,4h2M3,4h2", "-": "M-7,-2H7M-7,2H7", "|": "M-3,-6V6M3,-6V6", "+": "M-7,0H7M0,-6V6",
  };
  const dashes = { solid: "", dash: "6 3", dot: "2 3", dashdot: "6 3 2 3", longdash: "9 3", longdashdot: "9 3 2 3" };

  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const colour = (text) => {
    const found = /^@([a-z_]+)(?:\/([0-9.]+))?$/.exec(text);
    if (!found) return text;
    const value = palettes[dark.matches ? "dark" : "light"][found[1]];
    if (!found[2]) return value;
    const channels = [1, 3, 5].map((i) => parseInt(value.slice(i, i + 2), 16));
    return `rgba(${channels.join(", ")}, ${found[2]})`;
  };
  const coloured = (part) => {
    if (typeof part === "string") return colour(part);
    if (Array.isArray(part)) return part.map(coloured);
    if (part === null || typeof part !== "object") return part;
    return Object.fromEntries(Object.entries(part).map(([key, value]) => [key, coloured(value)]));
  };

  /* The text of an element that holds it compressed. */
  function unpacked(holder) {
    const packed = atob(holder.textContent);
    const bytes = new Uint8Array(packed.length);
    for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  async function load() {
    const source = await unpacked(document.getElementById("plotly-source"));
    document.head.append(element("script", {}, source));
  }

  /* One diagram with its title and its key. */
  class Panel {
    constructor(spec, alt, say) {
      this.spec = spec;
      this.say = say;
      this.hidden = new Set();
      this.place = { trace: 0, point: -1 };
      this.plot = element("div", {
        class: "plot", tabindex: 0, role: "application", "aria-roledescription": "diagram",
        "aria-label": `${spec.title}. ${alt} Left and right arrows read the points, up and down change the line.`,
      });
      this.key = element("ul", { class: "key", "aria-label": "Key: shows and hides lines" });
      this.box = element("div", { class: spec.full ? "panel full" : "panel" },
        element("p", {}, spec.title), this.plot, this.key);
      this.plot.addEventListener("keydown", (event) => this.walk(event));
      this.plot.addEventListener("blur", () => Plotly.Fx.unhover(this.plot));
    }

    get names() {
      const shown = this.spec.data.filter((trace) => trace.showlegend !== false && trace.name);
      return [...new Map(shown.map((trace) => [trace.name, trace])).values()];
    }

    async draw() {
      const data = coloured(this.spec.data).map((trace) =>
        ({ ...trace, visible: !this.hidden.has(trace.legendgroup) }));
      const layout = coloured(this.spec.layout);
      // On a phone many widths would write over each other: every second one is named, no bar is.
      const { tickvals = [], ticktext = [] } = layout.xaxis, room = (this.plot.clientWidth - 70) / tickvals.length;
      if (room < 20 && ticktext.every((text) => text.length < 4)) {
        layout.xaxis.ticktext = ticktext.map((text, i) => (i % 2 ? "" : text));
        for (const trace of data) if (trace.type === "bar") trace.text = [];
      }
      // The toolbar has a row of its own, above the diagram.
      if (!coarse) layout.margin = { ...layout.margin, t: 38 };
      // A finger scrolls the page; zooming is for those who have a pointer.
      if (coarse) {
        layout.dragmode = false;
        for (const part of Object.keys(layout)) if (/^[xy]axis/.test(part)) layout[part].fixedrange = true;
      }
      const fresh = !this.plot.layout;
      await Plotly.react(this.plot, data, layout, config);
      if (fresh) this.plot.on("plotly_afterplot", () => this.part());
      await this.wrap();
      this.part();
      // Five more stops a diagram would be a long way with the keyboard.
      for (const button of this.plot.querySelectorAll(".modebar-btn")) button.tabIndex = -1;
      const names = this.names;
      this.key.replaceChildren(...(names.length > 1 ? names.map((trace) => this.entry(trace)) : []));
    }

    /* Titles of axes that are longer than what they stand along get a second line. */
    async wrap() {
      const whole = this.plot._fullLayout, changed = {};
      for (const name of Object.keys(this.plot.layout).filter((key) => /^[xy]axis/.test(key))) {
        const text = this.plot.layout[name].title?.text, across = name[0] === "x";
        const drawn = this.plot.querySelector(`.${name.replace("axis", "")}title`)?.getBoundingClientRect();
        if (!text || !drawn || text.includes("<br>")) continue;
        const { l, r, t, b } = whole._size, size = whole[name]._length;
        const room = size + 2 * Math.max(0, (across ? Math.min(l, r) : Math.min(t, b)) - 4);
        const long = across ? drawn.width : drawn.height;
        if (long <= room) continue;
        const most = Math.max(8, Math.floor((text.length * room) / long));
        changed[`${name}.title.text`] = text.replace(new RegExp(`^(.{1,${most}}) `), "$1<br>");
      }
      if (Object.keys(changed).length) await Plotly.relayout(this.plot, changed);
    }

    /* Intervals at one place stand side by side; the marks stay where they were measured. */
    part() {
      for (const drawn of this.plot.querySelectorAll(".scatterlayer .trace")) {
        const aside = drawn.__data__?.[0]?.trace?.meta?.aside;
        if (aside) drawn.querySelector(".errorbars")?.setAttribute("transform", `translate(${aside},0)`);
      }
    }

    entry(trace) {
      const button = element("button", { type: "button", "aria-pressed": !this.hidden.has(trace.name) });
      button.innerHTML = swatch(trace);
      const parts = trace.name.split(/<(sup|sub)>(.*?)<\/\1>/);  // text, tag, raised, text, ...
      button.append(element("span", {}, ...parts.flatMap((part, i) =>
        (i % 3 === 0 ? [part] : i % 3 === 1 ? [element(part, {}, parts[i + 1])] : []))));
      button.addEventListener("click", () => {
        if (!this.hidden.delete(trace.name)) this.hidden.add(trace.name);
        button.setAttribute("aria-pressed", !this.hidden.has(trace.name));
        const mine = this.spec.data.flatMap((other, i) => (other.legendgroup === trace.name ? [i] : []));
        Plotly.restyle(this.plot, { visible: !this.hidden.has(trace.name) }, mine);
      });
      return element("li", {}, button);
    }

    /* Traces that can be read, each with its points: where plotly finds them, and what they say. */
    get readable() {
      return this.spec.data.flatMap((trace, curve) => {
        if (this.hidden.has(trace.legendgroup) || !Array.isArray(trace.hovertext)) return [];
        const points = trace.hovertext.flatMap((text, i) => {
          // Cells of a table are found by their place, other points by their number.
          if (Array.isArray(text)) return text.map((cell, j) => ({ at: { xval: j, yval: i }, text: cell }));
          const known = trace.x[i] !== null && trace.y[i] !== null;
          return known ? [{ at: [{ curveNumber: curve, pointNumber: i }], text }] : [];
        });
        return points.length ? [{ curve, points }] : [];
      });
    }

    walk(event) {
      const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0],
        Home: [0, -Infinity], End: [0, Infinity] }[event.key];
      const traces = this.readable;
      if (event.key === "Escape") Plotly.Fx.unhover(this.plot);
      if (!move || !traces.length || event.target !== this.plot) return;
      event.preventDefault();
      const within = (value, count) => Math.min(Math.max(value, 0), count - 1);
      const first = this.place.point < 0;
      const trace = within(this.place.trace + (first ? 0 : move[0]), traces.length);
      const { curve, points } = traces[trace];
      const point = first ? 0 : within(this.place.point + move[1], points.length);
      this.place = { trace, point };
      const { xaxis = "x", yaxis = "y" } = this.spec.data[curve];
      Plotly.Fx.hover(this.plot, points[point].at, xaxis + yaxis);
      this.say.textContent = points[point].text.replace(/<br>/g, ", ").replace(/<[^>]*>/g, "");
    }
  }

  /* A sample of a trace for the key: its line and its marker, or a block of its colour. */
  function swatch(trace) {
    const head = '<svg width="34" height="14" viewBox="-17 -7 34 14" aria-hidden="true">';
    if (trace.type === "bar") {
      const hatch = hatches[trace.marker.pattern?.shape] ?? "";
      return `${head}<rect x="-7" y="-6" width="14" height="12" fill="${colour(trace.marker.color)}"/>`
        + `<path d="${hatch}" stroke="${colour("@paper")}" stroke-width="1.4" opacity=".7"/></svg>`;
    }
    const drawn = colour(trace.line.color);
    const line = trace.mode.includes("lines")
      ? `<path d="M-16,0H16" stroke="${drawn}" stroke-width="${trace.line.width}" stroke-dasharray="${dashes[trace.line.dash]}"/>` : "";
    const symbol = trace.marker?.symbol.replace("-open", "");
    const hollow = trace.marker?.symbol !== symbol || ["x-thin", "line-ew"].includes(symbol);
    const marker = trace.marker
      ? `<path d="${symbols[symbol]}" ${hollow ? 'fill="none" stroke-width="2" stroke' : "fill"}="${drawn}"/>` : "";
    return `${head}${line}${marker}</svg>`;
  }

  try {
    await load();
    const panels = [];
    for (const figure of document.querySelectorAll("figure.interactive")) {
      const holder = figure.querySelector(".plots");
      const say = element("p", { class: "said", "aria-live": "polite" });
      const script = figure.querySelector("script");
      const own = JSON.parse("packed" in script.dataset ? await unpacked(script) : script.textContent)
        .map((spec) => new Panel(spec, figure.querySelector("img").alt, say));
      holder.append(...own.map((panel) => panel.box), say);
      figure.classList.add("drawn");
      for (const panel of own) await panel.draw();
      panels.push(...own);
      // Between figures the page answers to the reader.
      await new Promise((next) => setTimeout(next));
    }
    dark.addEventListener("change", () => panels.forEach((panel) => panel.draw()));
  } catch (error) {
    for (const figure of document.querySelectorAll("figure.interactive")) figure.classList.remove("drawn");
    throw error;
  }
  document.documentElement.classList.add("figures-drawn");
})();
