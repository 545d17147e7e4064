"""PersonalizedRouter's graph network (arXiv 2511.16883) as an artifact that a gateway serves beside the other."""
