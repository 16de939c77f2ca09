"""The real loop in a simulated world: virtual time, a seeded scheduler, and everything that can go wrong.

`drawing` makes a plan of a seed, `running` runs it, `invariants` judges what it left behind, `campaign` does so often.
Real are the loop, its partitions, caretaker, slow agents' group, executors role, rules, guards and policies; models are
the log, the ledger, the targets and the network between them.
"""
