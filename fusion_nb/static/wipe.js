// Two pictures of one size, the left one cut off at a divider. An ordinary slider lies, unseen,
// over both: mouse, touch and arrow keys work, and a screen reader knows what it is.

const render = ({ model, el }) => {
  el.classList.add("fnb", "fnb-wipe");
  el.innerHTML = `<img><img class="over"><i></i><span></span><span></span>
    <input type="range" min="0" max="100" aria-label="wipe position" data-lm-suppress-shortcuts="true">`;
  const images = [...el.querySelectorAll("img")].reverse(); // the left picture is the upper one
  const tags = el.querySelectorAll("span");
  const slider = el.querySelector("input");
  let urls = [];

  const place = () => {
    const position = model.get("position");
    slider.value = position;
    slider.setAttribute("aria-valuetext", `${position} % ${model.get("names")[0]}`);
    el.style.setProperty("--at", `${position}%`);
  };
  const show = () => {
    const names = model.get("names");
    const old = urls;
    urls = model.get("pictures").map((bytes) => URL.createObjectURL(new Blob([bytes])));
    el.setAttribute("role", "group");
    el.setAttribute("aria-label", `wipe between ${names.join(" and ")}`);
    images.forEach((image, i) => {
      tags[i].textContent = image.alt = names[i];
      if (urls[i]) image.src = urls[i];
    });
    old.forEach(URL.revokeObjectURL);
    place();
  };

  slider.addEventListener("input", () => {
    model.set("position", Number(slider.value));
    model.save_changes();
    place();
  });
  model.on("change:pictures", show);
  model.on("change:position", place);
  show();
  return () => {
    model.off("change:pictures", show);
    model.off("change:position", place);
    urls.forEach(URL.revokeObjectURL);
  };
};

export default { render };
