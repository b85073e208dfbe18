// <lbdl-drag>: a figure whose named parts follow handles. It is an explorer whose states are computed, not carried.
// The script of a topic adds { handles, scene } and its mathematics to `lbdlDrag`, then wakes the elements.
globalThis.lbdlDrag ??= {
  // The nearest step within the bounds, without the dust of floating point.
  snap: (value, [low, high], step) => Number(Math.min(high, Math.max(low, Math.round(value / step) * step)).toFixed(6)) + 0,
  power: value => value.toExponential(1).replace(/e([+-])(\d)$/, "e$10$2"), // as the library writes it: 2.6e-07
  wake: () => document.querySelectorAll("lbdl-drag").forEach(element => element.begin?.()),
};

customElements.get("lbdl-drag") || customElements.define("lbdl-drag", class extends customElements.get("lbdl-explore") {
  begin() {
    const setup = this.querySelector("script"), topic = lbdlDrag[this.dataset.topic];
    if (this.shadowRoot || !setup || !topic) return;
    const { alt, caption, controls, start, given, axes, parts } = JSON.parse(setup.textContent);
    Object.assign(this, { topic, given, axes, parts, state: { ...start }, marks: {} });
    const root = this.attachShadow({ mode: "open" });
    root.innerHTML = `<style>/* STYLE */</style><figure><div class="controls"></div><div class="picture" role="group">
      <div class="stage"></div></div><p class="sentence" aria-live="polite"></p><figcaption></figcaption><button type="button"></button></figure>`;
    root.querySelector(".picture").setAttribute("aria-label", alt);
    root.querySelector("figcaption").textContent = caption;
    this.stage = root.querySelector(".stage");
    this.svg = this.stage.appendChild(this.querySelector("svg"));
    for (const name of ["role", "aria-label"]) this.svg.removeAttribute(name);
    this.svg.setAttribute("aria-hidden", "true");
    this.sentence = root.querySelector(".sentence");
    this.sentence.textContent = this.querySelector("p").textContent;
    this.inputs = controls.map(control => Object.assign(
      this.control(control, root.querySelector(".controls")), { keyword: control.keyword, values: control.values }));
    this.number = [...document.querySelectorAll("lbdl-drag")].indexOf(this) + 1;
    this.handles = topic.handles(given).map(handle => this.handle(handle));
    this.keep(root.querySelector("figure"), root.querySelector("button"));
    this.replaceChildren();
    const { width, height } = this.svg.viewBox.baseVal;
    root.querySelector("figure").classList.toggle("tall", height > 0.6 * width);
    this.draw();
    this.restore();
    addEventListener("hashchange", () => this.restore());
  }

  // A handle of a topic: `label`; `at(state)`, its place; `to(state, place)`, what of the state a new place changes;
  // `say(state)` in words; `step` of an arrow key; `now(state)` and `range`, numbers for a screen reader; and `along(state)`,
  // the direction of one that moves on a line.
  handle(handle) {
    const element = this.stage.appendChild(document.createElement("div"));
    element.className = "handle";
    const [low, high] = handle.range;
    const attributes = { role: "slider", tabindex: 0, "aria-label": handle.label, "aria-valuemin": low, "aria-valuemax": high };
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.addEventListener("pointerdown", event => this.take(event));
    element.addEventListener("pointermove", event => {
      if (!element.hasPointerCapture(event.pointerId)) return;
      const [x, y] = this.under(event);
      this.bring(handle, [x + this.held[0], y + this.held[1]]);
    });
    element.addEventListener("keydown", event => this.key(event, handle));
    return { ...handle, element };
  }

  take(event) { // of handles that lie on each other, the nearest
    const far = ({ element }) => {
      const { x, y, width, height } = element.getBoundingClientRect();
      return Math.hypot(event.clientX - x - width / 2, event.clientY - y - height / 2);
    };
    const { element, at } = this.handles.reduce((best, each) => far(each) < far(best) ? each : best);
    const [x, y] = this.under(event), place = at(this.state);
    this.held = [place[0] - x, place[1] - y];
    event.preventDefault();
    element.focus({ preventScroll: true });
    element.setPointerCapture(event.pointerId);
  }

  key(event, handle) {
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] }[event.key];
    const end = { Home: -1e3, End: 1e3 }[event.key];
    if (!arrow && !end) return;
    event.preventDefault();
    const [x, y] = handle.at(this.state), steps = handle.step * (event.shiftKey ? 5 : 1);
    const line = handle.along?.(this.state) ?? (end ? [1, 0] : undefined), forth = end ?? steps * (arrow[0] + arrow[1]);
    const [dx, dy] = line ? line.map(d => d * forth) : arrow.map(d => d * steps);
    this.bring(handle, [x + dx, y + dy]);
  }

  bring(handle, place) {
    Object.assign(this.state, handle.to(this.state, place));
    this.request();
    this.note();
  }

  values() {
    return { ...this.state, ...Object.fromEntries(this.inputs.map(input => [input.keyword, input.values[input.value]])) };
  }

  draw() {
    const { moves, texts = {}, sentence } = this.topic.scene(this.values(), this.given);
    for (const [name, points] of Object.entries(moves)) this.move(name, points);
    for (const [name, text] of Object.entries(texts)) this.write(name, ...text);
    for (const handle of this.handles) this.place(handle);
    this.say(sentence);
    this.dataset.state = this.address();
  }

  say(sentence) { // at most four times a second, and at last the newest
    this.newest = sentence;
    this.speaking ??= setTimeout(() => {
      this.speaking = undefined;
      this.sentence.textContent = this.newest;
    }, 250);
  }

  place({ element, at, now, say }) {
    const { width, height } = this.svg.viewBox.baseVal, [x, y] = this.spot(0, at(this.state));
    Object.assign(element.style, { left: `${100 * x / width}%`, top: `${100 * y / height}%` });
    element.setAttribute("aria-valuenow", now(this.state));
    element.setAttribute("aria-valuetext", say(this.state));
  }

  // Places: from the numbers on the axes to the picture, and back from the pointer (handles stand in the first axes).
  spot(number, place) {
    const { width, height } = this.svg.viewBox.baseVal, { box: [left, low, right, high], x, y } = this.axes[number];
    const part = ([from, to, log], value) =>
      log ? Math.log(Math.max(value, from * 1e-3) / from) / Math.log(to / from) : (value - from) / (to - from);
    const inside = value => Math.max(-1e4, Math.min(1e4, value));
    return [
      inside(width * (left + (right - left) * part(x, place[0]))),
      inside(height * (1 - low - (high - low) * part(y, place[1]))),
    ];
  }

  under(event) {
    const rectangle = this.svg.getBoundingClientRect(), { box: [left, low, right, high], x, y } = this.axes[0];
    const across = ((event.clientX - rectangle.x) / rectangle.width - left) / (right - left);
    const up = (1 - (event.clientY - rectangle.y) / rectangle.height - low) / (high - low);
    return [x[0] + across * (x[1] - x[0]), y[0] + up * (y[1] - y[0])];
  }

  part(name) {
    return this.svg.querySelector(`[data-moves="${name}"]`);
  }

  move(name, points) { // the line, the outline or the markers that the library drew, elsewhere
    const spots = points.map(point => this.spot(this.parts[name], point).map(v => v.toFixed(1)));
    const { path, mark } = this.marks[name] ??= this.first(name);
    if (path) path.setAttribute("d", spots.length ? `M${spots.join("L")}${path.closed ? "Z" : ""}` : "");
    mark?.place.replaceChildren(...spots.map(([x, y]) => {
      const copy = mark.use.cloneNode();
      copy.setAttribute("x", x);
      copy.setAttribute("y", y);
      return copy;
    }));
  }

  first(name) {
    const path = [...this.part(name).querySelectorAll("path")].find(each => !each.closest("defs"));
    const use = this.part(name).querySelector("use");
    if (path) path.closed = /z\s*$/i.test(path.getAttribute("d"));
    return { path, mark: use && { use, place: use.parentNode } };
  }

  write(name, x, y, words) {
    const [left, top] = this.spot(this.parts[name], [x, y]), text = document.createElementNS(this.svg.namespaceURI, "text");
    const attributes = { x: left, y: top, "text-anchor": "middle", "font-family": "sans-serif", "font-size": 14 };
    for (const [key, value] of Object.entries(attributes)) text.setAttribute(key, value);
    text.textContent = words;
    this.part(name).replaceChildren(text);
  }

  address() {
    return [...Object.values(this.state), ...this.inputs.map(input => input.value)].join(",");
  }

  note() { // once the reader rests, the address leads to this state: #drag-1=-2.6,1.4,3
    clearTimeout(this.resting);
    this.resting = setTimeout(
      () => history.replaceState(history.state, "", `#drag-${this.number}=${this.address()}`), 500);
  }

  restore() { // the state that the address names, if it is one of this picture's
    const [, number, numbers] = location.hash.match(/^#drag-(\d+)=([-\d.,]+)$/) ?? [];
    const values = numbers?.split(",").map(Number) ?? [], names = Object.keys(this.state), { inputs } = this;
    const indices = values.slice(names.length);
    if (number != this.number || indices.length != inputs.length || !values.every(Number.isFinite)) return;
    if (!inputs.every((input, i) => Number.isInteger(indices[i]) && indices[i] >= 0 && indices[i] < input.count)) return;
    names.forEach((name, i) => { this.state[name] = values[i]; });
    for (const { to, at } of this.handles) Object.assign(this.state, to(this.state, at(this.state))); // within bounds
    inputs.forEach((input, i) => { input.value = indices[i]; input.tell(); });
    this.draw();
    this.scrollIntoView({ block: "center", behavior: "instant" });
  }
});
