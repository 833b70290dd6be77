"""Training: one plain loop, augmented views, and the distillation loss. Imports numpy and torch alone."""
