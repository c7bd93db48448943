// A picture to paint on. A drag draws a stroke; with the keyboard the arrows move a cross, space
// sets the brush down and lifts it, and Ctrl-Z takes the last stroke away.

const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const render = ({ model, el }) => {
  el.classList.add("fnb-studio");
  el.setAttribute("data-lm-suppress-shortcuts", "true");
  const canvas = document.createElement("canvas");
  canvas.setAttribute("tabindex", "0");
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", "frame: drag to paint, or arrow keys and space");
  canvas.style.cssText = "width: 100%; max-width: 720px; touch-action: none; cursor: crosshair; display: block";
  el.append(canvas);
  const context = canvas.getContext("2d");
  const image = document.createElement("img");
  let url;
  let line = null; // the stroke that is being drawn
  let cross = null; // where the keyboard is

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
  const draw = () => {
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    if (line) trace(line, model.get("color"), model.get("width"));
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
      draw();
      if (old) URL.revokeObjectURL(old);
    };
    image.src = url;
  };
  const inside = (v) => Math.min(Math.max(v, 0), 0.999);
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [
      inside((event.clientX - box.left) / box.width),
      inside((event.clientY - box.top) / box.height),
    ];
  };
  const set = (strokes) => {
    model.set("strokes", strokes);
    model.save_changes();
  };
  const finish = () => {
    if (!line) return;
    const stroke = { points: line, color: model.get("color"), width: model.get("width") };
    line = null;
    set([...model.get("strokes"), stroke]);
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    [line, cross] = [[place(event)], null];
    draw();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!line || !(event.buttons & 1)) return;
    line.push(place(event));
    draw();
  });
  canvas.addEventListener("pointerup", finish);
  canvas.addEventListener("pointercancel", finish);
  canvas.addEventListener("keydown", (event) => {
    const move = KEYS[event.key];
    if (move) {
      cross = (cross || [0.5, 0.5]).map((v, i) => inside(v + move[i] / 48));
      if (line) line.push(cross);
    } else if (event.key === " ") {
      cross = cross || [0.5, 0.5];
      if (line) finish();
      else line = [cross];
    } else if (event.key === "z" && (event.ctrlKey || event.metaKey)) {
      set(model.get("strokes").slice(0, -1));
    } else return;
    event.preventDefault();
    draw();
  });
  model.on("change:picture", show);
  show();
  return () => {
    model.off("change:picture", show);
    URL.revokeObjectURL(url);
  };
};

export default { render };
