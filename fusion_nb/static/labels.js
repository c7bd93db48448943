// What ipywidgets leaves out for readers who use a keyboard or a screen reader: a name for the
// whole box, for the controls that have none and for the pictures; and Jupyter's own keys (arrows,
// a, b, d d, ...) do not act on a control that has the focus here.

const NAMES = {
  ".noUi-handle": "frame",
  ".widget-readout": "frame, as a number",
  ".widget-play button:nth-child(1)": "play or pause",
  ".widget-play button:nth-child(2)": "back to the first frame",
};

const nameParts = (box, model) => {
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", model.get("title"));
  for (const control of box.querySelectorAll("input, select, button, [tabindex], [contenteditable]")) {
    control.setAttribute("data-lm-suppress-shortcuts", "true"); // the control itself, not its box
  }
  for (const [selector, label] of Object.entries(NAMES)) {
    for (const control of box.querySelectorAll(selector)) {
      const said = control.closest(".widget-slider")?.querySelector(".widget-label")?.textContent;
      const own = selector === ".noUi-handle" && said?.toLowerCase(); // a slider may be another's
      if (!control.hasAttribute("aria-label")) control.setAttribute("aria-label", own || label);
    }
  }
  for (const status of box.querySelectorAll(".fnb-live")) status.setAttribute("role", "status");
  for (const card of box.querySelectorAll(".fnb-card")) {
    const [image, name] = [card.querySelector("img"), card.querySelector("b")];
    if (image && name) image.alt = name.textContent;
  }
};

const render = ({ model, el }) => {
  el.classList.add("fnb-labels");
  let stopped = false;
  const observer = new MutationObserver((changes) => {
    if (changes.some((change) => change.addedNodes.length)) nameParts(el.closest(".fnb"), model);
  });
  const start = () => {
    const box = el.closest(".fnb"); // Jupyter attaches the element after it is drawn
    if (!box && !stopped) return setTimeout(start, 50);
    if (stopped) return undefined;
    observer.observe(box, { childList: true, subtree: true });
    return nameParts(box, model);
  };
  start();
  return () => {
    stopped = true;
    observer.disconnect();
  };
};

export default { render };
