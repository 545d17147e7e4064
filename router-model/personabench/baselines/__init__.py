"""Routers to compare with, each as its authors describe it, tuned on validation users and folds."""
