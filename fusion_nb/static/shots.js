// The shots of a film as thumbnails, one page of them at a time. Each is a button; a red one misses
// an exemplar.

const render = ({ model, el }) => {
  el.classList.add("fnb-shots");
  let urls = [];

  const button = (text, label, action) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.setAttribute("aria-label", label);
    made.addEventListener("click", action);
    return made;
  };
  const turn = (step) => {
    model.set("page", Math.min(Math.max(model.get("page") + step, 0), model.get("pages") - 1));
    model.save_changes();
  };
  const mark = () => {
    const frame = model.get("frame");
    model.get("shots").forEach(({ start, end }, i) => {
      const card = el.querySelectorAll(".shot")[i];
      if (card) card.setAttribute("aria-current", start <= frame && frame < end);
    });
  };
  const show = () => {
    const old = urls;
    const pictures = model.get("pictures");
    urls = pictures.map((bytes) => URL.createObjectURL(new Blob([bytes])));
    const cards = model.get("shots").map(({ start, title, note, missing }, i) => {
      const card = button("", `${title}, ${note}`, () => model.send({ frame: start }));
      card.className = missing ? "shot missing" : "shot";
      const image = document.createElement("img");
      image.alt = "";
      if (urls[i]) image.src = urls[i];
      const [first, second] = [title, note].map((text) => {
        const span = document.createElement("span");
        span.textContent = text;
        return span;
      });
      card.append(image, first, second);
      return card;
    });
    const [page, pages] = [model.get("page"), model.get("pages")];
    const previous = button("‹", "earlier shots", () => turn(-1));
    const next = button("›", "later shots", () => turn(1));
    [previous.disabled, next.disabled] = [page <= 0, page >= pages - 1];
    el.replaceChildren(...(pages > 1 ? [previous, ...cards, next] : cards));
    old.forEach(URL.revokeObjectURL);
    mark();
  };

  model.on("change:shots", show);
  model.on("change:pictures", show);
  model.on("change:frame", mark);
  show();
  return () => {
    model.off("change:shots", show);
    model.off("change:pictures", show);
    model.off("change:frame", mark);
    urls.forEach(URL.revokeObjectURL);
  };
};

export default { render };
