"""The stages of the loop, one file each; `step` joins them. Stages never import one another: they meet through
messages."""
