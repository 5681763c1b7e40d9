// The training images, each with a frame around what is used of it. A frame is dragged along the
// side that is cut, or moved with the arrow keys; Auto puts it back where there is most detail.
const list = element.querySelector(".crops");
const AUTO = -1, STEPS = { ArrowLeft: -0.02, ArrowUp: -0.02, ArrowRight: 0.02, ArrowDown: 0.02, PageUp: -0.2, PageDown: 0.2, Home: -1, End: 1 };
let positions = [];

function tag(name, className, parent) {
  const node = document.createElement(name);
  node.className = className;
  parent.append(node);
  return node;
}

function tell() {
  trigger("select", { value: Array.from(positions, (position) => position ?? AUTO) });
}

function show(crop) {
  const entry = tag("li", "crop", list);
  const image = tag("img", "", entry);
  image.src = crop.image;
  image.alt = crop.name;
  image.draggable = false;
  const frame = tag("div", "crop-frame", entry);
  const across = crop.width <= crop.height;
  const [start, length] = across ? [crop.left, crop.width] : [crop.top, crop.height];
  const room = 1 - length;
  Object.assign(frame.style, { width: `${100 * crop.width}%`, height: `${100 * crop.height}%` });
  if (room < 0.005) return;

  frame.role = "slider";
  frame.tabIndex = 0;
  frame.ariaLabel = `Crop of ${crop.name}`;
  frame.ariaOrientation = across ? "horizontal" : "vertical";
  frame.ariaValueMin = 0;
  frame.ariaValueMax = 100;
  const auto = tag("button", "crop-auto", entry);
  auto.type = "button";
  auto.textContent = "Auto";
  auto.ariaLabel = `Crop ${crop.name} automatically`;

  let at = 0;
  function put(position) {
    positions[crop.index] = position;
    at = position === AUTO ? start / room : position;
    frame.style[across ? "left" : "top"] = `${100 * at * room}%`;
    frame.ariaValueNow = Math.round(100 * at);
    auto.hidden = position === AUTO;
  }
  const move = (position) => put(Number(Math.min(1, Math.max(0, position)).toFixed(3)));

  let held = null;
  frame.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    held = { at, from: across ? event.clientX : event.clientY };
    frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointermove", (event) => {
    if (!held) return;
    const far = (across ? event.clientX : event.clientY) - held.from;
    move(held.at + far / (room * (across ? image.clientWidth : image.clientHeight)));
  });
  frame.addEventListener("lostpointercapture", () => {
    if (held && held.at !== at) tell();
    held = null;
  });
  frame.addEventListener("keydown", (event) => {
    if (!(event.key in STEPS)) return;
    event.preventDefault();
    move(at + STEPS[event.key]);
    tell();
  });
  auto.addEventListener("click", () => {
    put(AUTO);
    frame.focus();
    tell();
  });
  put(AUTO);
}

function draw() {
  positions = [];
  list.replaceChildren();
  for (const crop of props.value?.crops ?? []) show(crop);
}
watch("value", draw);
draw();
