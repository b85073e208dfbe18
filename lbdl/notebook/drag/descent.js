// Gradient descent on a bowl f(w) = (h1 w1^2 + h2 w2^2) / 2, and the heavy ball; the handle is the start.
lbdlDrag.descent = {
  // v <- momentum v + h w, w <- w - rate v: def-gd-heavy-ball; without momentum def-gd-step.
  path(curvature, start, rate, momentum, steps) {
    const points = [start];
    let w = start, v = start.map(() => 0);
    for (let t = 0; t < steps; t++) {
      v = v.map((vi, i) => momentum * vi + curvature[i] * w[i]);
      w = w.map((wi, i) => wi - rate * v[i]);
      points.push(w);
    }
    return points;
  },

  loss: (curvature, w) => w.reduce((sum, wi, i) => sum + curvature[i] * wi * wi / 2, 0),

  // By which an error shrinks or grows a step in the long run: the larger root, in size, of
  // r^2 - (1 + momentum - rate h) r + momentum = 0.
  factor(h, rate, momentum) {
    const half = (1 + momentum - rate * h) / 2, inside = half * half - momentum;
    return inside < 0 ? Math.sqrt(momentum) : Math.abs(half) + Math.sqrt(inside);
  },

  handles: () => [{
    label: "start of the walk", step: 0.1, range: [-3, 3],
    at: ({ x, y }) => [x, y],
    to: (_, [x, y]) => ({ x: lbdlDrag.snap(x, [-3, 3], 0.1), y: lbdlDrag.snap(y, [-2, 2], 0.1) }),
    now: ({ x }) => x,
    say: ({ x, y }) => `first weight ${x}, second weight ${y}`,
  }],

  scene({ x, y, rate, momentum = 0 }, { curvature, steps }) {
    const { path, loss, factor } = lbdlDrag.descent, points = path(curvature, [x, y], rate, momentum, steps);
    const losses = points.map(w => loss(curvature, w)), [along, across] = curvature.map(h => factor(h, rate, momentum));
    return {
      moves: {
        start: [[x, y]],
        walk: points.filter(w => w.every(wi => Math.abs(wi) < 50)),
        loss: losses.map((value, t) => [t, value]),
      },
      sentence: `From (${x.toFixed(1)}, ${y.toFixed(1)}) the loss goes from ${losses[0].toFixed(2)} to `
        + `${lbdlDrag.power(losses[steps])} in ${steps} steps. Error factor per step along the valley: `
        + `${along.toFixed(3)}; across it: ${across.toFixed(3)}.`,
    };
  },
};
lbdlDrag.wake();
