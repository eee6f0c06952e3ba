"""How close Sandlot comes to the limits: ratios, each taken in one run."""
