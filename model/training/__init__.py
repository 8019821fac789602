"""How the three stages are trained: recipes, data sets, losses and the trainer."""
