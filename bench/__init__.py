"""Speed as ratios: ours against a named peer, on the same events, on the same machine, in one run."""
