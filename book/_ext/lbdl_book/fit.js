// What is wider than the page is made smaller, and what still is wider is named.
async ({ width }) => {
  await document.fonts.ready;
  const all = selector => [...document.querySelectorAll(selector)];
  const room = element => element.getBoundingClientRect().width;
  all("[data-fitted]").forEach(e => { e.style.fontSize = e.style.zoom = ""; delete e.dataset.fitted; });
  const shrink = (element, ratio, how) => {
    element.style[how] = how === "zoom" ? ratio : `${100 * ratio}%`;
    element.dataset.fitted = ratio.toFixed(2);
  };
  // A formula: as wide as the block that it stands in; a table: as wide as its own.
  all("mjx-container").forEach(container => {
    const block = container.closest("div.math, p, li, dd, td, th, figcaption, h1, h2, h3") ?? container.parentElement;
    const style = getComputedStyle(block), set = container.querySelector("mjx-math");
    const free = block.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    if (set && free > 0 && room(set) > free) {
      const now = parseFloat(getComputedStyle(container).fontSize) / parseFloat(getComputedStyle(block).fontSize);
      shrink(container, now * 0.98 * free / room(set), "fontSize");
    }
  });
  all("article table").forEach(table => {
    const free = room(table.parentElement);
    if (table.scrollWidth > free + 1) shrink(table, 0.98 * free / table.scrollWidth, "zoom");
  });
  const cut = all("article *").filter(e =>
    e.getBoundingClientRect().right > width + 1 && !e.closest("mjx-assistive-mml, svg") && room(e) > 0);
  const name = e => `${e.closest("article").id}: ${e.localName}.${e.className} ${e.textContent.trim().slice(0, 60)}`;
  const fitted = all("[data-fitted]").map(e => Number(e.dataset.fitted));
  return { cut: cut.slice(0, 20).map(name), fitted: fitted.length, smallest: Math.min(1, ...fitted) };
}
