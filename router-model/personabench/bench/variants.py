"""The variants among which the regression is chosen on validation."""

from personabench.baselines.belief import BeliefConfig

DENSE_DOUBT = 5.0
VARIANTS = (
    BeliefConfig("linear", 1),
    BeliefConfig("linear", 6),
    BeliefConfig("linear", 1, DENSE_DOUBT),
    BeliefConfig("linear", 6, DENSE_DOUBT),
    BeliefConfig("logistic", 1),
    BeliefConfig("logistic", 6),
)
