"""Parity: our networks and formulas on stored cases, against the numbers that the published code gave."""
