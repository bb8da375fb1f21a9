"""Recipes that come with the package, as YAML; `v2abench.finetune.recipe` reads them."""
