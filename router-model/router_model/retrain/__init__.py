"""From a log of interactions and rewards to a better router: reading, refitting, judging."""
