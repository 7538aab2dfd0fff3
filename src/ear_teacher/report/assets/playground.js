/* The playground: sends one picture, shows it through every model, and moves its code. */
const setup = JSON.parse(document.getElementById("playground-data").textContent);
const part = (name) => document.querySelector(`[data-${name}]`);
const viewer = new EarViewer(part("viewer"), setup.viewer);
viewer.data.labels.moved = "moved";
viewer.data.order.push("moved");
let square = null; // what the models saw
let waiting = false;
let again = false;

async function ask(address, picture) {
  const answer = await fetch(address, { method: "POST", headers: { "Content-Type": picture.type || "image/x-unknown" }, body: picture });
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(found.error || "The server did not answer; is it still running?");
  return found;
}

function unpacked(address) {
  const [head, body] = address.split(",");
  return new Blob([Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0))], { type: head.slice(5, head.indexOf(";")) });
}

async function take(file) {
  const alert = part("alert");
  alert.textContent = "";
  if (!file) return;
  if (file.size > setup.largest) {
    alert.textContent = `The picture is larger than ${setup.largest / 1e6} MB; choose a smaller one.`;
    return;
  }
  try {
    const found = await ask("reconstruct", file);
    square = unpacked(found.ear.pictures.original);
    viewer.data.ears = [found.ear];
    viewer.ear = null;
    part("result").hidden = false;
    viewer.filter();
    landmarks(found);
    if (part("move")) {
      part("move").hidden = false;
      sliders();
    }
  } catch (error) {
    alert.textContent = error.message;
  }
}

function landmarks(found) {
  if (!part("landmarks") || !found.landmarks) return;
  part("landmarks").hidden = false;
  part("landmarks-picture").src = found.ear.pictures.original;
  part("points").replaceChildren(...found.landmarks.map(([x, y], i) => {
    const point = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    point.setAttribute("cx", 100 * x);
    point.setAttribute("cy", 100 * y);
    point.setAttribute("r", 1.1);
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = setup.names[i];
    point.append(title);
    return point;
  }));
}

function sliders() {
  const count = setup.sliders[part("model").value];
  part("sliders").replaceChildren(...Array.from({ length: count }, (_, i) => {
    const label = document.createElement("label");
    const slider = Object.assign(document.createElement("input"), { type: "range", min: -setup.furthest, max: setup.furthest, step: 0.25, value: 0 });
    const shown = document.createElement("output");
    shown.textContent = "0";
    slider.addEventListener("input", () => {
      shown.textContent = slider.value.replace("-", "−");
      moved();
    });
    label.append(`direction ${i + 1}`, slider, shown);
    return label;
  }));
}

async function moved() {
  again = true;
  if (waiting || !square) return;
  waiting = true;
  try {
    while (again) { // the last position counts, those before may be passed over
      again = false;
      const steps = [...part("sliders").querySelectorAll("input")].map((slider) => slider.value).join(",");
      const found = await ask(`move/${encodeURIComponent(part("model").value)}?steps=${steps}`, square);
      viewer.ear.pictures.moved = found.picture;
      viewer.shown = "moved";
      viewer.show(viewer.ear);
    }
  } catch (error) {
    part("alert").textContent = error.message;
  }
  waiting = false;
}

part("file").addEventListener("change", (event) => take(event.target.files[0]));
const drop = part("drop");
for (const name of ["dragover", "dragleave", "drop"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop") take(event.dataTransfer.files[0]);
  });
}
if (part("move")) {
  const back = () => {
    sliders();
    if (!viewer.ear) return;
    delete viewer.ear.pictures.moved;
    viewer.shown = null;
    viewer.show(viewer.ear);
  };
  part("reset").addEventListener("click", back);
  part("model").addEventListener("change", back);
}
