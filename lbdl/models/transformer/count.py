"""How many weights a language model has, and how many operations a text costs it.

Kaplan et al. 2020, section 2.1, arXiv:2001.08361.
"""

from lbdl import require


def gpt_parameters(
    vocabulary: int, context: int, width: int, layers: int, *, tied: bool = True
) -> int:
    """Weights and biases of a `GPT`.

        K d + T d + L (12 d^2 + 13 d) + 2 d      (+ K d + K if the readout has a
        table of its own)

    Args:
        vocabulary: K, a number >= 1.
        context: T, a number >= 1.
        width: d, a number >= 1.
        layers: L, a number >= 1.
        tied: whether the readout shares the table of the embedding, without a bias.

    Returns:
        The number.

    Raises:
        TypeError: a size is no whole number.
        ValueError: a size is below 1.

    Source: Brown et al. 2020, table 2.1, arXiv:2005.14165, gives the sizes of
    GPT-3.
    """
    sizes = {"vocabulary": vocabulary, "context": context}
    require.whole(**sizes, width=width, layers=layers, least=1)
    tables = (vocabulary + context) * width
    readout = 0 if tied else vocabulary * width + vocabulary
    return tables + layers * (12 * width**2 + 13 * width) + 2 * width + readout


def transformer_flops(
    n: int, width: int, layers: int = 1, vocabulary: int = 0
) -> int:
    """Floating-point operations of a forward pass: matrix products only, a
    multiplication and an addition are two.

        L (24 n d^2 + 4 n^2 d) + 2 n d K

    The quadratic part is the larger one from n = 6 d on.

    Args:
        n: tokens, a number >= 1.
        width: d, a number >= 1.
        layers: L, a number >= 1.
        vocabulary: K of the readout, a number >= 0; 0 leaves it out.

    Returns:
        The number.

    Raises:
        TypeError: a size is no whole number.
        ValueError: a size is out of range.

    Source: Kaplan et al. 2020, table 1, arXiv:2001.08361.
    """
    require.whole(n=n, width=width, layers=layers, least=1)
    require.whole(vocabulary=vocabulary, least=0)
    layer = 24 * n * width**2 + 4 * n**2 * width
    return layers * layer + 2 * n * width * vocabulary
