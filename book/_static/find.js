/* Answers of the search page: sections with excerpts, best first, without a server. The sections are in
   find-index.js (written by the build); here a query and they are cut into the same words, in both spellings and
   without endings, and ranked: BM25 on the text, headings count more, so do words that a section prints in italics or bold as it
   defines them, and a phrase counts more than its words.
   Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework", gives BM25 and its two constants. */
"use strict";

const TOGETHER = [  // written in two words, in one, or with a hyphen
    "mini batch", "over fitting", "under fitting", "hyper parameter", "back propagation", "auto regressive",
    "soft max", "log sum exp", "top p", "top k", "min p", "check point", "feed forward", "pre norm", "post norm",
    "kernel trick", "data set", "multi head",
].map(pair => [new RegExp("\\b" + pair.replace(/ /g, "[\\s-]?") + "(?=\\b|s\\b|ed\\b|ing\\b)", "g"), pair.replace(/ /g, "")]);
const SAME = [[/\bbackprop\b/g, "backpropagation"], [/\bkullback[\s–-]leibler\b/g, "kl"], [/\bsgd\b/g, "stochastic gradient descent"],
    [/\bnormali[sz]ation\b/g, "norm"], [/\binitiali[sz]ation\b/g, "init"],
    [/\bsqrt\b/g, "root"], [/\bkv cache\b/g, "cache keys values"], [/\brotary\b/g, "rope"]];
const SMALL = new Set("a an and are as at by can do does for from how i in is it of on or that the this to what when which why with".split(" "));
const LESS = { references: .15, exercises: .4, "self-test": .4, "what the sources say": .4, "check yourself": .4 };
const BACK = /(bibliography|errata|evidence|races|experiments|genindex|notation)\.html$/;
const K1 = 1.2, B = .75;

const LAYOUT = /\\(top|begin|end|left|right|[bB]igg?|operatorname|math\w*|text\w*|quad|qquad|frac|dots|cdots|split|aligned|gathered)\b/g;
const SIGNS = Object.entries({
    alpha: "α", beta: "β", gamma: "γ", delta: "δ", epsilon: "ε", varepsilon: "ε", eta: "η", theta: "θ", kappa: "κ", lambda: "λ", mu: "μ",
    nu: "ν", xi: "ξ", pi: "π", rho: "ρ", sigma: "σ", tau: "τ", phi: "φ", varphi: "φ", chi: "χ", psi: "ψ", omega: "ω", Delta: "Δ",
    Sigma: "Σ", Omega: "Ω", sqrt: "√", sum: "Σ", int: "∫", nabla: "∇", partial: "∂", top: "ᵀ", le: "≤", leq: "≤", ge: "≥", geq: "≥",
    ne: "≠", in: "∈", times: "×", cdot: "·", to: "→", infty: "∞", approx: "≈", pm: "±", dots: "…", ldots: "…", langle: "⟨", rangle: "⟩",
}).map(([name, sign]) => [new RegExp("\\\\" + name + "(?![a-zA-Z])\\s*", "g"), sign]);

