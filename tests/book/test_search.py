"""The search page answers what learners ask, with the section, from the file system."""

import json
import re
from pathlib import Path

import pytest
from lbdl_book.search import sections
from playwright.sync_api import Browser, Page

from tests.book.conftest import HTML

pytestmark = pytest.mark.browser

# What a learner types, and where the answer stands: the page, a part of the heading.
QUERIES = {
    "learning rate": ("schedules", "Learning-rate"),
    "optimiser": ("gradient_descent", ""),
    "optimizer": ("gradient_descent", ""),
    "momentum": ("gradient_descent", "Momentum"),
    "momentm": ("gradient_descent", "Momentum"),
    "adam": ("gradient_descent", "gradient’s size"),
    "overfitting": ("learning", "over-fitting"),
    "double descent": ("generalization", "second descent"),
    "error bar of an accuracy": ("generalization", "error bar"),
    "mcnemar test": ("generalization", "Two models"),
    "cross-validation": ("generalization", "Cross-validation"),
    "weight decay": ("learning", "Weight decay"),
    "regularization": ("glossary", "regularisation"),
    "regularisation": ("glossary", "regularisation"),
    "cross entropy": ("losses", "Cross-entropy"),
    "label smoothing": ("losses", "Label smoothing"),
    "triplet loss": ("metric_learning", "riplets"),
    "infonce": ("metric_learning", "One positive among many"),
    "mean average precision": ("metric_learning", "embedding of digits"),
    "mini batch size": ("stochastic_gradients", "batch size"),
    "cosine schedule": ("schedules", "shapes"),
    "vanishing gradients": ("backpropagation", "Vanishing"),
    "backprop": ("backpropagation", "Backpropagation"),
    "checkpointing": ("memory", "Checkpoints"),
    "reversible network": ("memory", "Reversible"),
    "loss scaling": ("memory", "Half the bits"),
    "clip gradients": ("backpropagation", "Clipping"),
    "perplexity": ("autoregression", "Perplexity"),
    "top-p sampling": ("autoregression", "Letting it write"),
    "bits per byte": ("autoregression", "Bits per byte"),
    "byte pair encoding": ("tokenization", ""),
    "tokenizer": ("tokenization", ""),
    "how many merges": ("tokenization", "merges are best"),
    "receptive field": ("convolution", "What an output sees"),
    "batch normalization": ("normalization", "Batch norm"),
    "batch normalisation": ("normalization", "Batch norm"),
    "dropout": ("normalization", "Dropout"),
    "forget gate": ("recurrent", "keeps"),
    "causal mask": ("attention", "Who may look"),
    "why divide by sqrt d": ("attention", "Why the root"),
    "grouped query attention": ("attention", "What is kept"),
    "temperature": ("softmax", ""),
    "hippo": ("hippo", "HiPPO"),
    "legendre memory unit": ("hippo", "Units"),
    "mass on a spring": ("state_space", "state"),
    "bilinear rule": ("state_space", "samples"),
    "temperature scaling": ("softmax", "As sure as it is right"),
    "gumbel": ("softmax", "gradient can pass"),
    "sparsemax": ("entmax", "Sparsemax"),
    "fenchel young loss": ("entmax", "One recipe"),
    "chernoff bound": ("concentration", "Chernoff"),
    "random vectors almost orthogonal": ("concentration", "orthogonal"),
    "johnson lindenstrauss": ("johnson_lindenstrauss", ""),
    "random projection": ("sketching", ""),
    "count sketch": ("sketching", "entries"),
    "hadamard transform": ("sketching", "Spread"),
    "subspace embedding": ("sketching", "subspace"),
    "kl divergence": ("gaussians", "Kullback"),
    "bhattacharyya": ("gaussians", "Bhattacharyya"),
    "natural gradient": ("gaussians", "Learning"),
    "laplace approximation": ("gaussians", "Touching"),
    "wasserstein distance": ("wasserstein", ""),
    "barycenter": ("wasserstein", "Averages"),
    "frechet inception distance": ("wasserstein", "real data"),
    "rotary positions": ("positions", ""),
    "kv cache": ("attention", "What is kept"),
    "selective scan": ("selective", ""),
    "mamba": ("selective", "depend on the input"),
    "scan as masked attention": ("selective", "masked attention"),
    "cauchy kernel woodbury": ("s4", "Woodbury"),
    "grokking": ("transformer", "Learned by heart"),
    "mup": ("initialization", "Width"),
    "initialization": ("initialization", ""),
    "logistic regression": ("logistic_regression", ""),
    "lora": ("lora", ""),
    "merge adapter bfloat16": ("lora", "Merging"),
    "nf4 four bits": ("lora", "four bits"),
    "gradient accumulation contrastive": ("contrastive", ""),
    "false negatives": ("contrastive", "pulls"),
    "siglip": ("contrastive", "no others"),
    "gan": ("idempotent", ""),
    "discriminator": ("idempotent", "A game with a value"),
    "idempotent generative network": ("idempotent", "both players"),
    "ddim": ("diffusion", "DDIM"),
    "classifier-free guidance": ("diffusion", "Guidance"),
    "denoising score matching": ("diffusion", "network learns"),
    "score identity distillation": ("score_distillation", "Three forms"),
    "one-step generator": ("score_distillation", ""),
    "q-learning": ("reinforcement_learning", "single steps"),
    "policy gradient": ("reinforcement_learning", "slope of the return"),
    "markov decision process": ("reinforcement_learning", "worth"),
    "sliced wasserstein": ("score_distillation", "learns its score"),
    "roofline": ("computation", "A roof and a slope"),
    "kahan summation": ("computation", "Adding up"),
    "tensor strides": ("computation", "A tensor is a list"),
}


