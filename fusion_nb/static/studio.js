// A picture to paint on. A drag draws a stroke, or erases what it touches; two fingers move and
// zoom. With the keyboard: the arrows move a cross, space sets the brush down and lifts it, E is the
// eraser, [ and ] change the brush, + - 0 zoom, Ctrl-Z and Ctrl-Y go back and forth.

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const inside = (v) => Math.min(Math.max(v, 0), 0.999);

// How far a point is from the nearest piece of a line; all in widths of the picture.
const distance = ([x, y], line) =>
  Math.min(
    ...[line[0], ...line].slice(1).map(([bx, by], i) => {
      const [ax, ay] = line[Math.max(i - 1, 0)];
      const [dx, dy] = [bx - ax, by - ay];
      const t = inside(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1));
      return Math.hypot(x - ax - t * dx, y - ay - t * dy);
    }),
  );

const render = ({ model, el }) => {
  el.classList.add("fnb-studio");
  el.innerHTML = `<div class="scroll"><canvas tabindex="0" role="application"
      data-lm-suppress-shortcuts="true"
      aria-label="frame: drag to paint, or arrow keys and space"></canvas></div>
    <div class="zoom" role="group" aria-label="zoom">
      <button type="button" aria-label="zoom out">−</button>
      <button type="button" aria-label="whole frame">100 %</button>
      <button type="button" aria-label="zoom in">+</button>
      <span>keys: arrows and space paint, E erases, [ ] brush, Ctrl-Z undoes</span></div>`;
  const buttons = el.querySelectorAll("button");
  const scroll = el.querySelector(".scroll");
  const canvas = el.querySelector("canvas");
  const context = canvas.getContext("2d");
  const image = document.createElement("img");
  const fingers = new Map();
  let url;
  let line = null; // the stroke that is being drawn
  let sent = null; // the last one, until it is coloured
  let cross = null; // where the keyboard is
  let brush = null; // where the mouse is
  let zoom = 1;

  const trace = (points, color, width) => {
    context.strokeStyle = color;
    context.lineWidth = Math.max(width * canvas.width, 2);
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    [points[0], ...points].forEach(([x, y], i) => {
      context[i ? "lineTo" : "moveTo"](x * canvas.width, y * canvas.height);
    });
    context.stroke();
  };
  const ring = ([x, y], width) => {
    context.beginPath();
    context.arc(x * canvas.width, y * canvas.height, (width * canvas.width) / 2, 0, 7);
    [context.strokeStyle, context.lineWidth] = ["#fff", 1];
    context.stroke();
  };
  const draw = () => {
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    const erasing = model.get("erasing");
    for (const stroke of erasing ? model.get("strokes") : []) {
      trace(stroke.points, "#fff", stroke.width + 0.008);
      trace(stroke.points, stroke.color, stroke.width);
    }
    if (sent) trace(sent.points, sent.color, sent.width);
    if (line) trace(line, erasing ? "#ffffffa0" : model.get("color"), model.get("width"));
    if (brush && !line) ring(brush, model.get("width"));
    if (!cross) return;
    const [x, y, d] = [...cross, 0.02];
    [
      [[x - d, y], [x + d, y]],
      [[x, y - d], [x, y + d]],
    ].forEach((points) => trace(points, "#fff", 0));
  };
  const show = () => {
    const old = url;
    url = URL.createObjectURL(new Blob([model.get("picture")]));
    image.onload = () => {
      [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
      canvas.dataset.shown = Number(canvas.dataset.shown || 0) + 1;
      sent = null;
      draw();
      if (old) URL.revokeObjectURL(old);
    };
    image.src = url;
  };
  const enlarge = (value, x = scroll.clientWidth / 2, y = scroll.clientHeight / 2) => {
    const before = zoom;
    zoom = Math.min(Math.max(value, 1), 8);
    const [left, top] = [scroll.scrollLeft + x, scroll.scrollTop + y];
    scroll.style.height = zoom > 1 ? `${scroll.clientHeight}px` : "";
    canvas.style.width = `${100 * zoom}%`;
    scroll.scrollTo((left * zoom) / before - x, (top * zoom) / before - y);
    buttons[1].textContent = `${Math.round(100 * zoom)} %`;
  };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [
      inside((event.clientX - box.left) / box.width),
      inside((event.clientY - box.top) / box.height),
    ];
  };
  const set = (values) => {
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    model.save_changes();
  };
  const touched = (stroke, path, radius) => {
    const flat = ([x, y]) => [x, (y * canvas.height) / canvas.width];
    const points = stroke.points.map(flat);
    return path.some((point) => distance(flat(point), points) < radius + stroke.width / 2);
  };
  const finish = () => {
    if (!line) return;
    const [path, width, strokes] = [line, model.get("width"), model.get("strokes")];
    line = null;
    if (model.get("erasing")) {
      const left = strokes.filter((stroke) => !touched(stroke, path, width / 2));
      if (left.length < strokes.length) set({ strokes: left });
    } else {
      sent = { points: path, color: model.get("color"), width };
      set({ strokes: [...strokes, sent] });
    }
    draw();
  };
  const pinch = (event) => {
    const span = () => {
      const [a, b] = [...fingers.values()];
      return [(a.x + b.x) / 2, (a.y + b.y) / 2, Math.hypot(a.x - b.x, a.y - b.y)];
    };
    const [x, y, wide] = span();
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const [nextX, nextY, nextWide] = span();
    const box = scroll.getBoundingClientRect();
    scroll.scrollBy(x - nextX, y - nextY);
    enlarge((zoom * nextWide) / (wide || 1), nextX - box.left, nextY - box.top);
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    [line, cross] = [fingers.size > 1 ? null : [place(event)], null];
    draw();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (fingers.size > 1 && fingers.has(event.pointerId)) pinch(event);
    brush = event.pointerType === "mouse" ? place(event) : null;
    if (line && event.buttons & 1) line.push(place(event));
    draw();
  });
  canvas.addEventListener("pointerleave", () => {
    brush = null;
    draw();
  });
  const lift = (event) => {
    fingers.delete(event.pointerId);
    finish();
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    const box = scroll.getBoundingClientRect();
    enlarge(zoom * (event.deltaY < 0 ? 1.25 : 0.8), event.clientX - box.left, event.clientY - box.top);
    event.preventDefault();
  });
  const resize = (factor) => set({ width: Math.min(Math.max(model.get("width") * factor, 0.004), 0.06) });
  const actions = {
    "+": () => enlarge(zoom * 1.5),
    "=": () => enlarge(zoom * 1.5),
    "-": () => enlarge(zoom / 1.5),
    0: () => enlarge(1),
    e: () => set({ erasing: !model.get("erasing") }),
    "[": () => resize(0.8),
    "]": () => resize(1.25),
    Escape: () => [line, cross] = [null, null],
    " ": () => {
      cross = cross || [0.5, 0.5];
      if (line) finish();
      else line = [cross];
    },
  };
  canvas.addEventListener("keydown", (event) => {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const move = MOVES[key];
    if (event.ctrlKey || event.metaKey) {
      if (key !== "z" && key !== "y") return;
      model.send({ do: key === "y" || event.shiftKey ? "redo" : "undo" });
    } else if (move) {
      cross = (cross || [0.5, 0.5]).map((v, i) => inside(v + move[i] / 48));
      if (line) line.push(cross);
    } else if (actions[key]) actions[key]();
    else return;
    event.preventDefault();
    event.stopPropagation();
    draw();
  });
  [() => enlarge(zoom / 1.5), () => enlarge(1), () => enlarge(zoom * 1.5)].forEach((action, i) => {
    buttons[i].addEventListener("click", action);
  });
  model.on("change:picture", show);
  model.on("change:erasing", draw);
  show();
  return () => {
    model.off("change:picture", show);
    model.off("change:erasing", draw);
    URL.revokeObjectURL(url);
  };
};

export default { render };
