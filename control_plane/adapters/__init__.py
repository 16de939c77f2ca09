"""How the world answers: one room for each thing outside that a port of the core is bound to."""