@pytest.fixture(scope="module")
def found(browser: Browser, html: Path) -> Page:
    page = browser.new_page()
    page.goto((HTML / "search.html").as_uri())
    page.wait_for_function("() => window.lbdlSearch")
    return page


@pytest.mark.parametrize("query", QUERIES)
def test_the_right_section_is_among_the_first_three(
    found: Page, query: str
) -> None:
    page, heading = QUERIES[query]
    answers = found.evaluate("query => lbdlSearch(query).slice(0, 3)", query)
    places = [(Path(a["page"]).stem, a["heading"]) for a in answers]
    assert any(stem == page and heading in title for stem, title in places), places


def test_what_is_nowhere_is_not_found(found: Page) -> None:
    assert found.evaluate("() => lbdlSearch('zyzzyva quokka')") == []
    assert found.evaluate("() => lbdlSearch('   ')") == []


@pytest.mark.parametrize("width", [1280, 390])
def test_an_answer_leads_to_its_place(
    browser: Browser, html: Path, width: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 844})
    outside: list[str] = []
    page.on(
        "request",
        lambda r: outside.append(r.url) if r.url.startswith("http") else None,
    )
    page.goto((HTML / "search.html").as_uri() + "?q=vanishing+gradients")
    first = page.locator("#search-results li").first
    marked = [m.lower() for m in first.locator("mark").all_inner_texts()]
    assert marked and all("vanish" in m or "gradient" in m for m in marked)
    told = " ".join([first.locator("a").inner_text().lower(), *marked])
    assert "vanish" in told and "gradient" in told, "heading and excerpt hold both"
    assert not re.search(r"\\[a-z(]", first.inner_text()), "TeX in an excerpt"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    link = first.locator("a")
    anchor = (link.get_attribute("href") or "").partition("#")[2]
    link.click()
    page.wait_for_url(f"**/backpropagation.html?*#{anchor}")
    assert page.locator(f"[id='{anchor}']").count() == 1
    assert outside == []
    page.close()


def test_nothing_found_is_said(browser: Browser, html: Path) -> None:
    page = browser.new_page()
    page.goto((HTML / "search.html").as_uri() + "?q=zyzzyva")
    assert (
        "Nothing found"
        in page.locator("#search-results [role=status]").inner_text()
    )
    page.close()


def test_every_entry_has_its_place(html: Path) -> None:
    script = (HTML / "_static" / "find-index.js").read_text(encoding="utf-8")
    entries = json.loads(
        script.removeprefix("window.LBDL_INDEX=").rstrip().rstrip(";")
    )
    ids = {
        page: (HTML / page).read_text(encoding="utf-8")
        for page in {e["page"] for e in entries}
    }
    lost = [
        e
        for e in entries
        if e["anchor"] and f'id="{e["anchor"]}"' not in ids[e["page"]]
    ]
    assert lost == [] and len(entries) > 300


PAGE = """<article class="bd-article"><section id="a"><h1><span class="section-number">1. </span>Title</h1><p>Outer
\\(x\\).</p><section id="b"><h2>Inner</h2><p>Deep <em>idea</em>.</p><pre>code</pre></section>
<section id="exercise-content"><p>Task.</p></section></section>
<dl class="glossary"><dt id="term-t">word</dt><dd><p>Meaning.</p></dd></dl></article>"""


def test_a_section_holds_its_own_text_and_no_code() -> None:
    entries = list(sections(PAGE, "p.html"))
    told = [(e["anchor"], e["heading"], e["text"]) for e in entries]
    assert told == [
        ("term-t", "word", "Meaning."),
        ("", "Title", r"Outer \(x\). Task."),
        ("b", "Inner", "Deep idea ."),
    ]
    assert [e["key"] for e in entries] == ["", "", "idea"]
