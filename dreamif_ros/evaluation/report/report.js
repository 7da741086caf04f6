"use strict";
// Draws the charts in the colours of the page and steps through the film. No network.
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const narrow = matchMedia("(max-width: 640px)");
  const themes = [matchMedia("(prefers-color-scheme: dark)"), matchMedia("print"), narrow];
  const timed = data.charts.filter((chart) => chart.timed);
  const element = (chart) => document.getElementById("plot-" + chart.key);
  let shown = 0; // index of the film's frame

  // ---- charts

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /** A copy with every "--name" replaced by that CSS variable's value. */
  function themed(value) {
    if (typeof value === "string") return value.startsWith("--") ? color(value) : value;
    if (Array.isArray(value)) return value.map(themed);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, themed(inner)]));
  }

  function axis(own) {
    return {
      gridcolor: color("--grid"), linecolor: color("--rule"), zeroline: false, automargin: false,
      ticks: "", fixedrange: narrow.matches, ...own,
      title: { ...(own.title || {}), font: { size: 12, color: color("--quiet") }, standoff: 6 },
    };
  }

  function cursor() {
    if (!data.film.length) return [];
    const time = data.film[shown].time;
    return [{
      type: "line", x0: time, x1: time, y0: 0, y1: 1, yref: "paper",
      line: { color: color("--cursor"), width: 1.5 },
    }];
  }

  const shapes = (chart) => [...themed(chart.layout.shapes || []), ...(chart.timed ? cursor() : [])];

  function span() {
    let [first, last] = [Infinity, -Infinity];
    for (const time of timed.flatMap((chart) => chart.traces.flatMap((trace) => trace.x))) {
      if (time === null) continue;
      first = Math.min(first, time);
      last = Math.max(last, time);
    }
    const room = (last - first) * 0.01;
    return [first - room, last + room];
  }

  const TIGHT = { l: 8, r: 8, t: 2, b: 2 };

  function layout(chart) {
    const own = themed(chart.layout);
    const tight = own.margin === "tight";
    const bars = !chart.timed && !tight;
    const left = tight ? 8 : bars ? 96 : narrow.matches ? 60 : 66;
    const legend = chart.timed && new Set(chart.traces.map((trace) => trace.name)).size > 1;
    return {
      ...own,
      height: chart.height,
      margin: tight ? TIGHT : { l: left, r: bars ? 24 : 10, t: legend ? 26 : 8, b: chart.timed ? 26 : 40 },
      separators: ".\u2009", paper_bgcolor: color("--paper"), plot_bgcolor: color("--paper"),
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: color("--quiet") },
      showlegend: legend,
      legend: { orientation: "h", x: 0, xanchor: "left", y: 1, yanchor: "bottom", font: { size: 12 }, itemclick: false, itemdoubleclick: false, traceorder: "normal", bgcolor: "rgba(0,0,0,0)" },
      hovermode: chart.timed ? "x unified" : false,
      hoverdistance: 25, spikedistance: 25,
      hoverlabel: { bgcolor: color("--paper"), bordercolor: color("--rule"), font: { size: 12, color: color("--ink") } },
      dragmode: chart.timed && !narrow.matches ? "zoom" : false,
      xaxis: axis(tight ? { visible: false, fixedrange: true } : chart.timed
        ? { range: span(), ticksuffix: " s", nticks: narrow.matches ? 7 : 12, hoverformat: ".2f", showgrid: false, showline: true,
          showspikes: true, spikemode: "across", spikethickness: 1, spikedash: "dot", spikecolor: color("--faint"), ...(own.xaxis || {}) }
        : { fixedrange: true, rangemode: "tozero", ...(own.xaxis || {}) }),
      yaxis: axis(tight ? { visible: false, fixedrange: true, range: [0.4 - chart.traces.length, 0.6] } : chart.timed
        ? { fixedrange: true, nticks: 5, hoverformat: ",.4~g", ...(own.yaxis || {}) }
        : { fixedrange: true, autorange: "reversed", showgrid: false, ...(own.yaxis || {}) }),
      shapes: shapes(chart),
    };
  }

  function draw() {
    for (const chart of data.charts) {
      Plotly.react(element(chart), themed(chart.traces), layout(chart), {
        displayModeBar: false, responsive: true, staticPlot: !chart.timed,
      });
    }
  }

  /** All charts over time show the same span, and what they have at the same moment. */
  function link() {
    for (const chart of timed) {
      const plot = element(chart);
      const others = timed.filter((other) => other !== chart).map(element);
      // What a reader does says so by its event; what follows from that in the others does not.
      const byReader = (event) => event.event instanceof Event;
      plot.on("plotly_hover", (event) => {
        if (!byReader(event)) return;
        for (const other of others) Plotly.Fx.hover(other, { xval: event.points[0].x }, ["xy"]);
      });
      plot.on("plotly_unhover", (event) => {
        if (byReader(event)) others.forEach((other) => Plotly.Fx.unhover(other));
      });
      plot.on("plotly_relayout", () => follow(plot, others));
      whenClicked(plot, (time) => show(nearest(time)));
    }
  }

  /** Zooms the others where they differ; a double-click has left the plot its own whole span. */
  function follow(plot, others) {
    if (plot.layout.xaxis.autorange) {
      Plotly.relayout(plot, { "xaxis.range": span() });
      return;
    }
    const range = [...plot.layout.xaxis.range];
    for (const other of others) {
      const its = other.layout.xaxis.range;
      if (its[0] !== range[0] || its[1] !== range[1]) Plotly.relayout(other, { "xaxis.range": range });
    }
  }

  /** Tells the time under a click, not under the end of a drag. */
  function whenClicked(plot, tell) {
    let start = null;
    plot.addEventListener("pointerdown", (event) => { start = event; }, true);
    addEventListener("pointerup", (event) => {
      if (start && Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY) < 5) {
        const axis = plot._fullLayout.xaxis;
        const inside = event.clientX - plot.getBoundingClientRect().left - axis._offset;
        if (inside >= 0 && inside <= axis._length) tell(axis.p2d(inside));
      }
      start = null;
    }, true);
  }

  // ---- film

  function nearest(time) {
    let best = 0;
    data.film.forEach((frame, index) => {
      if (Math.abs(frame.time - time) < Math.abs(data.film[best].time - time)) best = index;
    });
    return best;
  }

  function show(index) {
    if (!data.film.length) return;
    shown = Math.min(Math.max(index, 0), data.film.length - 1);
    const frame = data.film[shown];
    const place = `${shown + 1} of ${data.film.length}: ${frame.label}`;
    const slider = document.getElementById("film-slider");
    slider.value = shown;
    slider.setAttribute("aria-valuetext", place);
    document.getElementById("film-place").textContent = place;
    document.getElementById("film-before").disabled = shown === 0;
    document.getElementById("film-after").disabled = shown === data.film.length - 1;
    for (const figure of document.querySelectorAll(".frame")) {
      const name = figure.dataset.picture;
      const image = figure.querySelector("img");
      figure.hidden = !(name in frame.pictures);
      if (figure.hidden) continue;
      image.src = frame.pictures[name];
      image.alt = `${name} at ${frame.label}`;
    }
    const rows = frame.readout.map(([term, text]) => {
      const row = document.createElement("div");
      row.append(Object.assign(document.createElement("dt"), { textContent: term }));
      row.append(Object.assign(document.createElement("dd"), { textContent: text }));
      return row;
    });
    document.getElementById("film-readout").replaceChildren(...rows);
    const share = document.querySelector(".share");
    share.hidden = frame.share === null;
    share.firstElementChild.style.width = `${(frame.share || 0) * 100}%`;
    for (const chart of timed) {
      if (element(chart).layout) Plotly.relayout(element(chart), { shapes: shapes(chart) });
    }
  }

  function listen() {
    const slider = document.getElementById("film-slider");
    const box = document.getElementById("film-box");
    slider.addEventListener("input", () => show(Number(slider.value)));
    document.getElementById("film-before").addEventListener("click", () => show(shown - 1));
    document.getElementById("film-after").addEventListener("click", () => show(shown + 1));
    document.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
      if (event.target.matches("input, textarea, select")) return; // the sliders have keys of their own
      const inside = box.contains(event.target);
      const keys = { ArrowLeft: shown - 1, ArrowRight: shown + 1 };
      if (inside) Object.assign(keys, { Home: 0, End: data.film.length - 1 });
      if (!(event.key in keys)) return;
      event.preventDefault();
      show(keys[event.key]);
    });
    for (const button of document.querySelectorAll(".frame button")) {
      button.addEventListener("click", () => {
        const large = button.closest(".frame").classList.toggle("large");
        button.setAttribute("aria-pressed", String(large));
      });
    }
  }

  function wipe() {
    const slider = document.getElementById("wipe-slider");
    if (!slider) return;
    const set = () => document.getElementById("wipe").style.setProperty("--wipe", `${slider.value}%`);
    slider.addEventListener("input", set);
    set();
  }

  if (data.film.length) listen();
  wipe();
  show(0);
  draw();
  link();
  for (const theme of themes) theme.addEventListener("change", draw);
})();
