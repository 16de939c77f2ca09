"""What the core asks of the world. Each port has one contract suite, which every adapter passes."""
