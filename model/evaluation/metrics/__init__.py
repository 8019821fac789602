"""The published evaluation's formulas: what is computed from curves, features, scores, flows and frames."""
