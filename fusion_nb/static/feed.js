// Feeds the pictures of a clip's frames to ordinary Image widgets. Each JPEG comes once from Python,
// when it is first looked at. The question for what is wanted now and the question for the next few
// frames have a lane each, and a lane has one open question: a hasty slider does not flood the kernel.

const [KEPT, AHEAD, PATIENCE] = [4000, 8, 5000]; // pictures, frames, milliseconds

export default () => {
  const elements = new Set();

  const initialize = ({ model }) => {
    const find = (reference) =>
      model.widget_manager.get_model(reference.slice("IPY_MODEL_".length));
    const kept = new Map(); // "case|view|frame" -> JPEG
    const asked = { now: -Infinity, ahead: -Infinity }; // when the lane's open question was asked
    let [images, slider] = [{}, null];

    const key = (view, frame) => `${model.get("case")}|${view}|${frame}`;
    const ask = (frame, lane) => {
      // true if all pictures of the frame are here
      const views = model.get("views").filter((view) => !kept.has(key(view, frame)));
      if (views.length && performance.now() - asked[lane] > PATIENCE) {
        asked[lane] = performance.now();
        model.send({ case: model.get("case"), views, frame, lane });
      }
      return !views.length;
    };
    const show = () => {
      if (!slider) return;
      const [frame, views] = [slider.get("value"), model.get("views")];
      for (const view of views) {
        const picture = kept.get(key(view, frame));
        if (picture) images[view]?.set("value", picture);
      }
      if (!ask(frame, "now")) return;
      for (const el of elements) el.dataset.shown = `${model.get("case")} ${frame} ${views.length}`;
      for (let t = 1; t <= AHEAD; t++) {
        if (!ask((frame + t) % (slider.get("max") + 1), "ahead")) break;
      }
    };
    const take = (message, buffers) => {
      asked[message.lane] = -Infinity;
      message.keys.forEach((name, i) => kept.set(name, buffers[i]));
      for (const name of kept.keys()) {
        if (kept.size <= KEPT) break;
        kept.delete(name); // the oldest
      }
      show();
    };
    const load = async () => {
      if (!slider) {
        slider = await find(model.get("slider"));
        slider.on("change:value", show);
      }
      const entries = Object.entries(model.get("images"));
      const models = await Promise.all(entries.map(([, reference]) => find(reference)));
      images = Object.fromEntries(entries.map(([view], i) => [view, models[i]]));
      show();
    };

    model.on("msg:custom", take);
    model.on("change:images", load);
    model.on("change:views", show);
    model.on("change:case", show);
    load();
    return () => slider?.off("change:value", show);
  };

  const render = ({ el }) => {
    el.classList.add("fnb-feed");
    elements.add(el);
    return () => elements.delete(el);
  };

  return { initialize, render };
};
