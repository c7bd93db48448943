// Curves over the frames. A click or a drag picks the frame under the pointer, keys move it; for a
// screen reader all curves together are one slider, which speaks the frame and its values.

const HEIGHT = 120;
const AREA = { left: 40, right: 8, top: 6, height: 94 };
const KEYS = {
  ArrowLeft: -1,
  ArrowDown: -1,
  ArrowRight: 1,
  ArrowUp: 1,
  PageDown: -10,
  PageUp: 10,
  Home: -Infinity,
  End: Infinity,
};

const xOf = (t, frames, width) =>
  AREA.left + (t / Math.max(frames - 1, 1)) * (width - AREA.left - AREA.right);

const roundNumbers = (low, high, smallest) => {
  // three to six of them from low to high
  const rough = Math.max((high - low) / 4, smallest);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= rough * 0.999);
  const numbers = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) {
    numbers.push(Number((i * step).toPrecision(9)));
  }
  return numbers;
};

const drawChart = (curve, frames, width) => {
  const x = (t) => xOf(t, frames, width).toFixed(1);
  const y = (value) => {
    const part = (curve.high - value) / (curve.high - curve.low);
    return Math.max(AREA.top + part * AREA.height, 1).toFixed(1);
  };
  const grid = roundNumbers(curve.low, curve.high, 1e-6).map(
    (value) => `<line x1="${AREA.left}" x2="${width - AREA.right}" y1="${y(value)}" y2="${y(value)}"/>
      <text x="${AREA.left - 6}" y="${Number(y(value)) + 4}" text-anchor="end">${value}</text>`,
  );
  const numbers = roundNumbers(0, frames - 1, 1).map(
    (t) => `<text x="${x(t)}" y="${AREA.top + AREA.height + 16}" text-anchor="middle">${t}</text>`,
  );
  const lines = curve.lines.map((line) => {
    const points = line.values.map((value, t) => `${x(t)},${y(value)}`).join(" ");
    return `<polyline style="stroke: ${line.color}" points="${points}"/>`;
  });
  const parts = [...grid, ...numbers, ...lines.reverse()].join("");
  return `<svg width="${width}" height="${HEIGHT}" aria-hidden="true">${parts}</svg>`;
};

const addPanel = (el, curve) => {
  const panel = document.createElement("div");
  panel.innerHTML = `<div class="legend"><b></b></div><div class="chart"><i></i></div>`;
  const [legend, chart] = panel.children;
  legend.firstChild.textContent = curve.title;
  const values = curve.lines.map((line) => {
    const value = document.createElement("span");
    value.className = "dot";
    value.style.setProperty("--pen", line.color);
    legend.append(value);
    return value;
  });
  el.append(panel);
  return { curve, values, chart, cursor: chart.firstChild, width: 0 };
};

const render = async ({ model, el }) => {
  const reference = model.get("slider").slice("IPY_MODEL_".length);
  const slider = await model.widget_manager.get_model(reference);
  const frameCount = () => slider.get("max") + 1;
  let panels = [];
  el.classList.add("fnb-curves");
  el.setAttribute("data-lm-suppress-shortcuts", "true");
  el.setAttribute("tabindex", "0");
  el.setAttribute("role", "slider");
  el.setAttribute("aria-label", "frame, by its curves");
  el.setAttribute("aria-valuemin", "0");

  const move = () => {
    const [frame, frames] = [slider.get("value"), frameCount()];
    for (const { curve, values, cursor, width } of panels) {
      cursor.style.left = `${xOf(frame, frames, width)}px`;
      curve.lines.forEach((line, i) => {
        values[i].textContent = `${line.name} ${line.values[frame]?.toFixed(curve.digits)}`;
      });
    }
    const spoken = panels.map(({ curve, values }) => `${curve.title}: ${values[0].textContent}`);
    el.setAttribute("aria-valuemax", frames - 1);
    el.setAttribute("aria-valuenow", frame);
    el.setAttribute("aria-valuetext", [`frame ${frame}`, ...spoken].join(", "));
  };
  const fit = () => {
    // draws the charts that have a new width
    for (const panel of panels.filter((one) => one.chart.clientWidth !== one.width)) {
      panel.width = panel.chart.clientWidth;
      panel.chart.querySelector("svg")?.remove();
      panel.chart.insertAdjacentHTML(
        "afterbegin",
        drawChart(panel.curve, frameCount(), panel.width),
      );
    }
    move();
  };
  const show = () => {
    el.replaceChildren();
    panels = model.get("curves").map((curve) => addPanel(el, curve));
    fit();
  };
  const pick = (frame) => {
    slider.set("value", Math.min(Math.max(Math.round(frame), 0), slider.get("max")));
    slider.save_changes();
  };
  const press = (event) => {
    if (!(event.buttons & 1)) return;
    const box = event.target.closest(".chart")?.getBoundingClientRect();
    if (!box) return;
    const part = (event.clientX - box.left - AREA.left) / (box.width - AREA.left - AREA.right);
    pick(part * slider.get("max"));
  };

  for (const kind of ["pointerdown", "pointermove"]) el.addEventListener(kind, press);
  el.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS)) return;
    event.preventDefault();
    pick(slider.get("value") + KEYS[event.key]);
  });
  const observer = new ResizeObserver(fit);
  observer.observe(el);
  model.on("change:curves", show);
  slider.on("change:value", move);
  show();
  return () => {
    observer.disconnect();
    model.off("change:curves", show);
    slider.off("change:value", move);
  };
};

export default { render };
