// Draws a signal over time from what the API says of it, with what happened meanwhile.
"use strict";

(() => {
  const MOST_POINTS = 400;
  const NEAR_PX = 7;
  const FEW_POINTS = 8; // too few for a line to be seen
  const drawn = new Map(); // by the id of the figure

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colours = () => ({
    ink: css("--ink"), soft: css("--soft"), faint: css("--faint"), line: css("--line"),
    estimate: css("--learning"), alarm: css("--alarm"), retrain: css("--retraining"), promotion: css("--steady"), rollback: css("--held"),
  });
  const number = (value) => {
    const size = Math.abs(value);
    if (size >= 1000) return value.toLocaleString("en-GB", { maximumFractionDigits: 0 });
    if (size >= 10) return String(+value.toFixed(1));
    return size >= 0.1 || size === 0 ? String(+value.toFixed(3)) : value.toPrecision(2);
  };
  const isShare = (metric) => metric === "accuracy" || metric === "share";
  const text = (value, metric) => (isShare(metric) ? `${(100 * value).toFixed(1)}%` : number(value));

  const time = (ts, span) => {
    const at = new Date(ts * 1000).toISOString(); // UTC, as everywhere on the page
    const day = new Date(ts * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
    if (span === undefined) return `${day} ${at.slice(11, 16)}`;
    if (span > 2 * 86400) return day;
    return span > 300 ? at.slice(11, 16) : at.slice(11, 19);
  };

  const upright = (item, figure) => {
    const { row, rows, ts, value, reference } = item, inverted = "inverted" in figure.dataset;
    const low = item.low ?? value, high = item.high ?? value;
    const turn = (one) => (one === null || !inverted ? one : 1 - one);
    return { row, rows, ts, value: turn(value), low: turn(inverted ? high : low), high: turn(inverted ? low : high), reference: turn(reference) };
  };

  const series = (points, ...names) => names.map((name) => points.map((point) => point[name]));
  // what is drawn beside has rows of its own
  const columns = ({ points, beside }) => {
    const own = series(points, "row", "low", "high", "reference", "value");
    return beside.length ? uPlot.join([own, series(beside, "row", "value")]) : own;
  };
  const at = (points, row) => points.find((point) => point.row >= row) ?? points.at(-1);

  const timeAt = (points, row) => {
    let after = points.findIndex((point) => point.row >= row);
    if (after < 0) after = points.length - 1;
    if (after === 0) return points[0]?.ts;
    const a = points[after - 1], b = points[after];
    return a.ts + ((row - a.row) / (b.row - a.row || 1)) * (b.ts - a.ts);
  };

  // a measurement is drawn at its last row: what happened within the first one belongs on the picture too
  const extent = (points) => (points.length ? [points[0].row - points[0].rows, points.at(-1).row] : [0, 1]);

  const marksOf = (figure) => {
    try { return JSON.parse(figure.dataset.marks); } catch { return []; }
  };

  const drawMarks = (chart) => (plot) => {
    const { ctx, bbox } = plot, tint = colours(), ratio = devicePixelRatio;
    ctx.save();
    for (const [row, kind] of marksOf(chart.figure)) {
      const { min, max } = plot.scales.x;
      if (row < min || row > max) continue;
      const x = Math.round(plot.valToPos(row, "x", true));
      ctx.strokeStyle = ctx.fillStyle = tint[kind] || tint.soft;
      ctx.lineWidth = 1.5 * ratio;
      ctx.setLineDash(kind === "retrain" ? [3 * ratio, 3 * ratio] : []);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.beginPath();
      ctx.arc(x, bbox.top, 3.5 * ratio, 0, 2 * Math.PI);
      ctx.fill();
    }
    ctx.restore();
  };

  const say = (chart) => (plot) => {
    const { figure, points, beside } = chart;
    const { idx, left } = plot.cursor;
    const row = idx == null ? Infinity : plot.data[0][idx];
    const point = at(points, row), labelled = at(beside, row);
    if (!point) return;
    const metric = figure.dataset.metric;
    const parts = [`row ${point.row.toLocaleString("en-GB")}`, time(point.ts)];
    if (point.value !== null) parts.push(text(point.value, metric) + (point.low < point.high ? ` (${text(point.low, metric)} – ${text(point.high, metric)})` : ""));
    if (labelled) parts.push(`by labels ${text(labelled.value, metric)}`);
    if (point.reference !== null) parts.push(`reference ${text(point.reference, metric)}`);
    const near = idx == null ? [] : marksOf(figure).filter(([row]) => Math.abs(plot.valToPos(row, "x") - left) < NEAR_PX);
    chart.readout.textContent = [...near.map(([, , title]) => title), parts.join(" · ")].join(" — ");
  };

  const options = (chart, width, height) => {
    const tint = colours(), { metric, beside } = chart.figure.dataset;
    const line = beside ? tint.estimate : tint.ink, spanGaps = true;
    const dots = (stroke) => ({ show: (plot) => plot.data[0].length < FEW_POINTS, size: 6, fill: stroke });
    const font = `12px ${css("--sans")}`;
    const grid = { stroke: tint.line, width: 1 }, none = { show: false };
    return {
      width, height, padding: [8, 6, 0, 0], legend: none,
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
      scales: { x: { time: false, range: () => extent(chart.points) }, y: { range: (_, low, high) => { const gap = (high - low || Math.abs(high) || 1) * 0.1; return [low - gap, high + gap]; } } },
      axes: [
        { stroke: tint.soft, font, grid: none, ticks: none, size: 28, space: 80, values: (_, rows) => {
          const first = chart.points[0]?.ts, last = chart.points.at(-1)?.ts;
          return rows.map((row) => (row < chart.points[0]?.row ? "" : last > first ? time(timeAt(chart.points, row), last - first) : number(row)));
        } },
        { stroke: tint.soft, font, grid, ticks: none, size: 54, space: 36, values: (_, values) => values.map((value) => (isShare(metric) ? `${+(100 * value).toFixed(1)}%` : number(value))) },
      ],
      series: [
        {},
        { stroke: "transparent", points: none, spanGaps }, { stroke: "transparent", points: none, spanGaps },
        { stroke: tint.soft, width: 1, dash: [4, 4], points: none },
        { stroke: line, width: 1.75, points: dots(line), spanGaps },
        ...(chart.beside.length ? [{ stroke: tint.ink, width: 1.75, points: dots(tint.ink), spanGaps }] : []),
      ],
      bands: [{ series: [2, 1], fill: beside ? `${line}2e` : `${line}1a` }],
      hooks: { draw: [drawMarks(chart)], setCursor: [say(chart)] },
    };
  };

  const build = (chart) => {
    chart.plot?.destroy();
    const box = chart.box.getBoundingClientRect();
    chart.plot = new uPlot(options(chart, box.width, box.height), columns(chart), chart.box);
    say(chart)(chart.plot);
  };

  const measured = (model, signal, since) => {
    const query = new URLSearchParams({ signal, limit: MOST_POINTS });
    if (since !== undefined) query.set("since_row", since);
    return fetch(`/v1/models/${encodeURIComponent(model)}/signals?${query}`);
  };

  const load = async (chart) => {
    const { figure } = chart, { model, signal, category, beside } = figure.dataset;
    const last = chart.points.at(-1)?.row, drawnBeside = chart.beside.length > 0;
    const answer = await measured(model, signal, last === undefined ? last : last + 1);
    if (!answer.ok || chart.signal !== signal || chart.category !== category) return;
    // the reference of another version may have had most of another category: that is no point of this line
    const alike = (item) => item.value !== null && item.category === (figure.dataset.category ?? null);
    const fresh = (await answer.json()).items.reverse().filter(alike).map((item) => upright(item, figure));
    chart.points = [...chart.points, ...fresh].slice(-MOST_POINTS);
    if (beside && chart.points.length) {
      const real = await measured(model, beside, chart.points[0].row);
      if (real.ok) chart.beside = (await real.json()).items.reverse().filter((item) => item.value !== null).map((item) => upright(item, figure));
    }
    if (chart.plot && last !== undefined && drawnBeside === chart.beside.length > 0) {
      chart.plot.setData(columns(chart));
      say(chart)(chart.plot);
    } else build(chart);
  };

  const refresh = () => {
    for (const figure of document.querySelectorAll("figure.chart")) {
      let chart = drawn.get(figure.id);
      if (!chart || chart.figure !== figure) {
        chart?.plot?.destroy();
        chart = { figure, box: figure.querySelector(".plot"), readout: figure.querySelector(".readout"), points: [], beside: [] };
        drawn.set(figure.id, chart);
        new ResizeObserver(() => {
          const box = chart.box.getBoundingClientRect();
          if (chart.plot && box.width) chart.plot.setSize({ width: box.width, height: box.height });
        }).observe(chart.box);
      }
      const { signal, category, lastRow, besideRow, marks } = figure.dataset;
      if (chart.signal !== signal || chart.category !== category) Object.assign(chart, { signal, category, points: [], beside: [], lastRow: null });
      if (chart.lastRow !== lastRow || chart.besideRow !== besideRow) {
        Object.assign(chart, { lastRow, besideRow });
        load(chart).catch(() => { chart.lastRow = null; });
      } else if (chart.marks !== marks) chart.plot?.redraw();
      chart.marks = marks;
    }
  };

  document.addEventListener("htmx:after:swap", refresh);
  document.addEventListener("DOMContentLoaded", refresh);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach((chart) => chart.plot && build(chart)));
})();
