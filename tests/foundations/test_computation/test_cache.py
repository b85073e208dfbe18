"""A simulated cache: against the definition, and the count of blocks."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lbdl.foundations import computation as C


def by_definition(addresses, lines, line):
    """An address is a miss unless fewer than `lines` others were used since."""
    tags, misses = [a // line for a in addresses], 0
    for i, tag in enumerate(tags):
        before = [j for j in range(i) if tags[j] == tag]
        since = len(set(tags[before[-1] + 1 : i])) if before else lines
        misses += since >= lines
    return misses


@given(
    st.lists(st.integers(0, 20), max_size=40), st.integers(1, 8), st.integers(1, 4)
)
def test_the_least_recently_used_goes(addresses, lines, line):
    tensor = torch.tensor(addresses, dtype=torch.int64)
    found = C.cache_misses(tensor, lines, line)
    assert found == by_definition(addresses, lines, line)


@pytest.mark.parametrize(("n", "block"), [(4, 2), (6, 3), (6, 6), (4, 1)])
def test_every_order_computes_the_product(n, block):
    generator = torch.Generator().manual_seed(0)
    storage = torch.cat(
        [torch.randn(2 * n * n, generator=generator), torch.zeros(n * n)]
    ).double()
    A, B = storage[: 2 * n * n].view(2, n, n).clone()
    for a, b, c in C.matmul_addresses(n, block).view(-1, 3).tolist():
        storage[c] += storage[a] * storage[b]
    torch.testing.assert_close(storage[2 * n * n :].view(n, n), A @ B)


@pytest.mark.parametrize("n", [8, 16, 24])
@pytest.mark.parametrize("block", [1, 2, 4, 8])
def test_blocks_fetch_what_the_formula_says(n, block):
    order = C.matmul_addresses(n, block)
    need = 3 * n * n if block == n else 4 * block**2 + block
    assert C.cache_misses(order, need) == C.blocked_misses(n, block)
    if block not in (1, n):
        smaller = C.cache_misses(order, 3 * block**2)
        assert smaller > C.blocked_misses(n, block)


def test_blocks_that_do_not_fill_the_matrix_are_refused():
    with pytest.raises(ValueError, match="block must divide n = 8, got 3"):
        C.matmul_addresses(8, 3)
