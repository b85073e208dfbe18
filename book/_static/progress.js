// How far the reader is: a chapter whose end has been on the screen is read. It is kept in this browser, under one name,
// and sent nowhere; the button forgets it.
"use strict";
(() => {
  const NAME = "lbdl-read", all = document.querySelectorAll("[data-chapter]");
  let read;
  try { read = new Set(JSON.parse(localStorage.getItem(NAME) ?? "[]")); } catch { return; } // no place to keep it

  function keep() {
    try { localStorage.setItem(NAME, JSON.stringify([...read])); } catch { /* full, or forbidden */ }
    tell();
  }

  function tell() {
    for (const link of all) if (link.matches("a")) {
      link.classList.toggle("lbdl-read", read.has(link.dataset.chapter));
    }
    for (const line of document.querySelectorAll(".lbdl-progress")) {
      line.hidden = !read.size;
      const forget = document.createElement("button");
      forget.type = "button";
      forget.textContent = "Forget it";
      forget.addEventListener("click", () => { read.clear(); keep(); });
      const chapters = read.size === 1 ? "One chapter" : `${read.size} chapters`;
      line.replaceChildren(`${chapters} read to the end (✓). This is kept in this browser and sent nowhere. `, forget);
    }
  }

  const end = document.querySelector("nav.lbdl-onward");
  if (end) new IntersectionObserver((seen, watch) => {
    if (!seen.some(entry => entry.isIntersecting) || !scrollY) return;
    watch.disconnect();
    read.add(end.dataset.chapter);
    keep();
  }).observe(end);
  tell();
})();
