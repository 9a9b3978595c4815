"""How fast it is: ratios and percentiles, side by side in one run."""
