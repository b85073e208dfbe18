// A page that is still becomes a chapter of an EPUB: XHTML, formulas as MathML, pictures as files, links by file.
({ key, pages, top }) => {
  const article = document.querySelector("article.bd-article");
  const all = selector => [...article.querySelectorAll(selector)];

  // MathML Core knows letters, not variants: a double-struck R is a character of its own.
  const PLAIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  const STARTS = { bold: 0x1D400, italic: 0x1D434, "bold-italic": 0x1D468, script: 0x1D49C, "bold-script": 0x1D4D0,
    fraktur: 0x1D504, "double-struck": 0x1D538, "bold-fraktur": 0x1D56C, "sans-serif": 0x1D5A0,
    "bold-sans-serif": 0x1D5D4, monospace: 0x1D670 };
  const DIGITS = { bold: 0x1D7CE, "double-struck": 0x1D7D8, "sans-serif": 0x1D7E2, "bold-sans-serif": 0x1D7EC,
    monospace: 0x1D7F6 };
  const GREEK = { bold: [0x1D6A8, 0x1D6C2], "bold-italic": [0x1D71C, 0x1D736] };
  const OLDER = { italic: { h: "ℎ" }, script: { B: "ℬ", E: "ℰ", F: "ℱ", H: "ℋ", I: "ℐ", L: "ℒ", M: "ℳ", R: "ℛ",
    e: "ℯ", g: "ℊ", o: "ℴ" }, fraktur: { C: "ℭ", H: "ℌ", I: "ℑ", R: "ℜ", Z: "ℨ" },
    "double-struck": { C: "ℂ", H: "ℍ", N: "ℕ", P: "ℙ", Q: "ℚ", R: "ℝ", Z: "ℤ" } };
  const letter = (variant, c) => {
    const code = c.codePointAt(0), greek = GREEK[variant];
    if (OLDER[variant]?.[c]) return OLDER[variant][c];
    if (PLAIN.includes(c) && STARTS[variant]) return String.fromCodePoint(STARTS[variant] + PLAIN.indexOf(c));
    if (c >= "0" && c <= "9" && DIGITS[variant]) return String.fromCodePoint(DIGITS[variant] + Number(c));
    if (greek && c >= "Α" && c <= "Ω") return String.fromCodePoint(greek[0] + code - 0x391);
    if (greek && c >= "α" && c <= "ω") return String.fromCodePoint(greek[1] + code - 0x3B1);
    return c;
  };
  // A named function keeps a thin space from what it is applied to, and from a factor before it: TeX's rule.
  const spaced = math => math.querySelectorAll("mo").forEach(mo => {
    if (mo.textContent !== "\u2061") return;
    const space = () => {
      const element = document.createElementNS(math.namespaceURI, "mspace");
      element.setAttribute("width", "0.167em");
      return element;
    };
    const name = mo.previousElementSibling, before = name?.previousElementSibling, after = mo.nextElementSibling;
    const opens = /^[([{|]$/.test(after?.textContent ?? "(") || after?.localName === "mspace";
    if (!opens) mo.after(space());
    if (before && (before.localName !== "mo" || /^[)\]}]$/.test(before.textContent)) && before.localName !== "mspace")
      name.before(space());
  });
  // What is wide is set smaller where the page is narrow: nothing scrolls on an e-reader.
  const fitted = (element, width, most = "1em") => {
    if (width > 16) element.setAttribute("style", `font-size: min(${most}, calc(90vw / ${width.toFixed(1)}))`);
  };
  const letters = element => element.getBoundingClientRect().width / parseFloat(getComputedStyle(element).fontSize);
  const mathml = item => {
    const math = new DOMParser().parseFromString(MathJax.startup.toMML(item.root), "text/xml").documentElement;
    for (const element of [math, ...math.querySelectorAll("*")]) {
      const variant = element.getAttribute("mathvariant");
      if (variant in STARTS) {
        element.textContent = [...element.textContent].map(c => letter(variant, c)).join("");
        element.setAttribute("mathvariant", "normal");
      }
      for (const { name } of [...element.attributes])
        if (name.startsWith("data-") || name === "class") element.removeAttribute(name);
    }
    spaced(math);
    fitted(math, 1.15 * letters(item.typesetRoot.querySelector("mjx-math")));
    math.setAttribute("alttext", item.math.trim());
    return document.importNode(math, true);
  };
  let formulas = 0;
  for (const item of window.MathJax?.startup?.document?.math ?? []) {
    if (!article.contains(item.typesetRoot)) continue;
    item.typesetRoot.replaceWith(mathml(item));
    formulas += 1;
  }

  // The number of an equation, and its mark, on a line below it.
  all("div.math .eqno").forEach(number => {
    const box = number.closest("div.math"), mark = box.parentElement.querySelector(":scope > .lbdl-proven");
    if (mark) number.append(" ", mark);
    box.append(number);
  });

  // Pictures: what stands in the page becomes a file, what is a file is named.
  const drawn = {}, files = {};
  all("img").forEach((picture, i) => {
    const [, text] = picture.getAttribute("src").split("data:image/svg+xml;charset=utf-8,");
    const name = text ? `${key}-${i + 1}.svg` : picture.src.split("/").pop();
    if (text) drawn[name] = decodeURIComponent(text);
    else files[name] = decodeURIComponent(picture.src.replace(top, ""));
    picture.setAttribute("src", `pictures/${name}`);
  });

  // Links: to a page of the book by its new name, to the outside as they are, else only their text.
  const known = new Set();
  all("[id]").forEach(element => known.has(element.id) ? element.removeAttribute("id") : known.add(element.id));
  all("a[href]").forEach(link => {
    const [file, anchor] = link.href.replace(top, "").split("#");
    if (file in pages) link.setAttribute("href", pages[file] + ".xhtml" + (anchor ? "#" + anchor : ""));
    else if (link.href.startsWith("file:")) link.replaceWith(...link.childNodes);
  });

  // Attributes that serve a screen, or that no EPUB allows.
  for (const element of [article, ...all("*")]) {
    if (element.namespaceURI.endsWith("MathML")) continue;
    for (const { name } of [...element.attributes])
      if (/^(data-|on|aria-live|aria-level|tabindex|role|style|scope|title$)/.test(name)) element.removeAttribute(name);
  }
  all("table").forEach(table => {
    table.style.width = "min-content";
    const width = 1.1 * letters(table);
    table.removeAttribute("style");
    fitted(table, width, "0.85em");
  });
  const sections = all("h2").map(h => [(h.id ? h : h.closest("[id]"))?.id ?? "", h.textContent.trim()]);
  return { text: new XMLSerializer().serializeToString(article), formulas, drawn, files, sections };
}
