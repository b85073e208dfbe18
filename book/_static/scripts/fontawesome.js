/* The theme's icons come from its font; its script, 1.5 MB, would draw the same ones again. */
