// Equations are typeset when they come near the screen (MathJax's ui/lazy). As they are, heights change, and the place
// that the address names moves away: it is held until it rests. What is left is typeset whenever the browser is idle, so
// that all can be found in the page and read aloud. Paper is white.
(() => {
  const idle = window.requestIdleCallback ?? (work => setTimeout(work, 200));
  const page = document.documentElement.dataset;
  let timer, theme; // one place is held at a time; the reader's theme, while the page is printed

  function hold() {
    clearInterval(timer);
    const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!place) return;
    place.querySelector(":scope > details.lbdl-evidence-of")?.setAttribute("open", "");
    let tries = 60, rested = 0, before;
    for (const moved of ["wheel", "touchmove", "keydown", "pointerdown"])
      addEventListener(moved, () => { tries = 0; }, { once: true, passive: true });
    timer = setInterval(() => {
      if (tries-- <= 0 || rested > 8) return clearInterval(timer);
      place.scrollIntoView({ behavior: "instant" });
      const { top } = place.getBoundingClientRect();
      rested = top === before ? rested + 1 : 0;
      before = top;
    }, 40);
  }

  function follow() { // the contents at the right name the section that is read; the theme looks for them by another name
    const target = document.getElementById("pst-page-toc-nav");
    if (target && window.bootstrap) new bootstrap.ScrollSpy(document.body, { target, threshold: [0] });
  }

  function fill() { // some at a time, for each time the page is laid out; what is folded away waits until it is opened
    const waiting = [...document.querySelectorAll("mjx-lazy")].filter(e => e.checkVisibility()).slice(0, 16);
    if (!waiting.length) return;
    MathJax.startup.document.lazyObserve(waiting.map(target => ({ target, isIntersecting: true })));
    setTimeout(() => idle(fill), 60);
  }

  delete document.body.dataset.bsSpy; // it would ask all links of the page where they lead, and mark them
  addEventListener("hashchange", hold);
  addEventListener("load", async () => {
    await window.MathJax?.startup?.promise;
    hold();
    const lazy = window.MathJax?.startup?.document?.lazyObserve;
    setTimeout(() => idle(() => { follow(); if (lazy) fill(); }), location.hash ? 0 : 1000); // first the first screen
    if (lazy) addEventListener("toggle", () => idle(fill), true); // a fold was opened
  });
  addEventListener("beforeprint", () => {
    for (const fold of document.querySelectorAll("details.lbdl-evidence-of")) fold.open = true;
    theme = page.theme;
    page.theme = "light";
  });
  addEventListener("afterprint", () => { page.theme = theme; });
})();
