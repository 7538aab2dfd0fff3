"use strict";
/* The viewer: one large picture, divided between original and reconstruction, and all of them small beside it. */
class EarViewer {
  constructor(root, data) {
    this.root = root;
    this.find = (name) => root.querySelector(`[data-${name}]`);
    Object.assign(this, { data, ears: [], ear: null, shown: null, split: 50, zoom: 1, at: [50, 50], mode: "slide", timer: 0 });
    this.still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.build();
    this.listen();
    this.filter();
  }

  build() {
    this.stage = this.find("stage");
    const over = this.find("over");
    const cut = document.createElement("div"); // clips the reconstruction, whatever its zoom
    cut.className = "cut";
    over.replaceWith(cut);
    cut.append(over);
    this.cut = cut;
    const ramp = this.data.inferno.map(([r, g, b], i) => {
      const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      bar.setAttribute("x", i * 10); bar.setAttribute("width", 10.5); bar.setAttribute("height", 10);
      bar.setAttribute("fill", `rgb(${r} ${g} ${b})`);
      return bar;
    });
    this.find("ramp").replaceChildren(...ramp);
    this.find("top").textContent = `${100 * this.data.errorTop} %`;
    const person = this.find("person");
    if (!person) return;
    const counts = new Map();
    for (const ear of this.data.ears) counts.set(ear.person, (counts.get(ear.person) || 0) + 1);
    for (const [name, count] of counts) {
      if (name) person.append(new Option(`${name} (${count})`, name));
    }
  }

  listen() {
    const { root, stage } = this;
    root.addEventListener("change", (event) => {
      if (event.target.name === "filter" || event.target === this.find("person")) this.filter();
      if (event.target.name === "mode") this.setMode(event.target.value);
      if (event.target === this.find("pixels")) root.classList.toggle("pixels", event.target.checked);
    });
    this.find("zoom").addEventListener("input", (event) => this.setZoom(Number(event.target.value)));
    const drag = (event) => {
      const box = stage.getBoundingClientRect();
      this.setSplit((100 * (event.clientX - box.left)) / box.width);
    };
    stage.addEventListener("pointerdown", (event) => {
      if (this.mode !== "slide" || event.button !== 0) return;
      event.preventDefault();
      stage.setPointerCapture(event.pointerId);
      drag(event);
      this.find("handle").focus({ preventScroll: true });
    });
    stage.addEventListener("pointermove", (event) => stage.hasPointerCapture(event.pointerId) && drag(event));
    root.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select")) return;
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const done = () => event.preventDefault();
    if (arrow && event.shiftKey) {
      done();
      return this.lookAt(this.at[0] + 5 * arrow[0], this.at[1] + 5 * arrow[1]);
    }
    if (event.target === this.find("handle")) {
      const step = arrow ? 2 * (arrow[0] - arrow[1]) : { PageUp: 20, PageDown: -20, Home: -100, End: 100 }[event.key];
      if (step) {
        done();
        return this.setSplit(this.split + step);
      }
    }
    const name = event.key.toLowerCase();
    const models = this.names();
    if (name === "n" || name === "p") this.move(name === "n" ? 1 : -1);
    else if (name === "s" || name === "e" || name === "b") this.setMode({ s: "slide", e: "error", b: "blink" }[name]);
    else if (name === "+" || name === "=") this.setZoom(this.zoom + 0.5);
    else if (name === "-") this.setZoom(this.zoom - 0.5);
    else if (models[Number(name) - 1]) this.choose(models[Number(name) - 1]);
    else if (name === " " && this.mode === "blink") this.blink();
    else return;
    done();
  }

  names() {
    return this.ear ? this.data.order.filter((name) => name in this.ear.pictures) : [];
  }

  filter() {
    const picked = this.root.querySelector("[name=filter]:checked");
    const kind = picked ? picked.value : "all";
    const person = this.find("person") ? this.find("person").value : "";
    const fits = { all: () => true, grey: (e) => e.grey, colour: (e) => !e.grey, worst: (e) => e.tag === "worst", best: (e) => e.tag === "best" };
    this.ears = this.data.ears.filter((ear) => fits[kind](ear) && (!person || ear.person === person));
    const order = (ear) => ear.quality.current ? ear.quality.current.psnr : 0;
    if (kind === "worst") this.ears.sort((a, b) => order(a) - order(b));
    if (kind === "best") this.ears.sort((a, b) => order(b) - order(a));
    if (this.find("count")) this.find("count").textContent = `${this.ears.length} of ${this.data.ears.length} ears${this.ears.length ? "" : ": choose another filter"}`;
    this.thumbs();
    if (this.ears.length) this.show(this.ears.includes(this.ear) ? this.ear : this.ears[0]);
  }

