"""Experiments: models and data by name, recipes, comparisons, studies, matchings, truths, and the demo."""
