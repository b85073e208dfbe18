// A page becomes what paper can hold: mathematics set, solutions open, sliders still, questions answered.
async () => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (name, text, attributes = {}) => {
    const element = Object.assign(document.createElement(name), { textContent: text });
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };

  // What a screen folds, paper does not.
  all("article details").forEach(e => { e.open = true; });
  all("details.lbdl-evidence-of, details.lbdl-letters").forEach(fold => {
    fold.querySelector("summary").replaceWith(make("p", fold.querySelector("summary").textContent));
    fold.replaceWith(...fold.childNodes);
  });
  await window.MathJax?.startup?.promise;
  window.MathJax?.startup?.document?.lazyTypesetAll?.();
  all("article script, article style, .headerlink, .copybtn, .toggle-button, details.hide, .lbdl-progress").forEach(e => e.remove());
  all(".toggle-hidden, .dropdown").forEach(e => e.classList.remove("toggle-hidden", "dropdown", "toggle"));

  // A slider, or what is moved by hand: its picture, its values, its sentence, its caption.
  all("lbdl-explore, lbdl-drag").forEach(explore => {
    const root = explore.shadowRoot, svg = root.querySelector("svg");
    const [, , width, height] = svg.getAttribute("viewBox").split(/[ ,]+/);
    Object.entries({ width, height }).forEach(([key, value]) => svg.setAttribute(key, value));
    svg.querySelectorAll("[data-moves]").forEach(part => part.removeAttribute("data-moves"));
    const picture = make("img", "", {
      alt: root.querySelector(".picture").getAttribute("aria-label"),
      src: "data:image/svg+xml;charset=utf-8," + encodeURIComponent(new XMLSerializer().serializeToString(svg)),
    });
    const values = all("label", root).map(label => {
      const chosen = label.querySelector("select")?.selectedOptions[0] ?? label.querySelector("output");
      return `${label.querySelector("span").textContent}: ${chosen.textContent}`;
    });
    const figure = make("figure", "", { class: "lbdl-still" });
    figure.append(picture);
    if (values.length) figure.append(make("p", values.join("  ·  "), { class: "values" }));
    for (const [name, selector] of [["p", ".sentence"], ["figcaption", "figcaption"]]) {
      const text = root.querySelector(selector).textContent;
      if (text) figure.append(make(name, text));
    }
    explore.replaceWith(figure);
  });

  // A question: its choices by letter, then the right one and why.
  if (all("[data-numquestions]").some(quiz => !quiz.querySelector(".Quiz"))) throw new Error("a quiz asks nothing");
  all(".Quiz").forEach(quiz => {
    const labels = all("label", quiz);
    const right = labels.findIndex(label => label.dataset.correct === "true");
    const choices = make("ol", "", { type: "a", class: "choices" });
    choices.append(...labels.map(label => make("li", label.textContent)));
    const why = labels[right].dataset.feedback.replace(/^Right\.\s*/, "");
    const question = make("div", "", { class: "lbdl-question" });
    question.append(
      make("p", quiz.querySelector(".MultipleChoiceQn").textContent, { class: "question" }), choices,
      make("p", `Right is ${"abcdefgh"[right]}. ${why}`, { class: "answer" }));
    quiz.replaceWith(question);
  });

  // What has become empty: cells whose code is folded away and that print nothing.
  all("article .cell").filter(cell => !cell.textContent.trim() && !cell.querySelector("img")).forEach(e => e.remove());
}
