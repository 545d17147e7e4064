"""PersonalizedRouter's own test (arXiv 2511.16883): its simulated users, new ones and ones met before."""
