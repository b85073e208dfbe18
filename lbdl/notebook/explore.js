// <lbdl-explore>: range inputs over pictures drawn ahead of time. Works from a file, without a network.
customElements.get("lbdl-explore") || customElements.define("lbdl-explore", class extends HTMLElement {
  connectedCallback() {
    // While the page is parsed the children may not be there yet.
    if (document.readyState === "loading") addEventListener("DOMContentLoaded", () => this.begin(), { once: true });
    else this.begin();
  }

  async begin() {
    const [setup, packed] = this.querySelectorAll("script");
    if (this.shadowRoot || !packed) return;
    const { alt, caption, controls } = JSON.parse(setup.textContent);
    this.data = await unpack(packed.textContent);
    const root = this.attachShadow({ mode: "open" });
    root.innerHTML = `<style>/* STYLE */</style><figure><div class="controls"></div><div class="picture" role="img"></div>
      <p class="sentence" aria-live="polite"></p><figcaption></figcaption><button type="button"></button></figure>`;
    this.picture = root.querySelector(".picture");
    this.picture.setAttribute("aria-label", alt);
    this.sentence = root.querySelector(".sentence");
    root.querySelector("figcaption").textContent = caption;
    this.inputs = controls.map(control => this.control(control, root.querySelector(".controls")));
    this.number = [...document.querySelectorAll("lbdl-explore")].indexOf(this) + 1;
    this.keep(root.querySelector("figure"), root.querySelector("button"));
    this.replaceChildren();
    this.draw();
    const { width, height } = this.picture.firstElementChild.viewBox?.baseVal ?? {};
    root.querySelector("figure").classList.toggle("tall", height > 0.6 * width);
    this.restore();
    addEventListener("hashchange", () => this.restore());
  }

  control({ name, texts, start, choice }, place) {
    const label = place.appendChild(document.createElement("label"));
    label.append(Object.assign(document.createElement("span"), { textContent: name }));
    const input = label.appendChild(document.createElement(choice ? "select" : "input"));
    const output = document.createElement("output");
    input.tell = () => choice || input.setAttribute("aria-valuetext", output.textContent = texts[input.value]);
    if (choice) texts.forEach((text, i) => input.add(new Option(text, i)));
    else {
      Object.assign(input, { type: "range", min: 0, max: texts.length - 1, step: 1 });
      label.append(output);
    }
    input.value = start;
    input.count = texts.length;
    input.tell();
    input.addEventListener("input", () => { input.tell(); this.request(); this.note(); });
    return input;
  }

  request() { // many moves, one picture a screen refresh: the newest
    this.waiting ??= requestAnimationFrame(() => { this.waiting = undefined; this.draw(); });
  }

  draw() {
    const state = this.inputs.reduce((index, input) => index * input.count + Number(input.value), 0);
    const { base, runs, frames, sentences } = this.data;
    const tokens = base.slice(), edits = frames[state];
    for (let i = edits.length - 3; i >= 0; i -= 3) tokens.splice(edits[i], edits[i + 1], runs[edits[i + 2]]);
    this.picture.innerHTML = tokens.join("");
    this.picture.firstElementChild.setAttribute("aria-hidden", "true");
    this.sentence.textContent = sentences[state];
    this.dataset.state = state;
  }

  note() { // once the reader rests, the address leads to this state: #explore-2=3.0
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      const state = this.inputs.map(input => input.value).join(".");
      history.replaceState(history.state, "", `#explore-${this.number}=${state}`);
    }, 500);
  }

  restore() { // the state that the address names, if it is one of this explorer's
    const [, number, state] = location.hash.match(/^#explore-(\d+)=([\d.]+)$/) ?? [];
    const values = state?.split(".") ?? [];
    const { inputs } = this;
    if (number != this.number || values.length != inputs.length || values.some((v, i) => !(v < inputs[i].count))) return;
    inputs.forEach((input, i) => { input.value = values[i]; input.tell(); });
    this.draw();
    this.scrollIntoView({ block: "center", behavior: "instant" });
  }

  keep(figure, button) { // in a corner of a wide window, while the text scrolls by
    const turn = kept => {
      this.style.height = kept ? `${this.offsetHeight}px` : "";
      figure.classList.toggle("kept", kept);
      button.textContent = kept ? "Put back" : "Keep in view";
    };
    button.addEventListener("click", () => turn(!figure.classList.contains("kept")));
    turn(false);
  }
});

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}
