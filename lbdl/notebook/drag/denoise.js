// A noisy point of a mixture of round clouds: where it came from, and where the flow takes it; the handle is the point.
lbdlDrag.denoise = {
  // How likely each cloud is to be the origin of x = x0 + sigma noise: eq-diff-score's r_k.
  responsibilities({ weights, means, variances }, x, sigma) {
    const logs = weights.map((w, k) => {
      const spread = variances[k] + sigma * sigma, away = means[k].reduce((sum, m, i) => sum + (x[i] - m) ** 2, 0);
      return Math.log(w) - x.length / 2 * Math.log(spread) - away / (2 * spread);
    });
    const top = Math.max(...logs), raised = logs.map(value => Math.exp(value - top));
    const total = raised.reduce((sum, value) => sum + value);
    return raised.map(value => value / total);
  },

  score(mixture, x, sigma) { // eq-diff-score, of the density with noise
    const { means, variances } = mixture, shares = lbdlDrag.denoise.responsibilities(mixture, x, sigma);
    return x.map((xi, i) => shares.reduce((sum, r, k) => sum + r * (means[k][i] - xi) / (variances[k] + sigma * sigma), 0));
  },

  mean(mixture, x, sigma) { // Tweedie, eq-diff-tweedie
    const slope = lbdlDrag.denoise.score(mixture, x, sigma);
    return x.map((xi, i) => xi + sigma * sigma * slope[i]);
  },

  levels(count, low, high) { // Karras et al.: even after the root of order 7; at last 0
    const root = value => value ** (1 / 7);
    const level = i => (root(high) + i / (count - 1) * (root(low) - root(high))) ** 7;
    return [...Array.from({ length: count }, (_, i) => level(i)), 0];
  },

  flow(mixture, x, levels) { // eq-diff-flow by Heun's method; the last step, to 0, is Euler's
    const slope = (point, sigma) => {
      const mean = lbdlDrag.denoise.mean(mixture, point, sigma);
      return point.map((value, i) => (value - mean[i]) / sigma);
    };
    const points = [x];
    for (let n = 0; n + 1 < levels.length; n++) {
      const [now, then] = [levels[n], levels[n + 1]], here = points[n], first = slope(here, now);
      const ahead = here.map((value, i) => value + (then - now) * first[i]);
      const second = then > 0 ? slope(ahead, then) : first;
      points.push(here.map((value, i) => value + (then - now) * (first[i] + second[i]) / 2));
    }
    return points;
  },

  handles: () => [{
    label: "the noisy point", step: 0.1, range: [-4.5, 4.5],
    at: ({ x, y }) => [x, y],
    to: (_, [x, y]) => ({ x: lbdlDrag.snap(x, [-4.5, 4.5], 0.02), y: lbdlDrag.snap(y, [-2.9, 2.9], 0.02) }),
    now: ({ x }) => x,
    say: ({ x, y }) => `(${x}, ${y})`,
  }],

  scene({ x, y, sigma }, { mixture, lowest, count }) {
    const { responsibilities, mean, levels, flow } = lbdlDrag.denoise, point = [x, y];
    const shares = responsibilities(mixture, point, sigma), guess = mean(mixture, point, sigma);
    const path = flow(mixture, point, levels(count, lowest, sigma)), end = path.at(-1);
    const ring = Array.from({ length: 96 }, (_, i) => [x + sigma * Math.cos(i * Math.PI / 48), y + sigma * Math.sin(i * Math.PI / 48)]);
    const pair = ([a, b]) => `(${a.toFixed(2)}, ${b.toFixed(2)})`;
    return {
      moves: { point: [point], arrow: [point, guess], guess: [guess], flow: path, end: [end], ring },
      texts: Object.fromEntries(shares.map((share, k) => [`share${k}`, [...mixture.places[k], share.toFixed(2)]])),
      sentence: `The likeliest cloud has probability ${Math.max(...shares).toFixed(2)}; the mean of all origins is `
        + `${pair(guess)}. The flow ends at ${pair(end)}.`,
    };
  },
};
lbdlDrag.wake();