function readable(text) {  // for an excerpt: a displayed formula is left out, one in the line is written with signs
    return text.replace(/\\\[.*?\\\]/g, "…").replace(/\\\((.*?)\\\)/g, (_, tex) => {
        for (const [name, sign] of SIGNS) tex = tex.replace(name, sign);
        return tex.replace(/\\[a-zA-Z]+\*?\s*|\\[,;! ]|[{}$]/g, "").trim();
    }).replace(/ ([,.;:)\]])/g, "$1").replace(/([(\[]) /g, "$1");
}

function wordsOf(text) {
    text = text.replace(/\\[()[\]]/g, " ").replace(LAYOUT, " ").toLowerCase().normalize("NFD").replace(/[\u0300-\u036f]/g, "").replace(/[’']s\b/g, "");
    for (const [pair, one] of [...TOGETHER, ...SAME]) text = text.replace(pair, one);
    return (text.match(/[a-z0-9]+|[^\x00-\x7f\s]/g) || []).map(stem);
}

function stem(word) {
    if (word.length < 4) return word;
    word = word.replace(/([a-z]{2})is(e|ed|er|ers|es|ing|ation|ations)$/, "$1iz$2").replace(/([a-z]{3})our/, "$1or")
        .replace(/([a-z]{2})tre(s?)$/, "$1ter$2");
    word = word.replace(/(iz|at)(ation|ations|ion|ions)$/, "$1").replace(/ies$/, "y").replace(/([^su])s$/, "$1");
    if (word.length > 5) word = word.replace(/(ing|ed|er|or)$/, "");
    return word.replace(/e$/, "").replace(/(.)\1$/, "$1");
}

function prepare(entries) {
    const documents = entries.map(entry => {
        const heading = wordsOf(entry.heading), text = wordsOf(entry.text), counts = new Map();
        const quotes = LESS[entry.heading.trim().toLowerCase()];  // bold there are the sources' words
        const key = new Set(quotes ? [] : wordsOf(entry.key));
        for (const word of text) counts.set(word, (counts.get(word) || 0) + 1);
        return { entry, heading, key, counts, length: text.length, line: " " + text.join(" ") + " ", title: " " + heading.join(" ") + " " };
    });
    const frequency = new Map();
    for (const { counts, heading } of documents)
        for (const word of new Set([...counts.keys(), ...heading])) frequency.set(word, (frequency.get(word) || 0) + 1);
    const mean = documents.reduce((sum, d) => sum + d.length, 0) / documents.length;
    const idf = word => Math.log(1 + (documents.length - (frequency.get(word) || 0) + .5) / ((frequency.get(word) || 0) + .5));
    return { documents, frequency, mean, idf };
}

function near(word, frequency) {  // no section has the word: one that begins like it, or differs in one letter
    const known = [...frequency.keys()];
    const begins = known.filter(other => other.startsWith(word) && word.length > 2);
    return begins.length ? begins : known.filter(other => word.length > 3 && oneApart(word, other));
}

function oneApart(a, b) {
    if (Math.abs(a.length - b.length) > 1) return false;
    let i = 0;
    while (i < a.length && a[i] === b[i]) i++;
    return [[1, 1], [1, 0], [0, 1]].some(([x, y]) => a.slice(i + x) === b.slice(i + y)) ||
        (a[i] === b[i + 1] && a[i + 1] === b[i] && a.slice(i + 2) === b.slice(i + 2));
}

function search(query, { documents, frequency, mean, idf }) {
    const asked = wordsOf(query), plain = query.trim().toLowerCase();
    const meant = asked.filter(word => !SMALL.has(word));
    const words = [...new Set(meant.length ? meant : asked)];
    const alternatives = words.map(word => frequency.has(word) ? [word] : near(word, frequency));
    const phrase = " " + (meant.length ? meant : asked).join(" ") + " ";
    const found = [];
    for (const d of documents) {
        let score = 0, has = 0;
        for (const same of alternatives) {
            let best = 0;
            for (const word of same) {
                const n = d.counts.get(word) || 0;
                const text = idf(word) * n * (K1 + 1) / (n + K1 * (1 - B + B * d.length / mean));
                const place = d.heading.includes(word) ? 3 : d.key.has(word) ? 1.5 : 0;
                best = Math.max(best, text + place * idf(word));
            }
            score += best;
            has += best > 0;
        }
        if (!has) continue;
        if (words.length > 1) {
            const times = d.line.split(phrase).length - 1;
            if (d.title.includes(phrase)) score *= 3;
            score *= times ? 1 + Math.log2(1 + times) / 2 : .5;
        }
        if (d.entry.heading.trim().toLowerCase() === plain || d.title === phrase) score *= 1.5;
        score *= (has / words.length) ** 2;
        score *= LESS[d.entry.heading.trim().toLowerCase()] || 1;
        if (BACK.test(d.entry.page)) score *= .2;
        found.push({ d, score, has });
    }
    const most = Math.max(0, ...found.map(f => f.has));
    const kept = found.filter(f => f.has === most || (f.has === most - 1 && most > 2));
    const sums = new Map();
    for (const { d, score } of kept) sums.set(d.entry.page, (sums.get(d.entry.page) || 0) + score);
    const largest = Math.max(1e-9, ...sums.values());
    for (const f of kept) if (!BACK.test(f.d.entry.page)) f.score *= 1 + .6 * sums.get(f.d.entry.page) / largest;
    return { words: new Set(alternatives.flat()), found: kept.sort((a, b) => b.score - a.score) };
}

function excerpt(text, words) {  // some forty words around the place where most of the asked ones stand
    const pieces = readable(text).split(" ");
    const hits = pieces.map(piece => wordsOf(piece).find(word => words.has(word)));
    let best = 0, most = -1;
    for (let at = 0; at < pieces.length; at += 5) {
        const here = hits.slice(at, at + 30).filter(Boolean);
        const worth = 100 * new Set(here).size + here.length;  // different words before many
        if (worth > most) [best, most] = [at, worth];
    }
    const start = Math.max(0, best - 4), line = document.createElement("p");
    if (start) line.append("… ");
    pieces.slice(start, start + 40).forEach((piece, i) => {
        const part = hits[start + i] ? document.createElement("mark") : document.createTextNode(piece);
        if (hits[start + i]) part.textContent = piece;
        line.append(part, " ");
    });
    if (start + 40 < pieces.length) line.append("…");
    return line;
}

function show(query, answer, place) {
    place.replaceChildren();
    const told = document.createElement("p"), count = answer.found.length;
    told.setAttribute("role", "status");
    told.textContent = count ? `${count === 1 ? "One section" : count + " sections"} for “${query}”, best first`
        : `Nothing found for “${query}”. Try fewer words, or the glossary.`;
    const list = document.createElement("ol");
    list.className = "lbdl-found";
    for (const { d: { entry } } of answer.found.slice(0, 40)) {
        const item = document.createElement("li"), link = document.createElement("a"), where = document.createElement("span");
        const light = [...query.matchAll(/\S+/g)].map(m => m[0]).filter(w => !SMALL.has(w.toLowerCase())).join(" ");
        link.href = entry.page + "?highlight=" + encodeURIComponent(light) + (entry.anchor ? "#" + entry.anchor : "");
        link.textContent = entry.heading;
        where.textContent = entry.heading === entry.chapter ? "" : entry.chapter;
        item.append(link, " ", where, excerpt(entry.text, answer.words));
        list.append(item);
    }
    place.append(told, list);
}

const known = prepare(window.LBDL_INDEX || []);
window.lbdlSearch = query => search(query, known).found.map(f => f.d.entry);
const query = new URLSearchParams(location.search).get("q") || "";
document.querySelectorAll("form.bd-search input[name=q]").forEach(field => { field.value = query; });
const place = document.getElementById("search-results");
if (query.trim() && place) show(query, search(query, known), place);
