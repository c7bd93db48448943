// A picture with a ring around one pixel. Where it is active, a click, a drag or an arrow key moves
// the ring.

const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const render = ({ model, el }) => {
  el.classList.add("fnb-point");
  el.setAttribute("data-lm-suppress-shortcuts", "true");
  el.innerHTML = `<img draggable="false"><i></i>`;
  const [image, ring] = el.children;
  let url;

  const place = () => {
    const [[x, y], [height, width]] = [model.get("point"), model.get("size")];
    ring.style.left = `${((x + 0.5) / width) * 100}%`;
    ring.style.top = `${((y + 0.5) / height) * 100}%`;
  };
  const show = () => {
    const old = url;
    url = URL.createObjectURL(new Blob([model.get("picture")]));
    image.src = url;
    image.alt = model.get("label");
    if (old) URL.revokeObjectURL(old);
  };
  const go = (point) => {
    const size = model.get("size");
    const inside = point.map((v, i) => Math.min(Math.max(Math.floor(v), 0), size[1 - i] - 1));
    model.set("point", inside);
    model.save_changes();
  };
  const press = (event) => {
    if (!(event.buttons & 1)) return;
    const box = image.getBoundingClientRect();
    const [height, width] = model.get("size");
    go([
      ((event.clientX - box.left) / box.width) * width,
      ((event.clientY - box.top) / box.height) * height,
    ]);
  };

  if (model.get("active")) {
    el.classList.add("active");
    el.setAttribute("tabindex", "0");
    el.setAttribute("role", "application");
    el.setAttribute("aria-label", `${model.get("label")}: click, or move with the arrow keys`);
    for (const kind of ["pointerdown", "pointermove"]) el.addEventListener(kind, press);
    el.addEventListener("keydown", (event) => {
      if (!(event.key in KEYS)) return;
      event.preventDefault();
      const step = Math.ceil(model.get("size")[1] / 48);
      go(model.get("point").map((v, i) => v + step * KEYS[event.key][i]));
    });
  }
  model.on("change:picture", show);
  model.on("change:point", place);
  show();
  place();
  return () => {
    model.off("change:picture", show);
    model.off("change:point", place);
    URL.revokeObjectURL(url);
  };
};

export default { render };
