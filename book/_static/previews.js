// What a link leads to, shown beside it: an equation, a figure, a theorem, a paper, a word of the glossary. With the
// mouse or by the keyboard; Escape closes it. Nothing is fetched: the place is on this page, and the meanings of words
// are a script beside it, loaded when the first is asked for.
"use strict";
(() => {
  const BLOCKS = "div.math, figure, .proof, .admonition, .citation, .lbdl-check";
  const page = document.documentElement, box = document.createElement("div");
  let timer, leaving, asked; // the link that is asked about
  box.className = "lbdl-preview";
  box.id = "lbdl-preview";
  box.setAttribute("role", "tooltip");
  box.hidden = true;

  function words() { // the meanings of the glossary
    if (window.LBDL_TERMS) return Promise.resolve(window.LBDL_TERMS);
    return new Promise(done => {
      const script = document.createElement("script");
      script.src = page.dataset.content_root + "_static/previews-terms.js";
      script.onload = () => done(window.LBDL_TERMS);
      script.onerror = () => done({});
      document.head.append(script);
    });
  }

  function copied(place) { // without names, and with its formulas as they were written: what is typeset cannot be copied
    const copy = place.cloneNode(true);
    const formulas = window.MathJax?.startup?.document?.getMathItemsWithin(place) ?? [];
    copy.querySelectorAll("mjx-container").forEach((drawn, i) => {
      const { math, display } = formulas[i];
      drawn.replaceWith(display ? `\\[${math}\\]` : `\\(${math}\\)`);
    });
    for (const part of [copy, ...copy.querySelectorAll("[id]")]) part.removeAttribute("id");
    copy.querySelectorAll(".headerlink, script, details, .toggle-button").forEach(part => part.remove());
    return copy;
  }

  async function content(link) {
    const [file, name] = link.href.split("#");
    if (name?.startsWith("term-") && file.endsWith("/glossary.html")) {
      const meaning = (await words())[decodeURIComponent(name)];
      if (!meaning) return null;
      const told = document.createElement("div");
      told.innerHTML = meaning;
      return told;
    }
    if (!name || file !== location.href.split("#")[0]) return null;
    const block = document.getElementById(decodeURIComponent(name))?.closest(BLOCKS);
    return block && !block.contains(link) ? copied(block) : null;
  }

  async function show(link) {
    const told = await content(link);
    if (!told || asked !== link) return;
    box.replaceChildren(told);
    box.hidden = false;
    link.setAttribute("aria-describedby", box.id);
    document.body.append(box);
    await window.MathJax?.typesetPromise?.([box]);
    const { left, top, bottom } = link.getBoundingClientRect();
    const room = page.clientWidth - box.offsetWidth - 8;
    box.style.left = Math.max(8, Math.min(left, room)) + "px";
    const below = bottom + box.offsetHeight + 8 < innerHeight || top < box.offsetHeight + 8;
    box.style.top = (below ? bottom + 4 : top - box.offsetHeight - 4) + "px";
  }

  function ask(link) {
    clearTimeout(leaving);
    if (link === asked) return;
    hide();
    asked = link;
    timer = setTimeout(show, 150, link);
  }

  function hide() {
    clearTimeout(timer);
    clearTimeout(leaving);
    asked?.removeAttribute("aria-describedby");
    asked = undefined;
    box.hidden = true;
  }

  const linkOf = event => event.target.closest?.("article a[href*='#']:not(.headerlink, .lbdl-proven)");
  document.addEventListener("mouseover", event => {
    const link = linkOf(event);
    if (link) ask(link);
    else clearTimeout(leaving);
    if (!link && asked && !event.target.closest?.(".lbdl-preview")) leaving = setTimeout(hide, 250);
  });
  document.addEventListener("focusin", event => {
    const link = linkOf(event);
    if (link?.matches(":focus-visible")) ask(link);
  });
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", hide); // Escape, and whatever moves the page
  for (const moved of ["wheel", "touchmove"]) addEventListener(moved, hide, { passive: true });
})();
