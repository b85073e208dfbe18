// A page that is still becomes a part of one large page: its formulas set, names and links as they are there.
({ key, pages, top }) => {
  const article = document.querySelector("article.bd-article");
  const all = selector => [...article.querySelectorAll(selector)];
  all("[id]").forEach(element => { element.id = `${key}--${element.id}`; });
  all("[aria-labelledby], [for]").forEach(e => { e.removeAttribute("aria-labelledby"); e.removeAttribute("for"); });
  all("img").forEach(picture => {
    if (!picture.getAttribute("src").startsWith("data:")) picture.setAttribute("src", picture.src);
  });
  all("a[href]").forEach(link => {
    const [file, anchor] = link.href.replace(top, "").split("#");
    if (file in pages) link.setAttribute("href", `#${pages[file]}` + (anchor ? `--${anchor}` : ""));
    else if (link.href.startsWith("file:")) link.replaceWith(...link.childNodes);
  });
  // A whole book must pass through the printer at once: one name for a formula, no box around plain code.
  for (const item of window.MathJax?.startup?.document?.math ?? []) {
    item.typesetRoot.querySelector("mjx-assistive-mml")?.remove();
    item.typesetRoot.setAttribute("role", "img");
    item.typesetRoot.setAttribute("aria-label", item.math.trim());
  }
  // In a narrow table a long name breaks after its dots and strokes, and nowhere else.
  all("td").filter(cell => /\S{12}/.test(cell.textContent)).forEach(cell => {
    const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT), found = [];
    while (texts.nextNode()) found.push(texts.currentNode);
    for (const text of found) {
      const parts = text.data.split(/(?<=\w[._/,([])(?=\w)/);
      text.replaceWith(...parts.flatMap((part, i) => i ? [document.createElement("wbr"), part] : [part]));
    }
  });
  all("pre .n, pre .p, pre .w").forEach(plain => plain.replaceWith(...plain.childNodes));
  all("pre").forEach(code => code.normalize());
  article.id = key;
  const sheets = [...document.styleSheets].filter(sheet => sheet.ownerNode.id === "MJX-CHTML-styles");
  return {
    text: article.outerHTML,
    rules: sheets.flatMap(sheet => [...sheet.cssRules].map(rule => rule.cssText)),
    styles: [...document.querySelectorAll("head link[rel=stylesheet]")].map(link => link.href),
  };
}
