"""Autoregression: a text, one token after another.

Read `likelihood.py` first: the chain rule and the numbers by which models are
judged. `ngram.py` makes models by counting, `neural.py` by learning; `causality.py`
tests that no model sees what it is to predict; `sampling.py` turns logits into
texts, `speculative.py` faster. What a token is, `lbdl.foundations.tokenization`
decides.
"""

from lbdl.foundations.autoregression.causality import (
    dependence,
    gradient_dependence,
    leaks,
    leaks_by_gradient,
)
from lbdl.foundations.autoregression.likelihood import (
    bits_per_byte,
    change_base,
    conditionals,
    joint,
    next_token_pairs,
    perplexity,
    sample_ancestral,
    sequence_log_prob,
    stream_log_probs,
    token_log_probs,
)
from lbdl.foundations.autoregression.neural import (
    CausalConvolution,
    FixedContext,
    random_windows,
)
from lbdl.foundations.autoregression.ngram import (
    Counts,
    NGram,
    add_k,
    continuation_counts,
    count_ngrams,
    count_up_to,
    estimated_discount,
    jelinek_mercer,
    kneser_ney,
    kneser_ney_counts,
    lookup,
    modified_discounts,
    modified_kneser_ney,
    relative_frequency,
)
from lbdl.foundations.autoregression.sampling import (
    generate,
    keep_min_p,
    keep_nucleus,
    keep_top_k,
    restrict,
    sample,
    with_temperature,
)
from lbdl.foundations.autoregression.speculative import (
    acceptance_rate,
    speculative_generate,
    speculative_sample,
)

__all__ = [
    "CausalConvolution",
    "Counts",
    "FixedContext",
    "NGram",
    "acceptance_rate",
    "add_k",
    "bits_per_byte",
    "change_base",
    "conditionals",
    "continuation_counts",
    "count_ngrams",
    "count_up_to",
    "dependence",
    "estimated_discount",
    "generate",
    "gradient_dependence",
    "jelinek_mercer",
    "joint",
    "keep_min_p",
    "keep_nucleus",
    "keep_top_k",
    "kneser_ney",
    "kneser_ney_counts",
    "leaks",
    "leaks_by_gradient",
    "lookup",
    "modified_discounts",
    "modified_kneser_ney",
    "next_token_pairs",
    "perplexity",
    "random_windows",
    "relative_frequency",
    "restrict",
    "sample",
    "sample_ancestral",
    "sequence_log_prob",
    "speculative_generate",
    "speculative_sample",
    "stream_log_probs",
    "token_log_probs",
    "with_temperature",
]