  thumbs() {
    const place = this.find("thumbs");
    if (!place) return;
    place.replaceChildren(...this.ears.map((ear) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "thumb";
      button.append(Object.assign(new Image(), { src: ear.pictures.original, alt: this.title(ear) }));
      button.addEventListener("click", () => this.show(ear));
      return button;
    }));
  }

  title(ear) {
    const extra = [ear.person && `person ${ear.person}`, ear.grey ? "greyscale" : "colour", ear.tag && `among the ${ear.tag}`];
    return `${ear.name}, ${extra.filter(Boolean).join(", ")}`;
  }

  show(ear) {
    this.ear = ear;
    const names = this.names();
    if (!names.includes(this.shown)) this.shown = names.includes("current") ? "current" : names[names.length - 1];
    const buttons = this.find("thumbs") ? [...this.find("thumbs").children] : [];
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(this.ears[i] === ear)));
    const chosen = buttons[this.ears.indexOf(ear)];
    if (chosen) {
      const strip = chosen.parentElement;
      if (chosen.offsetTop < strip.scrollTop || chosen.offsetTop + chosen.offsetHeight > strip.scrollTop + strip.clientHeight) strip.scrollTop = chosen.offsetTop - strip.offsetTop;
      if (strip.scrollWidth > strip.clientWidth) strip.scrollLeft = chosen.offsetLeft - strip.offsetLeft - strip.clientWidth / 2;
    }
    const held = document.activeElement.dataset.name;
    this.find("panes").replaceChildren(...["original", ...names].map((name) => this.pane(name)));
    if (held) this.find("panes").querySelector(`[data-name="${CSS.escape(held)}"]`)?.focus();
    this.draw();
  }

  pane(name) {
    const item = document.createElement("li");
    const fixed = name === "original";
    const box = document.createElement(fixed ? "div" : "button");
    box.className = fixed ? "pane fixed" : "pane";
    const view = document.createElement("span");
    view.className = "window";
    const image = Object.assign(new Image(), { src: this.ear.pictures[name], alt: "" });
    if (fixed) image.alt = `Original of ${this.ear.name}`;
    image.className = "zoomed";
    view.append(image);
    const label = document.createElement("strong");
    label.textContent = this.data.labels[name] || name;
    const words = document.createElement("small");
    words.textContent = fixed ? this.measures() : this.quality(name, ["", ""]).join(", ");
    box.append(view, label, words);
    if (!fixed) {
      box.type = "button";
      box.dataset.name = name;
      box.addEventListener("click", () => this.choose(name));
    }
    const look = (event) => {
      const place = view.getBoundingClientRect();
      this.lookAt((100 * (event.clientX - place.left)) / place.width, (100 * (event.clientY - place.top)) / place.height);
    };
    view.addEventListener("pointermove", look);
    view.addEventListener("pointerdown", look); // a tap does not move
    item.append(box);
    return item;
  }

  quality(name, words = ["PSNR ", "LPIPS "]) {
    const found = this.ear.quality[name] || {};
    const parts = [];
    if (typeof found.psnr === "number") parts.push(`${words[0]}${found.psnr.toFixed(1)} dB`);
    if (typeof found.lpips === "number") parts.push(`${words[1]}${found.lpips.toFixed(3)}`);
    return parts;
  }

  measures() {
    const found = Object.values(this.ear.quality);
    return found.some((one) => typeof one.lpips === "number") ? "PSNR, LPIPS:" : "PSNR:";
  }

  draw() {
    const { ear, shown, mode } = this;
    const label = this.data.labels[shown] || shown;
    const base = this.find("base");
    const over = this.find("over");
    clearInterval(this.timer);
    base.src = ear.pictures.original;
    base.alt = `Original: ${this.title(ear)}`;
    over.src = ear.pictures[shown];
    over.alt = [label, ...this.quality(shown)].join(", ");
    this.stage.dataset.mode = mode;
    this.find("error").hidden = this.find("scale").hidden = mode !== "error";
    this.cut.hidden = mode === "error";
    this.find("left").textContent = mode === "slide" ? "original" : "";
    this.find("right").textContent = mode === "error" ? `error of ${label}` : label;
    for (const button of this.find("panes").querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.dataset.name === shown));
    this.find("caption").textContent = `${this.title(ear)}. ${label}${this.quality(shown).length ? ": " : ""}${this.quality(shown).join(", ")}`;
    this.setSplit(this.split);
    if (mode === "error") this.errorMap();
    if (mode === "blink") {
      this.blinking = true;
      this.blink();
      if (!this.still) this.timer = setInterval(() => this.blink(), 700);
    }
  }

  blink() {
    this.blinking = !this.blinking;
    this.root.style.setProperty("--split", this.blinking ? "100%" : "0%");
    this.find("right").textContent = this.blinking ? "original" : this.data.labels[this.shown] || this.shown;
    if (this.still) this.find("caption").textContent = "Reduced motion is on: the space bar changes the picture.";
  }

  async errorMap() {
    const { ear, shown, data } = this;
    const pixels = async (address) => {
      const image = Object.assign(new Image(), { src: address });
      await image.decode();
      const canvas = Object.assign(document.createElement("canvas"), { width: image.naturalWidth, height: image.naturalHeight });
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      return context.getImageData(0, 0, canvas.width, canvas.height);
    };
    const [a, b] = await Promise.all([pixels(ear.pictures.original), pixels(ear.pictures[shown])]);
    if (ear !== this.ear || shown !== this.shown) return; // another picture was chosen meanwhile
    const map = new ImageData(a.width, a.height);
    for (let i = 0; i < a.data.length; i += 4) {
      let error = 0;
      for (let c = 0; c < 3; c += 1) error += Math.abs(a.data[i + c] - b.data[i + c]) / 765;
      const place = Math.min(error / data.errorTop, 1) * (data.inferno.length - 1);
      const low = Math.min(Math.floor(place), data.inferno.length - 2);
      for (let c = 0; c < 3; c += 1) {
        map.data[i + c] = Math.round(data.inferno[low][c] + (place - low) * (data.inferno[low + 1][c] - data.inferno[low][c]));
      }
      map.data[i + 3] = 255;
    }
    const canvas = this.find("error");
    canvas.width = a.width;
    canvas.height = a.height;
    canvas.getContext("2d").putImageData(map, 0, 0);
    canvas.setAttribute("aria-label", `Error map of ${data.labels[shown] || shown}`);
  }

  setSplit(percent) {
    this.split = Math.min(100, Math.max(0, percent));
    if (this.mode === "slide") this.root.style.setProperty("--split", `${this.split}%`);
    const handle = this.find("handle");
    handle.setAttribute("aria-valuenow", String(Math.round(this.split)));
    handle.setAttribute("aria-valuetext", `original on ${Math.round(this.split)} % of the width`);
  }

  setZoom(zoom) {
    this.zoom = Math.min(6, Math.max(1, zoom));
    this.root.style.setProperty("--zoom", String(this.zoom));
    this.find("zoom").value = String(this.zoom);
    this.find("zoomed").textContent = `${this.zoom}×`;
  }

  lookAt(x, y) {
    this.at = [x, y].map((value) => Math.min(100, Math.max(0, value)));
    this.root.style.setProperty("--fx", `${this.at[0]}%`);
    this.root.style.setProperty("--fy", `${this.at[1]}%`);
  }

  setMode(mode) {
    const picked = this.root.querySelector(`[name=mode][value=${mode}]`);
    this.mode = mode;
    picked.checked = true;
    if (document.activeElement === this.find("handle")) picked.focus(); // the divider goes; the keyboard stays here
    this.draw();
  }

  choose(name) {
    this.shown = name;
    this.draw();
  }

  move(step) {
    if (this.ears.length) this.show(this.ears[(this.ears.indexOf(this.ear) + step + this.ears.length) % this.ears.length]);
  }
}
