"""The personalised graph router: query embedding, model, training, evaluation, export."""
