// Four distances between two Gaussians of the plane; the handles are the mean and the axes of the second.
// A covariance is [xx, xy, yy].
lbdlDrag.gaussian = {
  covariance(long, short, angle) { // of standard deviations along two axes, turned by so many degrees
    const c = Math.cos(angle * Math.PI / 180), s = Math.sin(angle * Math.PI / 180), a = long * long, b = short * short;
    return [a * c * c + b * s * s, (a - b) * c * s, a * s * s + b * c * c];
  },

  det: ([xx, xy, yy]) => xx * yy - xy * xy,
  times: ([a, b, c], [d, e, f]) => a * d + 2 * b * e + c * f, // trace of the product
  inverse(m) {
    const d = lbdlDrag.gaussian.det(m);
    return [m[2] / d, -m[1] / d, m[0] / d];
  },
  between: (p, q) => [q.mean[0] - p.mean[0], q.mean[1] - p.mean[1]],
  square: ([x, y], [xx, xy, yy]) => xx * x * x + 2 * xy * x * y + yy * y * y,

  kl(p, q) { // eq-gauss-kl
    const { det, times, inverse, between, square } = lbdlDrag.gaussian, precision = inverse(q.covariance);
    return (times(precision, p.covariance) - 2 + square(between(p, q), precision)
      + Math.log(det(q.covariance) / det(p.covariance))) / 2;
  },

  bhattacharyya(p, q) { // eq-gauss-bd
    const { det, inverse, between, square } = lbdlDrag.gaussian;
    const mean = p.covariance.map((value, i) => (value + q.covariance[i]) / 2);
    return square(between(p, q), inverse(mean)) / 8
      + Math.log(det(mean) / Math.sqrt(det(p.covariance) * det(q.covariance))) / 2;
  },

  // eq-gauss-w2; in the plane the trace of a root is sqrt(trace + 2 sqrt(det)).
  wassersteinSquared(p, q) {
    const { det, times, between, square } = lbdlDrag.gaussian, [a, b] = [p.covariance, q.covariance];
    const root = Math.sqrt(times(a, b) + 2 * Math.sqrt(det(a) * det(b)));
    return Math.max(0, square(between(p, q), [1, 0, 1]) + a[0] + a[2] + b[0] + b[2] - 2 * root);
  },

  handles() {
    const { snap } = lbdlDrag, turn = angle => [Math.cos(angle * Math.PI / 180), Math.sin(angle * Math.PI / 180)];
    const across = angle => turn(angle + 90), size = [0.1, 3];
    return [{
      label: "mean of q", step: 0.1, range: [-6, 6],
      at: ({ x, y }) => [x, y],
      to: (_, [x, y]) => ({ x: snap(x, [-6, 6], 0.1), y: snap(y, [-3.4, 3.4], 0.1) }),
      now: ({ x }) => x,
      say: ({ x, y }) => `(${x}, ${y})`,
    }, { // at two standard deviations, so that a needle can be taken hold of
      label: "first axis of q, its length and its direction", step: 0.2, range: size,
      at: ({ x, y, long, angle }) => turn(angle).map((d, i) => [x, y][i] + 2 * long * d),
      to({ x, y, angle }, place) {
        const arm = [place[0] - x, place[1] - y], length = Math.hypot(...arm);
        const turned = length > 0.05 ? Math.round(Math.atan2(arm[1], arm[0]) * 180 / Math.PI) : angle;
        return { long: snap(length / 2, size, 0.05), angle: turned + 0 };
      },
      now: ({ long }) => long,
      say: ({ long, angle }) => `standard deviation ${long}, at ${angle} degrees`,
    }, {
      label: "second axis of q, its length", step: 0.1, range: size,
      at: ({ x, y, short, angle }) => across(angle).map((d, i) => [x, y][i] + 2 * short * d),
      to({ x, y, angle }, place) {
        const [c, s] = across(angle);
        return { short: snap(((place[0] - x) * c + (place[1] - y) * s) / 2, size, 0.05) };
      },
      along: ({ angle }) => across(angle),
      now: ({ short }) => short,
      say: ({ short }) => `standard deviation ${short}`,
    }];
  },

  scene({ x, y, long, short, angle }, { p, floor }) {
    const { covariance, kl, bhattacharyya, wassersteinSquared } = lbdlDrag.gaussian;
    const q = { mean: [x, y], covariance: covariance(long, short, angle) };
    const values = {
      "KL(p | q)": kl(p, q), "KL(q | p)": kl(q, p), "Bhattacharyya": bhattacharyya(p, q), "W2 squared": wassersteinSquared(p, q),
    };
    const c = Math.cos(angle * Math.PI / 180), s = Math.sin(angle * Math.PI / 180), moves = {};
    const ellipse = radius => Array.from({ length: 96 }, (_, i) => {
      const u = radius * long * Math.cos(i * Math.PI / 48), v = radius * short * Math.sin(i * Math.PI / 48);
      return [x + c * u - s * v, y + s * u + c * v];
    });
    moves.inner = ellipse(1);
    moves.outer = ellipse(2);
    Object.values(values).forEach((value, i) => {
      const end = Math.max(value, floor);
      moves[`bar${i}`] = [[floor, i - 0.4], [end, i - 0.4], [end, i + 0.4], [floor, i + 0.4]];
    });
    return { moves, sentence: Object.entries(values).map(([name, value]) => `${name} = ${value.toFixed(2)}`).join(", ") + "." };
  },
};
lbdlDrag.wake();
