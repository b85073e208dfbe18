// Softmax and sparsemax of scores; the handles are the tops of the scores' bars.
lbdlDrag.softmax = {
  softmax(x) { // def-softmax, the largest score subtracted first
    const top = Math.max(...x), raised = x.map(xi => Math.exp(xi - top));
    const total = raised.reduce((sum, value) => sum + value);
    return raised.map(value => value / total);
  },

  sparsemax(x) { // eq-softmax-sparsemax: tau is the threshold of the largest k with x_(k) > tau_k
    let sum = 0, tau = 0;
    [...x].sort((a, b) => b - a).forEach((xk, i) => {
      sum += xk;
      const candidate = (sum - 1) / (i + 1);
      if (xk > candidate) tau = candidate;
    });
    return x.map(xi => Math.max(xi - tau, 0));
  },

  names: "ABCDEF",

  handles: ({ count }) => Array.from({ length: count }, (_, i) => ({
    label: `score of ${lbdlDrag.softmax.names[i]}`, step: 0.1, range: [-3, 4],
    at: state => [i, state[`x${i}`]],
    to: (_, [, y]) => ({ [`x${i}`]: lbdlDrag.snap(y, [-3, 4], 0.1) }),
    along: () => [0, 1],
    now: state => state[`x${i}`],
    say: state => state[`x${i}`].toFixed(1),
  })),

  scene({ temperature, ...state }, { count, width }) {
    const { softmax, sparsemax } = lbdlDrag.softmax;
    const x = Array.from({ length: count }, (_, i) => state[`x${i}`]), scaled = x.map(xi => xi / temperature);
    const soft = softmax(scaled), sparse = sparsemax(scaled), moves = {};
    const bar = (left, height) => [[left, 0], [left + width, 0], [left + width, height], [left, height]];
    x.forEach((xi, i) => {
      moves[`score${i}`] = bar(i - width / 2, xi);
      moves[`soft${i}`] = bar(i - width, soft[i]);
      moves[`sparse${i}`] = bar(i, sparse[i]);
    });
    const list = p => p.map(pi => pi === 0 ? "0" : pi.toFixed(2)).join(", ");
    return { moves, sentence: `Softmax ${list(soft)}. Sparsemax ${list(sparse)}: ${sparse.filter(p => p === 0).length} exact zeros.` };
  },
};
lbdlDrag.wake();
